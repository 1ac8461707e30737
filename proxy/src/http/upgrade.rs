//! HTTP/1.1 upgrades and CONNECT: when the server agrees, both connections become one pipe of bytes.

use super::{Body, h1_client::Lease, permission::Permission};
use crate::{drain, transport::copy::copy_both};
use http::{
    Method, Request, Response, StatusCode, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

/// The client's half, until the server has answered.
pub struct Upgrade {
    client: Option<OnUpgrade>,
    is_connect: bool,
    permission: Option<Permission>,
    drain: drain::Watch,
}

/// Whether a request asks for an upgrade that can be given. `Err` for a CONNECT that is none, and for what has a CONNECT's
/// target and is none.
pub fn requested(request: &mut Request<Body>) -> Result<bool, &'static str> {
    let is_authority_form = request.uri().authority().is_some() && request.uri().scheme().is_none();
    if request.method() == Method::CONNECT {
        return match request.version() {
            Version::HTTP_11 if is_authority_form => Ok(true),
            Version::HTTP_2 => Ok(false),
            _ => Err("CONNECT needs HTTP/1.1 and an authority"),
        };
    }
    if is_authority_form && request.version() != Version::HTTP_2 {
        return Err("an authority alone is for CONNECT");
    }
    if request.version() != Version::HTTP_11 {
        return Ok(false);
    }
    Ok(super::headers::wants_upgrade(request.headers_mut()))
}

impl Upgrade {
    /// A permission among the request's extensions is the pipe's: it ends with it.
    pub fn new(request: &mut Request<Body>, drain: drain::Watch) -> Self {
        let is_connect = request.method() == Method::CONNECT;
        let permission = request.extensions_mut().remove();
        Self { client: Some(hyper::upgrade::on(request)), is_connect, permission, drain }
    }
}

/// Whether a response makes its connection a pipe.
pub fn is_accepted(status: StatusCode, is_connect: bool) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS || is_connect && status.is_success()
}

/// Joins the two connections if the server has agreed; otherwise the response is an ordinary one.
pub fn accept(upgrade: &mut Upgrade, mut response: Response<Body>, lease: Lease) -> (Response<Body>, Option<Lease>) {
    if !is_accepted(response.status(), upgrade.is_connect) {
        return (response, Some(lease));
    }
    let Some(client) = upgrade.client.take() else { return (response, Some(lease)) };
    let server = hyper::upgrade::on(&mut response);
    // What follows is no body, whatever the server says of its length.
    response.headers_mut().remove(CONTENT_LENGTH);
    response.headers_mut().remove(TRANSFER_ENCODING);
    let (drain, permission) = (upgrade.drain.clone(), upgrade.permission.take());
    let pipe = async move {
        if let (Ok(client), Ok(server)) = tokio::join!(client, server) {
            // Either side may end a pipe as it likes.
            let _ = copy_both(&mut TokioIo::new(client), &mut TokioIo::new(server)).await;
        }
    };
    tokio::spawn(async move {
        match permission {
            Some(mut permission) => drop(permission.hold(pipe).await),
            None => pipe.await,
        }
        drop((lease, drain));
    });
    (response, None)
}
