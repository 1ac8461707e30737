//! What is not whole is refused, and nothing that a peer sends brings the proxy down.

use super::{endpoints, inbound, outbound, profile};
use crate::control::model::endpoint::{FlowControl, PeerId, ProtocolHint};
use crate::control::model::outbound::Protocol;
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
    for (start, end) in [(0, 500), (500, 499), (500, 600), (70_000, 70_001)] {
        let range = wire::http_route::retry::conditions::StatusRange { start, end };
        let why = refused(|rule| rule.retry = Some(retry(range)));
        assert_eq!(why, format!("routes[0].rules[0]: bad retry statuses: {start}-{end}"));
    }
}

fn retry(range: wire::http_route::retry::conditions::StatusRange) -> wire::http_route::Retry {
    let conditions = Some(wire::http_route::retry::Conditions { status_ranges: vec![range] });
    wire::http_route::Retry { max_retries: 1, conditions, ..Default::default() }
}

#[test]
fn what_stock_control_planes_may_send_is_understood() {
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let mut message = balanced("web", "web:80");
    if let Some(wire::proxy_protocol::Kind::Http1(http)) = message.protocol.as_mut().and_then(|p| p.kind.as_mut()) {
        let rule = &mut http.routes[0].rules[0];
        #[allow(deprecated, reason = "older control planes send nothing else")]
        let _ = rule.request_timeout.insert(prost_types::Duration { seconds: 7, nanos: 0 });
        let range = wire::http_route::retry::conditions::StatusRange { start: 500, end: 599 };
        let backoff =
            wire::ExponentialBackoff { min_backoff: seconds(0), max_backoff: seconds(1), ..Default::default() };
        rule.retry = Some(wire::http_route::Retry { backoff: Some(backoff), ..retry(range) });
        // A success rate that nobody looks at may have any window.
        let unified = wire::failure_accrual::Unified {
            decay: seconds(0),
            max_consecutive_failures: 7,
            backoff: Some(backoff),
            ..Default::default()
        };
        let kind = Some(wire::failure_accrual::Kind::Unified(unified));
        http.failure_accrual = Some(wire::FailureAccrual { kind, ejection: None });
    }
    let policy = outbound::policy(message).expect("a policy");
    let Protocol::Http1(http) = &policy.protocol else { panic!("{policy:?}") };
    assert_eq!(http.routes[0].rules[0].policy.timeouts.request, Some(std::time::Duration::from_secs(7)));
    assert!(http.failure_accrual.is_some());
}

