//! One endpoint: how it is reached, which HTTP it speaks, and the connections to it.

use super::{context::Context, metrics};
use crate::{
    balance::Peer,
    control::model::{Endpoint, endpoint::ProtocolHint},
    http::{
        Body, Error,
        error::{L5D_PROXY_CONNECTION, L5D_PROXY_ERROR},
        h1_client::{self, Http1Client, Lease},
        h2_client::Http2Client,
        headers,
        send::SendError,
        stats::RequestStats,
        upgrade::{self, Upgrade},
    },
    transport::{
        Stream,
        connect::{ConnectError, ConnectTls, Connector},
        header::TransportHeader,
    },
};
use http::{HeaderValue, Request, Response, Uri, Version, header::HOST, uri::Authority};
use std::{net::SocketAddr, sync::Arc};

pub struct HttpEndpoint {
    endpoint: Arc<Endpoint>,
    is_self: bool,
    /// HTTP/1 is carried over HTTP/2.
    carries: bool,
    connector: Arc<Connector>,
    http1: Arc<Http1Client>,
    http2: Arc<Http2Client>,
    pub stats: Arc<RequestStats>,
}

/// A response, and what must happen when its body has ended.
pub struct Sent {
    pub response: Response<Body>,
    pub lease: Option<Lease>,
    /// The peer's proxy asks for the application's connection to be closed.
    pub closes_client: bool,
}

/// What a request was before any endpoint changed it.
#[derive(Clone, Copy)]
pub struct Asked {
    pub version: Version,
    pub is_absolute_form: bool,
    pub is_upgrade: bool,
}

impl HttpEndpoint {
    pub fn new(context: &Context, endpoint: &Arc<Endpoint>, authority: Option<&str>) -> Self {
        let is_local = context.is_local(endpoint.addr.ip());
        let labels = metrics::endpoint_labels(context, endpoint, authority);
        let direction = context.direction();
        let windows = context.config.control.http2_client;
        Self {
            is_self: context.is_self(endpoint.addr),
            carries: endpoint.hint == ProtocolHint::Http2 && !is_local,
            connector: Arc::new(connector(context, endpoint, authority)),
            http1: Http1Client::new(direction.http1_idle_timeout, direction.max_idle_connections),
            http2: Http2Client::new(endpoint.http2, (windows.stream_window, windows.connection_window)),
            stats: RequestStats::new(
                &context.metrics,
                crate::metrics::Labels::new().with("direction", "outbound").join(&labels),
            ),
            endpoint: endpoint.clone(),
        }
    }

    /// Sends a request in the form that the endpoint takes, and gives the response the form that was asked for.
    pub async fn send(
        &self,
        mut request: Box<Request<Body>>,
        asked: Asked,
        upgrade: Option<&mut Upgrade>,
    ) -> Result<Sent, Box<SendError>> {
        if self.is_self {
            return Err(Box::new(SendError { error: Error::Connect(ConnectError::Loop), request: None }));
        }
        let authority = self.endpoint.authority_override.as_ref();
        let mut kept = None;
        if authority.is_some() || request.headers().contains_key(&headers::L5D_REQUIRE_ID) {
            // Another endpoint must get what this one would get, and be who it has to be.
            kept = Some(Box::new((request.uri().clone(), request.headers().clone())));
            if let Some(required) = request.headers_mut().remove(&headers::L5D_REQUIRE_ID)
                && !self.has_identity(&required)
            {
                return Err(Box::new(SendError { error: Error::RequiredIdentity, request: None }));
            }
        }
        if let Some(authority) = authority {
            override_authority(&mut request, authority);
        }
        // What an endpoint before this one may have changed.
        *request.version_mut() = asked.version;
        request.headers_mut().remove(&headers::L5D_ORIG_PROTO);

        let is_http1 = asked.version != Version::HTTP_2;
        let sent = if is_http1 && (!self.carries || asked.is_upgrade) {
            h1_client::prepare(&mut request, asked.is_absolute_form);
            self.send_http1(request, upgrade).await
        } else {
            if is_http1 {
                headers::carry(&mut request, asked.is_absolute_form);
            }
            self.http2.send(&self.connector, request).await.map(|mut response| {
                match is_http1 {
                    true => headers::uncarry_response(&mut response, asked.version),
                    false => *response.version_mut() = Version::HTTP_2,
                }
                Sent { response, lease: None, closes_client: false }
            })
        };
        let mut sent = sent.map_err(|mut failed| {
            if let (Some(request), Some(kept)) = (&mut failed.request, kept) {
                (*request.uri_mut(), *request.headers_mut()) = *kept;
            }
            failed
        })?;
        let response_headers = sent.response.headers_mut();
        response_headers.remove(&L5D_PROXY_ERROR);
        sent.closes_client = response_headers.remove(&L5D_PROXY_CONNECTION).is_some_and(|v| v == "close");
        Ok(sent)
    }

