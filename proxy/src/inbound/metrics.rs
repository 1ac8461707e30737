//! What is counted about inbound traffic, and the label sets that it is counted under.

use super::{
    client::{Client, Tls},
    notes,
    rate_limit::Scope,
};
use crate::{
    control::model::{
        Meta,
        inbound::{Authz, HttpPolicy, ServerPolicy},
    },
    http::{
        error::Error,
        stats::{RequestStats, StreamFamilies, StreamStats},
    },
    metrics::{ByName, Counter, DETECTION, DURATION_COARSE, DURATION_FINE, FRAME_BYTES, Family, Labels, Registry},
    transport::{
        detect::{Detected, HttpVersion},
        header::{Session, TransportHeader},
        sensor::{TransportMetrics, target_labels},
    },
};
use http::Uri;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};

static HTTP_ALLOW: Family = Family::counter(
    "inbound_http_authz_allow_total",
    "The total number of inbound HTTP requests that were authorized.",
);
static HTTP_DENY: Family =
    Family::counter("inbound_http_authz_deny_total", "The total number of inbound HTTP requests that were denied.");
static HTTP_TERMINATE: Family = Family::counter(
    "inbound_http_authz_terminate_total",
    "The total number of inbound HTTP requests that were terminated due to an authorization change.",
);
static HTTP_NO_ROUTE: Family = Family::counter(
    "inbound_http_route_not_found_total",
    "The total number of inbound HTTP requests that could not be associated with a route.",
);
static HTTP_RATE_LIMITED: Family = Family::counter(
    "inbound_http_local_ratelimit_total",
    "The total number of inbound HTTP requests that were rate-limited.",
);
static TCP_ALLOW: Family = Family::counter(
    "inbound_tcp_authz_allow_total",
    "The total number of inbound TCP connections that were authorized.",
);
static TCP_DENY: Family =
    Family::counter("inbound_tcp_authz_deny_total", "The total number of inbound TCP connections that were denied.");
static TCP_TERMINATE: Family = Family::counter(
    "inbound_tcp_authz_terminate_total",
    "The total number of inbound TCP connections that were terminated due to an authorization change.",
);
static HTTP_ERRORS: Family = Family::counter(
    "inbound_http_errors_total",
    "The total number of inbound HTTP requests that could not be processed.",
);
static TCP_ERRORS: Family = Family::counter(
    "inbound_tcp_errors_total",
    "The total number of inbound TCP connections that could not be processed.",
);
static DETECT_DURATION: Family =
    Family::histogram("inbound_tcp_detect_http_duration_seconds", "Time taken for HTTP protocol detection.", DETECTION);
static DETECT_RESULTS: Family =
    Family::counter("inbound_tcp_detect_http_results_total", "Results of HTTP protocol detection.");
static HEADER_CONNECTIONS: Family =
    Family::counter("inbound_tcp_transport_header_connections_total", "TCP connections with transport headers.");
static HTTP_REQUESTS: Family =
    Family::counter("inbound_http_requests_total", "The total number of requests dispatched.");
static GRPC_REQUESTS: Family =
    Family::counter("inbound_grpc_requests_total", "The total number of requests dispatched.");
static HTTP_DURATION: Family = Family::histogram(
    "inbound_http_request_duration_seconds",
    "The time between request initialization and response completion.",
    DURATION_FINE,
);
static GRPC_DURATION: Family = Family::histogram(
    "inbound_grpc_request_duration_seconds",
    "The time between request initialization and response completion.",
    DURATION_FINE,
);
static HTTP_RESPONSE_DURATION: Family = Family::histogram(
    "inbound_http_response_duration_seconds",
    "The time between request completion and response completion.",
    DURATION_COARSE,
);
static GRPC_RESPONSE_DURATION: Family = Family::histogram(
    "inbound_grpc_response_duration_seconds",
    "The time between request completion and response completion.",
    DURATION_COARSE,
);
static HTTP_REQUEST_FRAMES: Family =
    Family::histogram("inbound_http_request_frame_size_bytes", "Request data frame sizes.", FRAME_BYTES);
static GRPC_REQUEST_FRAMES: Family =
    Family::histogram("inbound_grpc_request_frame_size_bytes", "Request data frame sizes.", FRAME_BYTES);
static HTTP_RESPONSE_FRAMES: Family =
    Family::histogram("inbound_http_response_frame_size_bytes", "Response data frame sizes.", FRAME_BYTES);
static GRPC_RESPONSE_FRAMES: Family =
    Family::histogram("inbound_grpc_response_frame_size_bytes", "Response data frame sizes.", FRAME_BYTES);
static HTTP_STATUSES: Family = Family::counter("inbound_http_statuses_total", "Completed request-response streams.");
static GRPC_STATUSES: Family = Family::counter("inbound_grpc_statuses_total", "Completed request-response streams.");

