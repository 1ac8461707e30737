//! What is counted about outbound traffic, and the label sets that it is counted under.

use super::context::Context;
use crate::{
    control::model::{Endpoint, Meta, endpoint::ZoneLocality, outbound::Protocol},
    http::{
        error::Error,
        stats::{StreamFamilies, StreamStats},
    },
    metrics::{ByName, DETECTION, DURATION_COARSE, DURATION_FINE, FRAME_BYTES, Family, Labels, Registry},
    transport::{
        detect::{Detected, HttpVersion},
        failure,
        sensor::{Transfer, TransportMetrics, target_labels},
    },
};
use http::Uri;
use std::{
    borrow::Cow,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

static TRANSFER_COST: Family = Family::counter(
    "outbound_tcp_transfer_cost_bytes_total",
    "The total amount of data transferred in and out of this proxy, by the zones it goes between.",
);
static HTTP_ROUTE_DURATION: Family = Family::histogram(
    "outbound_http_route_request_duration_seconds",
    "The time between request initialization and response completion.",
    DURATION_COARSE,
);
static GRPC_ROUTE_DURATION: Family = Family::histogram(
    "outbound_grpc_route_request_duration_seconds",
    "The time between request initialization and response completion.",
    DURATION_COARSE,
);
static HTTP_ROUTE_STATUSES: Family =
    Family::counter("outbound_http_route_request_statuses_total", "Completed request-response streams.");
static GRPC_ROUTE_STATUSES: Family =
    Family::counter("outbound_grpc_route_request_statuses_total", "Completed request-response streams.");
static HTTP_BACKEND_REQUESTS: Family =
    Family::counter("outbound_http_route_backend_requests_total", "The total number of requests dispatched.");
static GRPC_BACKEND_REQUESTS: Family =
    Family::counter("outbound_grpc_route_backend_requests_total", "The total number of requests dispatched.");
static HTTP_BACKEND_DURATION: Family = Family::histogram(
    "outbound_http_route_backend_response_duration_seconds",
    "The time between request completion and response completion.",
    DURATION_FINE,
);
static GRPC_BACKEND_DURATION: Family = Family::histogram(
    "outbound_grpc_route_backend_response_duration_seconds",
    "The time between request completion and response completion.",
    DURATION_FINE,
);
static HTTP_BACKEND_STATUSES: Family =
    Family::counter("outbound_http_route_backend_response_statuses_total", "Completed responses.");
static GRPC_BACKEND_STATUSES: Family =
    Family::counter("outbound_grpc_route_backend_response_statuses_total", "Completed responses.");
static HTTP_ROUTE_FRAMES: Family =
    Family::histogram("outbound_http_route_request_frame_size_bytes", "Request data frame sizes.", FRAME_BYTES);
static GRPC_ROUTE_FRAMES: Family =
    Family::histogram("outbound_grpc_route_request_frame_size_bytes", "Request data frame sizes.", FRAME_BYTES);
static HTTP_BACKEND_FRAMES: Family = Family::histogram(
    "outbound_http_route_backend_response_frame_size_bytes",
    "Response data frame sizes.",
    FRAME_BYTES,
);
static GRPC_BACKEND_FRAMES: Family = Family::histogram(
    "outbound_grpc_route_backend_response_frame_size_bytes",
    "Response data frame sizes.",
    FRAME_BYTES,
);
static PROTOCOL_CONNECTIONS: Family =
    Family::counter("outbound_tcp_protocol_connections_total", "Outbound TCP connections by protocol configuration.");
static DETECT_DURATION: Family = Family::histogram(
    "outbound_tcp_detect_http_duration_seconds",
    "Time taken for HTTP protocol detection.",
    DETECTION,
);
static DETECT_RESULTS: Family =
    Family::counter("outbound_tcp_detect_http_results_total", "Results of HTTP protocol detection.");
static HTTP_ERRORS: Family =
    Family::counter("outbound_http_errors_total", "The total number of HTTP requests that could not be processed.");
static TCP_ERRORS: Family =
    Family::counter("outbound_tcp_errors_total", "The total number of TCP connections that could not be processed.");
static TCP_OPEN: Family = Family::counter("outbound_tcp_route_open_total", "Connections opened on a route.");
static TCP_CLOSE: Family = Family::counter("outbound_tcp_route_close_total", "Connections closed on a route.");
static TLS_OPEN: Family = Family::counter("outbound_tls_route_open_total", "Connections opened on a route.");
static TLS_CLOSE: Family = Family::counter("outbound_tls_route_close_total", "Connections closed on a route.");

/// The families of one route rule, in HTTP's form or gRPC's.
pub struct RouteFamilies {
    pub stream: StreamFamilies,
    pub backend_requests: &'static Family,
    pub backend_response: StreamFamilies,
}

pub fn route_families(is_grpc: bool) -> RouteFamilies {
    let families =
        |duration, statuses, frames| StreamFamilies { duration, statuses: Some(statuses), frames, has_status: false };
    match is_grpc {
        false => RouteFamilies {
            stream: families(&HTTP_ROUTE_DURATION, &HTTP_ROUTE_STATUSES, &HTTP_ROUTE_FRAMES),
            backend_requests: &HTTP_BACKEND_REQUESTS,
            backend_response: families(&HTTP_BACKEND_DURATION, &HTTP_BACKEND_STATUSES, &HTTP_BACKEND_FRAMES),
        },
        true => RouteFamilies {
            stream: families(&GRPC_ROUTE_DURATION, &GRPC_ROUTE_STATUSES, &GRPC_ROUTE_FRAMES),
            backend_requests: &GRPC_BACKEND_REQUESTS,
            backend_response: families(&GRPC_BACKEND_DURATION, &GRPC_BACKEND_STATUSES, &GRPC_BACKEND_FRAMES),
        },
    }
}

/// Connections that the application makes to `orig_dst`.
pub fn accept(registry: &Registry, orig_dst: SocketAddr) -> Arc<TransportMetrics> {
    let labels = Labels::new().with("direction", "outbound").with("peer", "src");
    let labels = target_labels(labels, orig_dst).with("tls", "no_identity").with("no_tls_reason", "loopback");
    TransportMetrics::new(registry, labels)
}

/// Connections that the proxy makes to an endpoint.
pub fn connect(registry: &Registry, endpoint: &Labels, zone: ZoneLocality) -> Arc<TransportMetrics> {
    let labels = Labels::new().with("direction", "outbound").with("peer", "dst").join(endpoint);
    let cost = |op| {
        let labels = Labels::new().with("op", op).with("zone_locality", zone.as_str());
        registry.counter(&TRANSFER_COST, labels)
    };
    let transfer = Transfer { received: cost("Recv"), sent: cost("Send") };
    TransportMetrics::with_transfer(registry, labels, Some(transfer))
}

/// `authority`, `target_*`, `tls`, `server_id` and `dst_*` of an endpoint.
pub fn endpoint_labels(context: &Context, endpoint: &Endpoint, authority: Option<&str>) -> Labels {
    let is_local = context.is_local(endpoint.addr.ip());
    let mut labels = Labels::new();
    if let Some(authority) = authority {
        labels = labels.with("authority", authority);
    }
    labels = target_labels(labels, endpoint.addr);
    labels = match &endpoint.identity {
        Some(_) if is_local => labels.with("tls", "no_identity").with("no_tls_reason", "loopback"),
        Some(identity) => labels.with("tls", "true").with("server_id", &identity.id),
        None if authority.is_none() && context.config.outbound.is_ingress => {
            labels.with("tls", "no_identity").with("no_tls_reason", "ingress_without_override")
        }
        None => labels.with("tls", "no_identity").with("no_tls_reason", "not_provided_by_service_discovery"),
    };
    labels.join(&endpoint.labels)
}

/// What the streams of a rule are counted in; by the host that they are for, where that is asked for.
pub struct RuleStats {
    all: Arc<StreamStats>,
    by_host: Option<(Registry, Labels, ByName<StreamStats>)>,
    is_grpc: bool,
}

impl RuleStats {
    pub fn new(context: &Context, parent: &Meta, route: &Meta, is_grpc: bool) -> Self {
        let (registry, labels) = (&context.metrics, parent.parent_labels().join(&route.route_labels()));
        let all =
            StreamStats::new(registry, labels.clone().with("hostname", ""), is_grpc, &route_families(is_grpc).stream);
        let has_hosts = context.config.outbound.has_hostname_labels;
        Self { all, by_host: has_hosts.then(|| (registry.clone(), labels, ByName::default())), is_grpc }
    }

    pub fn of(&self, uri: &Uri) -> Cow<'_, Arc<StreamStats>> {
        self.of_host(uri).map_or(Cow::Borrowed(&self.all), Cow::Owned)
    }

    /// None of an address, which is no name.
    fn of_host(&self, uri: &Uri) -> Option<Arc<StreamStats>> {
        let (registry, labels, by_host) = self.by_host.as_ref()?;
        let host = uri.host().filter(|host| host.parse::<IpAddr>().is_err() && !host.starts_with('['))?;
        let host = host.to_ascii_lowercase();
        by_host.get(&host, || {
            let labels = labels.clone().with("hostname", &host);
            StreamStats::new(registry, labels, self.is_grpc, &route_families(self.is_grpc).stream)
        })
    }
}