    async fn send_http1(
        &self,
        request: Box<Request<Body>>,
        upgrade: Option<&mut Upgrade>,
    ) -> Result<Sent, Box<SendError>> {
        let (response, lease) = self.http1.send(&self.connector, request).await?;
        let (response, lease) = match upgrade {
            Some(upgrade) => upgrade::accept(upgrade, response, lease),
            None => (response, Some(lease)),
        };
        Ok(Sent { response, lease, closes_client: false })
    }

    fn has_identity(&self, required: &HeaderValue) -> bool {
        let id = self.connector.tls.as_ref().map(|tls| tls.peer.id.as_str());
        id.is_some_and(|id| id.as_bytes() == required.as_bytes())
    }
}

impl Peer for HttpEndpoint {
    const CAN_PREPARE: bool = true;

    fn is_ready(&self) -> bool {
        !self.carries || self.http2.is_ready()
    }

    async fn prepare(self: Arc<Self>) -> bool {
        match self.carries {
            true => self.http2.connect_now(&self.connector).await.is_ok(),
            false => self.http1.connect_now(&self.connector).await.is_ok(),
        }
    }
}

/// An endpoint of opaque connections.
pub struct TcpEndpoint {
    connector: Connector,
    is_self: bool,
}

impl TcpEndpoint {
    pub fn new(context: &Context, endpoint: &Arc<Endpoint>, authority: Option<&str>) -> Self {
        Self { connector: connector(context, endpoint, authority), is_self: context.is_self(endpoint.addr) }
    }

    pub async fn connect(&self) -> Result<Stream, ConnectError> {
        if self.is_self {
            return Err(ConnectError::Loop);
        }
        self.connector.connect(None).await
    }
}

impl Peer for TcpEndpoint {
    // Servers count connections that are closed without a word, and some refuse whoever makes too many.
    const CAN_PREPARE: bool = false;

    fn is_ready(&self) -> bool {
        true
    }

    async fn prepare(self: Arc<Self>) -> bool {
        true
    }
}

fn connector(context: &Context, endpoint: &Endpoint, authority: Option<&str>) -> Connector {
    let is_local = context.is_local(endpoint.addr.ip());
    let labels = metrics::endpoint_labels(context, endpoint, authority);
    let direction = context.direction();
    let mut addr = endpoint.addr;
    let tls = endpoint.identity.as_ref().filter(|_| !is_local).map(|peer| {
        let header = transport_header(endpoint);
        if let Some(port) = endpoint.opaque_transport {
            addr = SocketAddr::new(addr.ip(), port);
        }
        ConnectTls { peer: peer.clone(), identity: context.identity.clone(), header }
    });
    Connector {
        addr,
        timeout: direction.connect_timeout,
        options: direction.connect,
        tls,
        hides_session: endpoint.hint == ProtocolHint::Opaque,
        metrics: metrics::connect(&context.metrics, &labels, endpoint.zone_locality),
    }
}

fn transport_header(endpoint: &Endpoint) -> Option<TransportHeader> {
    let own_port = endpoint.addr.port();
    // An override without a port leaves the name out: stock proxies do the same.
    let named = endpoint.authority_override.as_ref().and_then(|a| Some((a.host().to_owned(), a.port_u16()?)));
    match (named, endpoint.opaque_transport) {
        (Some((name, port)), _) => Some(TransportHeader { port, name: Some(name), session: None }),
        (None, None) if endpoint.authority_override.is_none() => None,
        (None, _) => Some(TransportHeader { port: own_port, name: None, session: None }),
    }
}

fn override_authority(request: &mut Request<Body>, authority: &Authority) {
    request.headers_mut().remove(HOST);
    request.headers_mut().remove(&headers::L5D_DST_CANONICAL);
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.authority = Some(authority.clone());
    parts.scheme.get_or_insert(http::uri::Scheme::HTTP);
    parts.path_and_query.get_or_insert_with(|| http::uri::PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}