#[test]
fn a_class_that_cannot_be_read_is_left_out_of_its_route_alone() {
    use destination::{ResponseClass, ResponseMatch, request_match, response_match};
    let class = |matched| ResponseClass { condition: Some(ResponseMatch { r#match: Some(matched) }), is_failure: true };
    let status = response_match::Match::Status(destination::HttpStatusRange { min: 404, max: 404 });
    let all = response_match::Match::All(response_match::Seq::default());
    let path = request_match::Match::Path(destination::PathMatch { regex: "/.*".into() });
    let route = destination::Route {
        condition: Some(destination::RequestMatch { r#match: Some(path) }),
        response_classes: vec![class(all), class(status)],
        timeout: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
        ..Default::default()
    };
    let wire = destination::DestinationProfile { routes: vec![route], ..Default::default() };
    let profile = profile::profile(wire, &Default::default());
    let route = &profile.routes[0];
    assert_eq!(route.route.classify(http::StatusCode::NOT_FOUND), Some(true));
    assert_eq!(
        (route.route.classify(http::StatusCode::OK), route.timeout),
        (None, None),
        "a list of none is no condition"
    );
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

fn server(change: impl FnOnce(&mut wire_inbound::Server)) -> wire_inbound::Server {
    use wire_inbound::proxy_protocol::{Kind, Opaque};
    let kind = Some(Kind::Opaque(Opaque {}));
    let mut server = wire_inbound::Server {
        protocol: Some(wire_inbound::ProxyProtocol { kind }),
        labels: [("name".to_owned(), "web".to_owned())].into(),
        authorizations: vec![wire_inbound::Authz {
            networks: vec![network([10, 0, 0, 0], 8)],
            authentication: Some(wire_inbound::Authn {
                permit: Some(wire_inbound::authn::Permit::Unauthenticated(Default::default())),
            }),
            labels: [("name".to_owned(), "all".to_owned())].into(),
            metadata: None,
        }],
        ..Default::default()
    };
    change(&mut server);
    server
}

fn network(ip: impl Into<std::net::IpAddr>, prefix_len: u32) -> wire_inbound::Network {
    let net = Some(net::IpNetwork { ip: Some(ip.into().into()), prefix_len });
    wire_inbound::Network { net, except: Vec::new() }
}

#[test]
fn a_server_is_named_as_old_control_planes_do_and_new_ones() {
    let named = |labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let meta = inbound::server(server(|s| s.labels = labels)).map(|s| s.meta.clone());
        meta.map(|m| format!("{}/{}/{}", m.group, m.kind, m.name)).map_err(|e| e.to_string())
    };
    assert_eq!(named(&[("name", "web")]).as_deref(), Ok("policy.linkerd.io/server/web"));
    assert_eq!(named(&[("name", "default:deny")]).as_deref(), Ok("/default/deny"));
    assert_eq!(named(&[("name", "pod:web")]).as_deref(), Ok("policy.linkerd.io/pod/web"));
    let all = [("group", ""), ("kind", "default"), ("name", "all-unauthenticated")];
    assert_eq!(named(&all).as_deref(), Ok("/default/all-unauthenticated"));
    assert_eq!(named(&[("group", "g"), ("kind", "k"), ("name", "a:b")]).as_deref(), Ok("g/k/a:b"));
    assert_eq!(named(&[("kind", "server")]), Err("labels: label name is missing".into()));
    let authz = inbound::server(server(|_| ())).expect("a policy").authorizations;
    let names: Vec<_> = authz.iter().map(|a| format!("{}/{}", a.meta.kind, a.meta.name)).collect();
    assert_eq!(names, ["serverauthorization/all", "default/localhost"]);
}

#[test]
fn networks_hold_for_ipv4_addresses_however_they_are_written() {
    use crate::control::model::inbound::ClientTls;
    let mapped = |ip: [u8; 4]| std::net::Ipv4Addr::from(ip).to_ipv6_mapped();
    let policy = inbound::server(server(|s| {
        let mut all = network(mapped([10, 0, 0, 0]), 96 + 8);
        all.except = vec![network(mapped([10, 1, 0, 0]), 96 + 16).net.expect("a network")];
        s.authorizations[0].networks = vec![all];
    }));
    let policy = policy.expect("a policy");
    let is_allowed = |ip: &str| policy.check(ip.parse().expect("an address"), ClientTls::None).is_some();
    let found = ["10.2.3.4", "::ffff:10.2.3.4", "10.1.2.3", "::ffff:10.1.2.3", "11.0.0.1", "::1", "127.0.0.1"];
    assert_eq!(found.map(is_allowed), [true, true, false, false, false, true, true]);
}

/// The fields of an authorization without which nobody can say whom it allows.
#[test]
fn an_authorization_that_lacks_a_part_is_invalid() {
    use wire_inbound::authn::{Permit, PermitMeshTls};
    let refused = |change: fn(&mut wire_inbound::Authz)| {
        let error = inbound::server(server(|s| change(&mut s.authorizations[0]))).expect_err("a refusal").to_string();
        error.trim_start_matches("authorizations[0]").trim_start_matches(['.', ':', ' ']).to_owned()
    };
    assert_eq!(refused(|a| a.networks.clear()), "networks of an authorization is missing");
    assert_eq!(refused(|a| a.networks[0].net = None), "networks[0]: network is missing");
    assert_eq!(refused(|a| a.authentication = None), "authentication is missing");
    assert_eq!(refused(|a| a.authentication = Some(Default::default())), "authentication is missing");
    let nobody = |a: &mut wire_inbound::Authz| {
        let permit = Permit::MeshTls(PermitMeshTls { clients: None });
        a.authentication = Some(wire_inbound::Authn { permit: Some(permit) });
    };
    assert_eq!(refused(nobody), "mesh TLS clients is missing");
    assert_eq!(refused(|a| a.metadata = Some(Default::default())), "metadata is missing");
    assert_eq!(refused(|a| a.labels.clear()), "label name is missing");
    assert!(refused(|a| a.networks[0] = network([10, 0, 0, 0], 33)).starts_with("networks[0]: bad network"));
    assert!(inbound::server(server(|s| s.protocol = None)).is_err());
    assert!(inbound::server(server(|s| s.protocol = Some(Default::default()))).is_err());
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