/// The connections of one route. Connections are few beside requests: their handles are looked up when they are counted.
pub struct ConnectionRoute<'a> {
    registry: &'a Registry,
    labels: Labels,
    is_tls: bool,
}

impl<'a> ConnectionRoute<'a> {
    /// `hostname` is the one of a TLS route's connection, where it may be told: anybody can make one up.
    pub fn new(registry: &'a Registry, parent: &Meta, route: &Meta, is_tls: bool, hostname: &str) -> Self {
        let labels = parent.parent_labels().join(&route.route_labels());
        let labels = if is_tls { labels.with("hostname", hostname) } else { labels };
        Self { registry, labels, is_tls }
    }

    pub fn opened(&self) {
        let family = if self.is_tls { &TLS_OPEN } else { &TCP_OPEN };
        self.registry.counter(family, self.labels.clone()).incr();
    }

    pub fn closed(&self, outcome: &io::Result<()>) {
        let error = match outcome {
            Ok(()) => "",
            Err(error) => match failure::Failure::of(error) {
                Some(failure::Failure::FailFast) => "FAIL_FAST",
                Some(failure::Failure::LoadShed) => "LOAD_SHED",
                Some(failure::Failure::Forbidden) => "FORBIDDEN",
                Some(failure::Failure::InvalidRoute) => "INVALID",
                _ => "IO",
            },
        };
        let family = if self.is_tls { &TLS_CLOSE } else { &TCP_CLOSE };
        self.registry.counter(family, self.labels.clone().with("error", error)).incr();
    }
}

