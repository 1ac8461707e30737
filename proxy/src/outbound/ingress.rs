//! Ingress mode: each request of a connection goes where its `l5d-dst-override` says, and one without the header to
//! where the connection was going. `Host` never decides: whoever is outside chooses it.

use super::target::{Target, Worker};
use crate::{
    control::Destination,
    http::{Body, Error},
};
use http::{HeaderName, HeaderValue, Request, uri::Authority};
use std::{net::SocketAddr, sync::Arc};

static L5D_DST_OVERRIDE: HeaderName = HeaderName::from_static("l5d-dst-override");
/// Of an override that names no port.
const DEFAULT_PORT: u16 = 80;

/// What a request names as its destination; nobody further on sees it.
pub fn take_override(request: &mut Request<Body>) -> Option<HeaderValue> {
    request.headers_mut().remove(&L5D_DST_OVERRIDE)
}

pub async fn target(worker: &Arc<Worker>, named: &HeaderValue) -> Result<Arc<Target>, Error> {
    let destination = destination(named).ok_or(Error::BadRequest("l5d-dst-override is not a name with a port"))?;
    let target = worker.target(destination).await;
    target.map_err(|error| Error::InvalidPolicy(format!("l5d-dst-override leads nowhere: {error}").into()))
}

/// A name, or an address, with a port.
fn destination(value: &HeaderValue) -> Option<Destination> {
    let text = value.to_str().ok()?.trim();
    if let Ok(addr) = text.parse() {
        return Some(Destination::Addr(addr));
    }
    let authority: Authority = text.parse().ok()?;
    let host = authority.host().trim_end_matches('.');
    let port = match authority.as_str().strip_prefix(authority.host())? {
        "" => DEFAULT_PORT,
        port => port.strip_prefix(':')?.parse().ok().filter(|port| *port > 0)?,
    };
    if let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse() {
        return Some(Destination::Addr(SocketAddr::new(ip, port)));
    }
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let is_name = !text.contains('@') && host.split('.').all(is_label);
    is_name.then(|| Destination::Name(format!("{}:{port}", host.to_ascii_lowercase()).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &'static str) -> Option<Destination> {
        destination(&HeaderValue::from_static(text))
    }

    #[test]
    fn an_override_is_a_name_or_an_address() {
        let name = |name: &str| Some(Destination::Name(name.into()));
        assert_eq!(of("web.ns.svc.cluster.local:8080"), name("web.ns.svc.cluster.local:8080"));
        assert_eq!(of("Web.ns.svc.cluster.local."), name("web.ns.svc.cluster.local:80"));
        let addr = |addr: &str| Some(Destination::Addr(addr.parse().unwrap()));
        assert_eq!(of("10.0.0.1:81"), addr("10.0.0.1:81"));
        assert_eq!(of("10.0.0.1"), addr("10.0.0.1:80"));
        assert_eq!(of("[fd00::1]"), addr("[fd00::1]:80"));
        for nonsense in ["", "a b", "web:0", "web:99999", "web:x", "user@web:80", "http://web", "web/path", "a..b"] {
            assert_eq!(of(nonsense), None, "{nonsense:?}");
        }
    }
}
