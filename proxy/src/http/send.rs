//! What comes of sending a request to one peer.

use super::{Body, error::Error};
use http::Request;

/// A request that got no response.
pub struct SendError {
    pub error: Error,
    /// Present when the peer never saw the request, so that it may be sent elsewhere.
    pub request: Option<Box<Request<Body>>>,
}

impl SendError {
    pub fn unsent(error: Error, request: Box<Request<Body>>) -> Box<Self> {
        Box::new(Self { error, request: Some(request) })
    }
}
