//! The gateway of a cluster: connections of other clusters' proxies that name a Service go out again to it, after this
//! port's policy has let them in. `Forwarded` says who passed, so that a request never passes twice.

use super::{app::App, client::Client, context::Worker, http::To, serve::http as serve_http, tcp};
use crate::{
    control::model::PeerId,
    drain,
    http::{Body, Error, headers},
    outbound::NamedDestination,
    transport::{Stream, detect::HttpVersion, failure::Failure},
};
use http::{
    HeaderValue, Request, Response, Uri, Version,
    header::{FORWARDED, HOST},
    uri::{Authority, Scheme},
};
use std::{io, net::IpAddr, sync::Arc};

/// Where the requests of one client's connection go.
pub struct Gateway {
    destination: NamedDestination,
    authority: Authority,
    forwarded: HeaderValue,
    local_id: PeerId,
    is_own_client: bool,
    client_ip: IpAddr,
}

/// Serves a connection whose transport header names `to`; `app` has the policy of the gateway's own port.
pub async fn serve(
    worker: &Arc<Worker>,
    app: Arc<App>,
    stream: Stream,
    client: Client,
    (name, port): (&str, u16),
    version: Option<HttpVersion>,
    drain: drain::Watch,
) -> io::Result<()> {
    let context = &worker.context;
    let named = worker.gateway.as_ref().filter(|_| context.config.inbound.gateway_suffixes.contains(name));
    let named = named.ok_or(Failure::GatewayDomainInvalid)?;
    let name = name.trim_end_matches('.');
    let authority = if port == 80 { name.to_owned() } else { format!("{name}:{port}") };
    let authority = Authority::try_from(authority).map_err(|_| Failure::GatewayDomainInvalid)?;
    let destination =
        named.destination(&format!("{name}:{port}")).await.map_err(|e| io::Error::other(e.0.to_string()))?;
    if !destination.is_known() {
        return Err(Failure::GatewayDomainInvalid.into());
    }
    let local_id = context.identity.local_id();
    let client_ip = client.addr.ip();
    let is_own_client = client.id() == Some(local_id);
    let Some(version) = version else {
        if is_own_client {
            return Err(Failure::GatewayLoop.into());
        }
        return tcp::forward_to(worker, &app, stream, client, async |stream| {
            destination.forward(stream, drain.clone()).await
        })
        .await;
    };
    let forwarded = forwarded(local_id.as_str(), client.id().map_or("", |id| id.as_str()), &authority);
    let forwarded = HeaderValue::try_from(forwarded).map_err(|_| io::ErrorKind::InvalidData)?;
    let local_id = local_id.clone();
    let to = To::Gateway(Gateway { destination, authority, forwarded, local_id, is_own_client, client_ip });
    serve_http(worker, app, stream, client, to, version, drain).await
}

impl Gateway {
    /// Sends an authorized request on, unless it comes from here.
    pub async fn send(
        &self,
        mut request: Box<Request<Body>>,
        is_absolute_form: bool,
        is_grpc: bool,
        drain: drain::Watch,
    ) -> Result<Response<Body>, Error> {
        let named = request.headers_mut();
        let has_passed = named.get_all(FORWARDED).iter().any(|value| is_by(value, self.local_id.as_str()));
        if self.is_own_client || has_passed {
            return Err(Error::GatewayLoop);
        }
        named.append(FORWARDED, self.forwarded.clone());
        // They speak of the client's cluster.
        named.remove(&headers::L5D_CLIENT_ID);
        named.remove(&headers::L5D_DST_CANONICAL);
        // HTTP/2 requests have been given their authority by the client's proxy.
        if request.version() != Version::HTTP_2 {
            let host = HeaderValue::from_str(self.authority.as_str());
            request.headers_mut().insert(HOST, host.map_err(|_| Error::BadRequest("the name is no host"))?);
            match (request.method() == http::Method::CONNECT, is_absolute_form) {
                (true, _) => {}
                (false, false) => headers::to_origin_form(&mut request),
                (false, true) => {
                    let mut parts = std::mem::take(request.uri_mut()).into_parts();
                    parts.scheme = Some(Scheme::HTTP);
                    parts.authority = Some(self.authority.clone());
                    *request.uri_mut() =
                        Uri::from_parts(parts).map_err(|_| Error::BadRequest("the path is no path"))?;
                }
            }
        }
        self.destination.send(request, is_grpc, self.client_ip, drain).await
    }
}

fn forwarded(by: &str, client: &str, host: &Authority) -> String {
    format!("by={by};for={client};host={host};proto=https")
}

/// Whether one of the hops that a `Forwarded` header tells of is this one.
fn is_by(value: &HeaderValue, id: &str) -> bool {
    let pairs = value.as_bytes().split(|b| matches!(b, b',' | b';'));
    pairs.filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('=')).any(|(name, by)| {
        name.trim().eq_ignore_ascii_case("by") && by.trim().trim_matches('"').eq_ignore_ascii_case(id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_itself_among_the_hops() {
        let is_mine = |value: &str| is_by(&HeaderValue::from_str(value).expect("a header"), "gateway.id");
        assert!(is_mine(&forwarded("gateway.id", "client.id", &Authority::from_static("web:81"))));
        assert!(is_mine("for=x;by=\"gateway.id\";proto=https"));
        assert!(is_mine("by=other.id;for=y, for=x; By=gateway.id"));
        assert!(!is_mine("by=other.id;for=gateway.id"));
        assert!(!is_mine("standby=gateway.id"));
    }
}