/// Requests that one authorization allowed on one route.
pub struct RouteCounters {
    pub allowed: Counter,
    pub requests: Counter,
    stats: Arc<RequestStats>,
    by_authority: Option<(Registry, Labels, ByName<RequestStats>)>,
    /// Of the whole stream.
    pub streams: Arc<StreamStats>,
    /// Of the response alone.
    pub responses: Arc<StreamStats>,
}

impl RouteCounters {
    /// What a request is counted in; by its authority, where that is asked for.
    pub fn requests_for(&self, uri: &Uri) -> Arc<RequestStats> {
        self.by_name(uri).unwrap_or_else(|| self.stats.clone())
    }

    fn by_name(&self, uri: &Uri) -> Option<Arc<RequestStats>> {
        let (registry, labels, by_authority) = self.by_authority.as_ref()?;
        let authority = uri.authority()?.as_str();
        by_authority.get(authority, || {
            let named = Labels::new().with("direction", "inbound").with("authority", authority);
            RequestStats::new(registry, named.join(labels))
        })
    }
}

/// Connections that clients of a kind make to an address.
pub fn accept(registry: &Registry, addr: SocketAddr, tls: &Tls, policy: &ServerPolicy) -> Arc<TransportMetrics> {
    let labels = Labels::new().with("direction", "inbound").with("peer", "src");
    TransportMetrics::new(registry, client_labels(labels, addr, tls, policy))
}

/// Connections that the proxy makes to the application.
pub fn connect(registry: &Registry) -> Arc<TransportMetrics> {
    let labels = Labels::new().with("direction", "inbound").with("peer", "dst");
    TransportMetrics::new(registry, labels.with("tls", "no_identity").with("no_tls_reason", "loopback"))
}

pub fn route(
    registry: &Registry,
    addr: SocketAddr,
    tls: &Tls,
    policy: &ServerPolicy,
    (route, rule): (&Meta, &HttpPolicy),
    authz: &Authz,
    has_authority: bool,
) -> Arc<RouteCounters> {
    let client = client_labels(Labels::new(), addr, tls, policy).join(&rule.labels).join(&authz.labels);
    let parent = policy.meta.short_labels("parent_").with("parent_port", addr.port());
    let parent = parent.join(&route.short_labels("route_"));
    let families = |duration, statuses, frames| StreamFamilies { duration, statuses, frames, has_status: true };
    let (requests, whole, response) = match rule.is_grpc {
        false => (
            &HTTP_REQUESTS,
            families(&HTTP_DURATION, Some(&HTTP_STATUSES), &HTTP_REQUEST_FRAMES),
            families(&HTTP_RESPONSE_DURATION, None, &HTTP_RESPONSE_FRAMES),
        ),
        true => (
            &GRPC_REQUESTS,
            families(&GRPC_DURATION, Some(&GRPC_STATUSES), &GRPC_REQUEST_FRAMES),
            families(&GRPC_RESPONSE_DURATION, None, &GRPC_RESPONSE_FRAMES),
        ),
    };
    Arc::new(RouteCounters {
        allowed: registry.counter(&HTTP_ALLOW, client.clone()),
        requests: registry.counter(requests, parent.clone()),
        stats: RequestStats::new(registry, Labels::new().with("direction", "inbound").join(&client)),
        by_authority: has_authority.then(|| (registry.clone(), client, ByName::default())),
        streams: StreamStats::new(registry, parent.clone(), rule.is_grpc, &whole),
        responses: StreamStats::new(registry, parent, rule.is_grpc, &response),
    })
}

/// What is counted when it happens: refusals and errors, whose handles are looked up then.
pub struct Events<'a> {
    pub registry: &'a Registry,
    pub addr: SocketAddr,
    pub policy: &'a ServerPolicy,
}