/// What happened to connections before their protocol was known.
pub struct ConnectionCounters<'a> {
    registry: &'a Registry,
    parent: Labels,
}

impl<'a> ConnectionCounters<'a> {
    pub fn new(registry: &'a Registry, parent: &Meta) -> Self {
        Self { registry, parent: parent.parent_labels() }
    }

    /// What the policy says of the connection's protocol.
    pub fn protocol(&self, protocol: &Protocol) {
        let name = match protocol {
            Protocol::Http1(_) => "http/1",
            Protocol::Http2(_) | Protocol::Grpc(_) => "http/2",
            Protocol::Detect { .. } | Protocol::Invalid(_) => "detect",
            Protocol::Opaque(_) => "opaq",
            Protocol::Tls(_) => "tls",
        };
        self.registry.counter(&PROTOCOL_CONNECTIONS, self.parent.clone().with("protocol", name)).incr();
    }

    pub fn detected(&self, outcome: &io::Result<Detected>, elapsed: Duration) {
        let result = match outcome {
            Ok(Detected::Http(HttpVersion::Http1)) => "http/1",
            Ok(Detected::Http(HttpVersion::Http2)) => "http/2",
            Ok(Detected::NotHttp) => "not_http",
            Ok(Detected::TimedOut) => "read_timeout",
            Err(_) => "error",
        };
        self.registry.histogram(&DETECT_DURATION, self.parent.clone()).observe_time(elapsed);
        self.registry.counter(&DETECT_RESULTS, self.parent.clone().with("result", result)).incr();
    }
}

/// Errors are rare: their handles are looked up when they happen.
pub struct ErrorCounters {
    registry: Registry,
}

impl ErrorCounters {
    pub fn new(registry: &Registry) -> Self {
        Self { registry: registry.clone() }
    }

    pub fn request(&self, error: &Error, target: Option<SocketAddr>) {
        if let Some(label) = error.label() {
            let labels = Labels::new().with("error", label);
            let labels = target.map_or(labels.clone(), |addr| target_labels(labels, addr));
            self.registry.counter(&HTTP_ERRORS, labels).incr();
        }
    }

    pub fn connection(&self, error: &io::Error, target: Option<SocketAddr>) {
        let labels = Labels::new().with("error", failure::label(error));
        let labels = target.map_or(labels.clone(), |addr| target_labels(labels, addr));
        self.registry.counter(&TCP_ERRORS, labels).incr();
    }
}
