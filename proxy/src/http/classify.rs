//! Success or failure of a response: by status for HTTP, by `grpc-status` (in headers or trailers) for gRPC.

use crate::control::model::profile::ProfileRoute;
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    pub is_success: bool,
    /// Present for gRPC responses; 2 (unknown) when the server said none.
    pub grpc_status: Option<u16>,
    /// The stream broke.
    pub is_error: bool,
}

const UNKNOWN: u16 = 2;
/// Codes that say the server failed: unknown, deadline exceeded, permission denied, internal, unavailable, data loss.
const GRPC_FAILURES: [u16; 6] = [2, 4, 7, 13, 14, 15];

/// What is known when the response's headers are there.
#[derive(Clone)]
pub struct Classifier {
    status: StatusCode,
    is_grpc: bool,
    profile: Option<Arc<ProfileRoute>>,
}

pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(http::header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"))
}

pub fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

impl Classifier {
    pub fn new(is_grpc: bool, status: StatusCode, profile: Option<Arc<ProfileRoute>>) -> Self {
        Self { status, is_grpc, profile }
    }

    /// The class at the response's end; `code` is the `grpc-status` that was found.
    pub fn end(&self, code: Option<u16>) -> Class {
        if self.is_grpc && self.status.is_success() {
            let is_success = code.is_none_or(|code| !GRPC_FAILURES.contains(&code));
            return Class { is_success, grpc_status: Some(code.unwrap_or(UNKNOWN)), is_error: false };
        }
        let by_profile = self.profile.as_ref().and_then(|p| p.classify(self.status));
        let is_failure = by_profile.unwrap_or(self.status.is_server_error());
        Class { is_success: !is_failure, grpc_status: None, is_error: false }
    }

    /// The class of a response that broke off.
    pub fn error(&self) -> Class {
        Class { is_success: false, grpc_status: None, is_error: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_goes_by_code_and_http_by_status() {
        let grpc = Classifier::new(true, StatusCode::OK, None);
        assert!(grpc.end(Some(0)).is_success && grpc.end(Some(5)).is_success);
        assert!(!grpc.end(Some(14)).is_success);
        assert_eq!(grpc.end(None), Class { is_success: true, grpc_status: Some(2), is_error: false });
        assert!(!Classifier::new(false, StatusCode::BAD_GATEWAY, None).end(None).is_success);
        assert!(Classifier::new(false, StatusCode::NOT_FOUND, None).end(None).is_success);
    }
}