impl Events<'_> {
    /// What the requests of a client are counted in, and their responses.
    pub fn requests(&self, client: &Client, rule: Option<&HttpPolicy>, authz: &Authz) -> Arc<RequestStats> {
        let labels = Labels::new().with("direction", "inbound");
        let labels = client_labels(labels, self.addr, &client.tls, self.policy);
        let labels = rule.map_or(labels.clone(), |rule| labels.join(&rule.labels));
        RequestStats::new(self.registry, labels.join(&authz.labels))
    }

    pub fn http_denied(&self, client: &Client, rule: &HttpPolicy) {
        let labels = client_labels(Labels::new(), self.addr, &client.tls, self.policy).join(&rule.labels);
        notes::denied("request", client, &labels);
        self.registry.counter(&HTTP_DENY, labels).incr();
    }

    pub fn http_allowed(&self, client: &Client, rule: &HttpPolicy, authz: &Authz) {
        if authz.is_audit() {
            self.http_audited(client, rule, authz);
        }
        let labels = client_labels(Labels::new(), self.addr, &client.tls, self.policy);
        self.registry.counter(&HTTP_ALLOW, labels.join(&rule.labels).join(&authz.labels)).incr();
    }

    pub fn http_audited(&self, client: &Client, rule: &HttpPolicy, authz: &Authz) {
        let labels = client_labels(Labels::new(), self.addr, &client.tls, self.policy).join(&rule.labels);
        notes::audited("request", client, &labels, authz);
    }

    /// `rule` is the one that the request would be under now.
    pub fn http_terminated(&self, client: &Client, rule: Option<&HttpPolicy>) {
        let labels = client_labels(Labels::new(), self.addr, &client.tls, self.policy);
        let labels = rule.map_or(labels.clone(), |rule| labels.join(&rule.labels));
        notes::denied("running request", client, &labels);
        self.registry.counter(&HTTP_TERMINATE, labels).incr();
    }

    pub fn http_no_route(&self, client: &Client) {
        let labels = client_labels(Labels::new(), self.addr, &client.tls, self.policy);
        self.registry.counter(&HTTP_NO_ROUTE, labels).incr();
    }

    pub fn http_rate_limited(&self, client: &Client, limit: &Meta, scope: Scope) {
        let labels = client_labels(Labels::new(), self.addr, &client.tls, self.policy);
        let labels = labels.join(&limit.short_labels("ratelimit_")).with("ratelimit_scope", scope.as_str());
        self.registry.counter(&HTTP_RATE_LIMITED, labels).incr();
    }

    pub fn http_error(&self, error: &Error) {
        if let Some(label) = error.label() {
            let labels = target_labels(Labels::new().with("error", label), self.addr).join(&server_labels(self));
            self.registry.counter(&HTTP_ERRORS, labels).incr();
        }
    }

    pub fn tcp_allowed(&self, client: &Client, authz: &Authz) {
        let labels = client_labels(Labels::new(), self.addr, &client.tls, self.policy);
        if authz.is_audit() {
            notes::audited("connection", client, &labels, authz);
        }
        self.registry.counter(&TCP_ALLOW, labels.join(&authz.labels)).incr();
    }

    pub fn tcp_denied(&self, client: &Client) {
        let labels = client_labels(Labels::new(), self.addr, &client.tls, self.policy);
        notes::denied("connection", client, &labels);
        self.registry.counter(&TCP_DENY, labels).incr();
    }

    pub fn tcp_terminated(&self, client: &Client) {
        let labels = client_labels(Labels::new(), self.addr, &client.tls, self.policy);
        notes::denied("open connection", client, &labels);
        self.registry.counter(&TCP_TERMINATE, labels).incr();
    }

    pub fn detected(&self, outcome: &io::Result<Detected>, elapsed: Duration) {
        let result = match outcome {
            Ok(Detected::Http(HttpVersion::Http1)) => "http/1",
            Ok(Detected::Http(HttpVersion::Http2)) => "http/2",
            Ok(Detected::NotHttp) => "not_http",
            Ok(Detected::TimedOut) => "read_timeout",
            Err(_) => "error",
        };
        self.registry.histogram(&DETECT_DURATION, server_labels(self)).observe_time(elapsed);
        self.registry.counter(&DETECT_RESULTS, server_labels(self).with("result", result)).incr();
    }
}

/// A connection that could not be served; `label` is the contract's word.
pub fn connection_error(registry: &Registry, label: &str, target: Option<SocketAddr>) {
    let labels = Labels::new().with("error", label);
    let labels = target.map_or(labels.clone(), |addr| target_labels(labels, addr));
    registry.counter(&TCP_ERRORS, labels).incr();
}

pub fn transport_header(registry: &Registry, header: &TransportHeader, client: &Client) {
    let session = match header.session {
        None => "",
        Some(Session::Http1) => "http/1",
        Some(Session::Http2) => "h2",
    };
    let labels = Labels::new()
        .with("session_protocol", session)
        .with("target_port", header.port)
        .with("target_name", header.name.as_deref().unwrap_or_default())
        .with("client_id", client.id().map(ToString::to_string).unwrap_or_default());
    registry.counter(&HEADER_CONNECTIONS, labels).incr();
}

fn server_labels(events: &Events<'_>) -> Labels {
    events.policy.labels.clone().with("srv_port", events.addr.port())
}

fn client_labels(labels: Labels, addr: SocketAddr, tls: &Tls, policy: &ServerPolicy) -> Labels {
    let labels = target_labels(labels, addr);
    let labels = match tls {
        Tls::Mesh(Some(id)) => labels.with("tls", "true").with("client_id", id),
        Tls::Mesh(None) => labels.with("tls", "true").with("client_id", ""),
        Tls::Foreign(name) => labels.with("tls", "opaque").with("sni", name.as_deref().unwrap_or_default()),
        Tls::None => labels.with("tls", "no_identity").with("no_tls_reason", "no_tls_from_remote"),
        Tls::PortSkipped => labels.with("tls", "no_identity").with("no_tls_reason", "port_skipped"),
    };
    labels.join(&policy.labels).with("srv_port", addr.port())
}
