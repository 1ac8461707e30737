//! Who may connect to one port of this pod, and how its traffic is handled.

pub use super::authz::{Authn, Authorizations, Authz, ClientTls, Network};

use super::filter::Filter;
use super::meta::Meta;
use super::route::{self, Found, Request, Route, RouteIndex};
use crate::metrics::Labels;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct ServerPolicy {
    pub meta: Arc<Meta>,
    /// `srv_group`, `srv_kind`, `srv_name` (and `srv_port` is the port's own).
    pub labels: Labels,
    pub protocol: Protocol,
    /// The server's own authorizations, the ones for loopback last.
    pub authorizations: Authorizations,
}

#[derive(Clone, Debug)]
pub enum Protocol {
    Detect {
        timeout: Duration,
        http: Http,
    },
    Http1(Http),
    Http2(Http),
    Grpc(Http),
    Opaque,
    /// TLS that the application terminates.
    Tls,
    /// The control plane sent what cannot be obeyed: nobody passes, and HTTP clients are told why.
    Invalid(Box<str>),
}

#[derive(Clone, Debug)]
pub struct Http {
    pub routes: Arc<[Route<HttpPolicy>]>,
    index: Arc<RouteIndex>,
    /// Whether headers can decide which rule is a request's.
    pub asks_headers: bool,
    pub rate_limit: Option<Arc<RateLimit>>,
}

#[derive(Clone, Debug)]
pub struct HttpPolicy {
    pub filters: Vec<Filter>,
    /// The route's own authorizations, which come before the server's.
    pub own: Authorizations,
    /// The server's, and then the ones for loopback: all its routes share them.
    pub server: Authorizations,
    /// `route_group`, `route_kind`, `route_name`.
    pub labels: Labels,
    pub is_grpc: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub meta: Arc<Meta>,
    /// Requests per second, all clients together.
    pub total: Option<u32>,
    /// Requests per second of each client identity; clients without one share a limit.
    pub identity: Option<u32>,
    /// Requests per second that some identities have together, instead of what each would have.
    pub overrides: Vec<(u32, Vec<Box<str>>)>,
}

impl ServerPolicy {
    /// The first authorization that lets this client's bytes pass. Where HTTP is required nothing else may pass.
    pub fn check(&self, client_ip: IpAddr, tls: ClientTls<'_>) -> Option<&Authz> {
        match self.protocol {
            Protocol::Detect { .. } | Protocol::Opaque | Protocol::Tls => self.authorizations.first(client_ip, tls),
            Protocol::Http1(_) | Protocol::Http2(_) | Protocol::Grpc(_) | Protocol::Invalid(_) => None,
        }
    }

    pub fn http(&self) -> Option<&Http> {
        match &self.protocol {
            Protocol::Detect { http, .. } | Protocol::Http1(http) | Protocol::Http2(http) | Protocol::Grpc(http) => {
                Some(http)
            }
            Protocol::Opaque | Protocol::Tls | Protocol::Invalid(_) => None,
        }
    }
}

impl Http {
    pub fn new(routes: Vec<Route<HttpPolicy>>, rate_limit: Option<Arc<RateLimit>>) -> Self {
        let (index, asks_headers) = (Arc::new(RouteIndex::new(&routes)), route::asks_headers(&routes));
        Self { index, asks_headers, routes: routes.into(), rate_limit }
    }

    /// The rules that may be a request's besides the one that is found for it, when its headers are not known.
    pub fn if_headers_match<'a>(&'a self, request: Request<'a>) -> impl Iterator<Item = &'a HttpPolicy> {
        let routes = if self.asks_headers { &self.routes[..] } else { &[] };
        route::if_headers_match(routes, request).map(|rule| &rule.policy)
    }

    /// The best route and rule for a request, if any matches.
    pub fn find(&self, request: Request<'_>) -> Option<(Found, &HttpPolicy)> {
        let found = self.index.find(&self.routes, request)?;
        Some((found, &self.routes.get(found.route)?.rules.get(found.rule)?.policy))
    }
}

impl HttpPolicy {
    /// The first authorization that allows this client's requests on this route.
    pub fn check(&self, client_ip: IpAddr, tls: ClientTls<'_>) -> Option<&Authz> {
        self.own.first(client_ip, tls).or_else(|| self.server.first(client_ip, tls))
    }
}
