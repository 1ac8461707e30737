//! Policies as the control plane sends them for a Service whose requests are balanced.

use linkerd2_proxy_api::{
    meta,
    outbound::{
        Backend, HttpRoute, OpaqueRoute, OutboundPolicy, ProxyProtocol, Queue,
        backend::{
            self, BalanceP2c, EndpointDiscovery,
            balance_p2c::{Load, PeakEwma},
            endpoint_discovery::{self, DestinationGet},
        },
        http_route, opaque_route,
        proxy_protocol::{Detect, Http1, Http2, Kind, Opaque},
    },
};

fn ms(ms: i32) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds: i64::from(ms / 1000), nanos: ms % 1000 * 1_000_000 })
}

pub fn named(name: &str) -> Option<meta::Metadata> {
    let service =
        meta::Resource { kind: "Service".into(), name: name.into(), namespace: "test".into(), ..Default::default() };
    Some(meta::Metadata { kind: Some(meta::metadata::Kind::Resource(service)) })
}

fn backend(path: &str) -> Option<Backend> {
    let discovery = endpoint_discovery::Kind::Dst(DestinationGet { path: path.into() });
    let balancer = BalanceP2c {
        discovery: Some(EndpointDiscovery { kind: Some(discovery) }),
        load: Some(Load::PeakEwma(PeakEwma { default_rtt: ms(30), decay: ms(10_000) })),
    };
    Some(Backend {
        metadata: named("backend"),
        kind: Some(backend::Kind::Balancer(balancer)),
        queue: Some(Queue { capacity: 100, failfast_timeout: ms(3_000) }),
    })
}

pub fn http_rule(path: &str) -> http_route::Rule {
    let backend = http_route::RouteBackend { backend: backend(path), ..Default::default() };
    let first = http_route::distribution::FirstAvailable { backends: vec![backend] };
    let kind = Some(http_route::distribution::Kind::FirstAvailable(first));
    http_route::Rule { backends: Some(http_route::Distribution { kind }), ..Default::default() }
}

pub fn opaque_rule(path: &str) -> opaque_route::Rule {
    let backend = opaque_route::RouteBackend { backend: backend(path), ..Default::default() };
    let first = opaque_route::distribution::FirstAvailable { backends: vec![backend] };
    let kind = Some(opaque_route::distribution::Kind::FirstAvailable(first));
    opaque_route::Rule { backends: Some(opaque_route::Distribution { kind }), ..Default::default() }
}

/// One route to the balancer `path`, in whatever protocol is detected.
pub fn balanced(path: &str) -> OutboundPolicy {
    detected(path, http_rule(path))
}

/// The same with another rule for HTTP.
pub fn detected(path: &str, rule: http_route::Rule) -> OutboundPolicy {
    let http = || vec![HttpRoute { metadata: named("http"), hosts: vec![], rules: vec![rule.clone()] }];
    let opaque = OpaqueRoute { metadata: named("opaque"), rules: vec![opaque_rule(path)] };
    let detect = Detect {
        timeout: ms(10_000),
        opaque: Some(Opaque { routes: vec![opaque] }),
        http1: Some(Http1 { routes: http(), failure_accrual: None }),
        http2: Some(Http2 { routes: http(), failure_accrual: None }),
    };
    OutboundPolicy { protocol: Some(ProxyProtocol { kind: Some(Kind::Detect(detect)) }), metadata: named("web") }
}
