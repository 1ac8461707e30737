//! What is not whole is refused, and nothing that a peer sends brings the proxy down.

use super::{endpoints, inbound, outbound, profile};
use crate::control::model::endpoint::{FlowControl, PeerId, ProtocolHint};
use crate::control::testing::{balanced, default_meta};
use linkerd2_proxy_api::{destination, http_route, inbound as wire_inbound, net, outbound as wire};
use prost::Message;
use std::net::SocketAddr;

type Change = fn(&mut wire::Backend);

fn refused(change: impl FnOnce(&mut wire::http_route::Rule)) -> String {
    let mut policy = balanced("web", "web:80");
    if let Some(wire::proxy_protocol::Kind::Http1(http)) = policy.protocol.as_mut().and_then(|p| p.kind.as_mut()) {
        change(&mut http.routes[0].rules[0]);
    }
    outbound::policy(policy).map(|_| ()).expect_err("a refusal").to_string()
}

fn backend(rule: &mut wire::http_route::Rule) -> &mut wire::Backend {
    use wire::http_route::distribution::Kind;
    match rule.backends.as_mut().and_then(|d| d.kind.as_mut()) {
        Some(Kind::FirstAvailable(first)) => first.backends[0].backend.as_mut().expect("a backend"),
        other => panic!("not one backend: {other:?}"),
    }
}

#[test]
fn a_policy_that_lacks_a_part_is_invalid_and_says_which() {
    assert!(outbound::policy(balanced("web", "web:80")).is_ok());
    assert_eq!(refused(|rule| rule.backends = None), "routes[0].rules[0]: distribution is missing");
    let changes: [(Change, &str); 4] = [
        (|b| b.metadata = None, "metadata is missing"),
        (|b| b.queue = None, "queue is missing"),
        (|b| b.queue = Some(wire::Queue::default()), "failfast timeout is missing"),
        (
            |b| match &mut b.kind {
                Some(wire::backend::Kind::Balancer(balancer)) => balancer.load = None,
                other => panic!("not a balancer: {other:?}"),
            },
            "load is missing",
        ),
    ];
    for (change, why) in changes {
        assert_eq!(refused(|rule| change(backend(rule))), format!("routes[0].rules[0].backends[0]: {why}"));
    }
    let regex = http_route::PathMatch { kind: Some(http_route::path_match::Kind::Regex("(".into())) };
    let matches = vec![http_route::HttpRouteMatch { path: Some(regex), ..Default::default() }];
    assert!(refused(|rule| rule.matches = matches).starts_with("routes[0].rules[0].matches[0]: bad reg"));
    let no_conditions = wire::http_route::Retry { max_retries: 1, ..Default::default() };
    assert_eq!(refused(|rule| rule.retry = Some(no_conditions)), "routes[0].rules[0]: retry conditions is missing");
}

#[test]
fn an_endpoint_has_its_sets_labels_under_its_own() {
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let name = |name: &str| destination::tls_identity::DnsLikeIdentity { name: name.to_owned() };
    let addr = destination::WeightedAddr {
        addr: Some(SocketAddr::from(([10, 0, 0, 1], 8080)).into()),
        metric_labels: map(&[("pod", "web-1"), ("zone", "near")]),
        tls_identity: Some(destination::TlsIdentity {
            strategy: Some(destination::tls_identity::Strategy::DnsLikeIdentity(name("web.ns"))),
            server_name: None,
        }),
        protocol_hint: Some(destination::ProtocolHint {
            protocol: Some(destination::protocol_hint::Protocol::H2(Default::default())),
            opaque_transport: Some(destination::protocol_hint::OpaqueTransport { inbound_port: 65535 }),
        }),
        http2: Some(destination::Http2ClientParams {
            flow_control: Some(destination::http2_client_params::FlowControl {
                initial_connection_window_size: 1,
                initial_stream_window_size: 2,
                adaptive_flow_control: false,
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let nowhere =
        destination::WeightedAddr { addr: Some(net::TcpAddress { ip: None, port: 80 }), ..Default::default() };
    let metric_labels = map(&[("service", "web"), ("zone", "far")]);
    let set = destination::WeightedAddrSet { addrs: vec![nowhere, addr], metric_labels };
    let all: Vec<_> = endpoints(set).collect();
    let [endpoint] = &all[..] else { panic!("not one: {all:?}") };
    assert_eq!(endpoint.labels.as_str(), r#"dst_pod="web-1",dst_service="web",dst_zone="near""#);
    let identity = endpoint.identity.as_ref().expect("an identity");
    assert_eq!((&identity.id, identity.server_name.to_str()), (&PeerId::Dns("web.ns".into()), "web.ns".into()));
    assert_eq!((endpoint.hint, endpoint.opaque_transport), (ProtocolHint::Http2, None), "65535 is no proxy port");
    let windows = FlowControl::Fixed { connection_window: 1, stream_window: 2 };
    assert_eq!(endpoint.http2.flow_control, Some(windows));
}

/// Flips bytes of valid messages at places that a fixed sequence of numbers chooses.
#[test]
fn damaged_messages_are_refused_or_understood_and_never_a_panic() {
    let mut policy = balanced("web", "web:80");
    policy.metadata = default_meta("a longer name");
    let policy = policy.encode_to_vec();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..20_000 {
        let mut bytes = policy.clone();
        for _ in 0..3 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = (state % bytes.len() as u64) as usize;
            bytes[at] = (state >> 32) as u8;
        }
        // The same bytes are as good for other messages: field numbers and types overlap.
        let _ = wire::OutboundPolicy::decode(&bytes[..]).map(outbound::policy);
        let _ = wire_inbound::Server::decode(&bytes[..]).map(inbound::server);
        let _ = destination::DestinationProfile::decode(&bytes[..]).map(|p| profile::profile(p, &Default::default()));
        let _ = destination::WeightedAddrSet::decode(&bytes[..]).map(|set| endpoints(set).count());
    }
}
