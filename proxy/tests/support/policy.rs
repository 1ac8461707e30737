//! Policies as the control plane sends them for a Service whose requests are balanced.

use linkerd2_proxy_api::{
    meta,
    outbound::{
        Backend, ExponentialBackoff, FailureAccrual, GrpcRoute, HttpRoute, OpaqueRoute, OutboundPolicy, ProxyProtocol,
        Queue,
        backend::{
            self, BalanceP2c, EndpointDiscovery,
            balance_p2c::{Load, PeakEwma},
            endpoint_discovery::{self, DestinationGet},
        },
        grpc_route, http_route, opaque_route,
        proxy_protocol::{Detect, Grpc, Http1, Http2, Kind, Opaque},
    },
};

pub fn ms(ms: i32) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds: i64::from(ms / 1000), nanos: ms % 1000 * 1_000_000 })
}

pub fn named(name: &str) -> Option<meta::Metadata> {
    let service =
        meta::Resource { kind: "Service".into(), name: name.into(), namespace: "test".into(), ..Default::default() };
    Some(meta::Metadata { kind: Some(meta::metadata::Kind::Resource(service)) })
}

pub fn backend(path: &str) -> Option<Backend> {
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

/// The same as `balanced`, with breakers.
pub fn broken(path: &str, failure_accrual: FailureAccrual) -> OutboundPolicy {
    let mut policy = balanced(path);
    set_breakers(&mut policy, failure_accrual);
    policy
}

pub fn set_breakers(policy: &mut OutboundPolicy, failure_accrual: FailureAccrual) {
    if let Some(Kind::Detect(detect)) = policy.protocol.as_mut().and_then(|p| p.kind.as_mut()) {
        detect.http1.as_mut().unwrap().failure_accrual = Some(failure_accrual);
        detect.http2.as_mut().unwrap().failure_accrual = Some(failure_accrual);
    }
}

pub fn backoff(min_ms: i32, max_ms: i32) -> Option<ExponentialBackoff> {
    let (min_backoff, max_backoff) = (ms(min_ms), ms(max_ms));
    Some(ExponentialBackoff { min_backoff, max_backoff, jitter_ratio: 0.0, respect_retry_after_hint: false })
}

/// Changes every balancer of a policy's HTTP routes.
pub fn balancers(policy: &mut OutboundPolicy, change: impl Fn(&mut BalanceP2c)) {
    let Some(Kind::Detect(detect)) = policy.protocol.as_mut().and_then(|p| p.kind.as_mut()) else { return };
    let routes =
        detect.http1.iter_mut().flat_map(|h| &mut h.routes).chain(detect.http2.iter_mut().flat_map(|h| &mut h.routes));
    for rule in routes.flat_map(|route| &mut route.rules) {
        if let Some(http_route::distribution::Kind::FirstAvailable(first)) =
            rule.backends.as_mut().and_then(|d| d.kind.as_mut())
        {
            for backend in first.backends.iter_mut().filter_map(|b| b.backend.as_mut()) {
                if let Some(backend::Kind::Balancer(balancer)) = &mut backend.kind {
                    change(balancer);
                }
            }
        }
    }
}

/// One GRPCRoute to the balancer `path`.
pub fn grpc(path: &str, change: impl FnOnce(&mut grpc_route::Rule)) -> OutboundPolicy {
    let backend = grpc_route::RouteBackend { backend: backend(path), ..Default::default() };
    let first = grpc_route::distribution::FirstAvailable { backends: vec![backend] };
    let kind = Some(grpc_route::distribution::Kind::FirstAvailable(first));
    let mut rule = grpc_route::Rule { backends: Some(grpc_route::Distribution { kind }), ..Default::default() };
    change(&mut rule);
    let route = GrpcRoute { metadata: named("grpc"), hosts: vec![], rules: vec![rule] };
    let kind = Kind::Grpc(Grpc { routes: vec![route], failure_accrual: None });
    OutboundPolicy { protocol: Some(ProxyProtocol { kind: Some(kind) }), metadata: named("web") }
}
