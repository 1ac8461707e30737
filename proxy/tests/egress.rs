//! Connections that are not HTTP, and traffic that leaves: TLS by server name and untouched, bytes by weight, what is
//! forbidden closed, and the rest to where it was going.

use crate::{
    breakers::plain,
    isolated,
    mesh::BOT,
    support::{
        authority::Authority,
        control_plane::ControlPlane,
        network::{Network, Pod},
        policy::{self, named},
        proxy::Proxy,
        replica::{Replica, ask},
    },
};
use linkerd2_proxy_api::{
    http_route as wire_http, opaque_route as wire_opaque,
    outbound::{
        self, Backend, OpaqueRoute, OutboundPolicy, ProxyProtocol, TlsRoute, http_route, opaque_route,
        proxy_protocol::{Kind, Opaque, Tls},
        tls_route,
    },
    tls_route::{SniMatch, sni_match},
};
use rustls_pki_types::ServerName;
use std::{collections::HashMap, net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const OUT: &str = "10.96.7.7:443";
const A: &str = "a.test.svc.cluster.local:443";
const B: &str = "b.test.svc.cluster.local:443";
const PORT: u16 = 9443;

fn tls_rule(backends: &[(&str, u32)], filter: Option<tls_route::filter::Kind>) -> tls_route::Rule {
    let weighted = |(path, weight): &(&str, u32)| tls_route::WeightedRouteBackend {
        backend: Some(tls_route::RouteBackend { backend: policy::backend(path), ..Default::default() }),
        weight: *weight,
    };
    let random = tls_route::distribution::RandomAvailable { backends: backends.iter().map(weighted).collect() };
    let kind = Some(tls_route::distribution::Kind::RandomAvailable(random));
    let filters = filter.map(|kind| tls_route::Filter { kind: Some(kind) });
    tls_route::Rule { backends: Some(tls_route::Distribution { kind }), filters: filters.into_iter().collect() }
}

fn opaque_rule(backends: &[(&str, u32)], filter: Option<opaque_route::filter::Kind>) -> opaque_route::Rule {
    let weighted = |(path, weight): &(&str, u32)| opaque_route::WeightedRouteBackend {
        backend: Some(opaque_route::RouteBackend { backend: policy::backend(path), ..Default::default() }),
        weight: *weight,
    };
    let random = opaque_route::distribution::RandomAvailable { backends: backends.iter().map(weighted).collect() };
    let kind = Some(opaque_route::distribution::Kind::RandomAvailable(random));
    let filters = filter.map(|kind| opaque_route::Filter { kind: Some(kind) });
    opaque_route::Rule { backends: Some(opaque_route::Distribution { kind }), filters: filters.into_iter().collect() }
}

fn forbidden() -> Option<opaque_route::filter::Kind> {
    Some(opaque_route::filter::Kind::Forbidden(wire_opaque::Forbidden {}))
}

fn of(kind: Kind) -> OutboundPolicy {
    OutboundPolicy { protocol: Some(ProxyProtocol { kind: Some(kind) }), metadata: named("out") }
}

fn opaque(rule: opaque_route::Rule) -> OutboundPolicy {
    of(Kind::Opaque(Opaque { routes: vec![OpaqueRoute { metadata: named("tcp"), rules: vec![rule] }] }))
}

fn sni(pattern: &str) -> SniMatch {
    let labels = |name: &str| name.split('.').rev().map(str::to_owned).collect();
    let kind = match pattern.strip_prefix("*.") {
        Some(name) => sni_match::Match::Suffix(sni_match::Suffix { reverse_labels: labels(name) }),
        None => sni_match::Match::Exact(pattern.to_owned()),
    };
    SniMatch { r#match: Some(kind) }
}

/// A pod that says who it is: over TLS under any of the names, and over plain TCP on the next port.
pub async fn speaker(network: &mut Network, authority: &Arc<Authority>, word: &'static str) -> SocketAddr {
    let pod = network.add_pod().await;
    let addr = SocketAddr::new(pod.v4.into(), PORT);
    let tls = TlsAcceptor::from(authority.server_config(authority.issue("out.example"), &[]));
    pod.start(move |up: tokio::sync::oneshot::Sender<()>| async move {
        let (secure, open) = (TcpListener::bind(addr).await.unwrap(), TcpListener::bind((addr.ip(), PORT + 1)).await);
        let open = open.unwrap();
        let _ = up.send(());
        loop {
            tokio::select! {
                Ok((stream, _)) = secure.accept() => {
                    let tls = tls.clone();
                    tokio::spawn(async move {
                        let Ok(mut stream) = tls.accept(stream).await else { return };
                        let name = stream.get_ref().1.server_name().unwrap_or("nobody").to_owned();
                        let _ = stream.write_all(format!("{word} as {name}").as_bytes()).await;
                        let _ = stream.shutdown().await;
                    });
                }
                Ok((mut stream, _)) = open.accept() => {
                    let _ = stream.write_all(word.as_bytes()).await;
                }
            }
        }
    })
    .await;
    addr
}

/// What the TLS server of a name says; None when the connection is closed instead.
async fn greet(client: &Pod, authority: &Authority, to: SocketAddr, name: &'static str) -> Option<String> {
    let tls = TlsConnector::from(authority.client_config(None, &[]));
    client
        .run(move || async move {
            let stream = TcpStream::connect(to).await.ok()?;
            // The certificate has one name, which a wrong one shows too late for the answer.
            let mut stream = tls.connect(ServerName::try_from(name).unwrap(), stream).await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            Some(answer)
        })
        .await
}

/// What a server that speaks first says.
pub async fn listen(client: &Pod, to: SocketAddr) -> String {
    client
        .run(move || async move {
            let mut answer = String::new();
            let mut stream = TcpStream::connect(to).await.unwrap();
            let _ = stream.write_all(b"hello\n").await;
            let _ = stream.read_to_string(&mut answer).await;
            answer
        })
        .await
}

#[test]
fn tls_goes_by_server_name_and_stays_the_applications_own() {
    isolated!(|| async {
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        let (a, b) = (
            speaker(&mut network, &control.authority, "a").await,
            speaker(&mut network, &control.authority, "b").await,
        );
        control.set_endpoints(A, vec![plain(a)]);
        control.set_endpoints(B, vec![plain(b)]);
        let route = |name, snis: &[&str], rule| TlsRoute {
            metadata: named(name),
            snis: snis.iter().map(|s| sni(s)).collect(),
            rules: vec![rule],
        };
        let is_forbidden = Some(tls_route::filter::Kind::Forbidden(wire_opaque::Forbidden {}));
        let routes = vec![
            route("wild", &["*.example"], tls_rule(&[(A, 1)], None)),
            route("exact", &["out.example"], tls_rule(&[(B, 1)], None)),
            route("shut", &["*.shut.example"], tls_rule(&[(A, 1)], is_forbidden)),
        ];
        let to: SocketAddr = OUT.parse().unwrap();
        control.set_policy(to, Ok(of(Kind::Tls(Tls { routes }))));
        let client = network.add_pod().await;
        let settings = [("OUTBOUND_METRICS_HOSTNAME_LABELS", "true")];
        let proxy = Proxy::start(&client, &control, BOT, &settings).await;
        let authority = &control.authority;
        assert_eq!(greet(&client, authority, to, "out.example").await.as_deref(), Some("b as out.example"));
        assert_eq!(greet(&client, authority, to, "x.shut.example").await, None);
        assert_eq!(greet(&client, authority, to, "nowhere.test").await, None, "no route");
        assert_eq!(listen(&client, to).await, "", "not TLS");
        // Its certificate is for another name, but it was reached.
        assert_eq!(greet(&client, authority, to, "in.example").await, None);
        let count = async |family, labels: &[&str]| proxy.metric(family, labels).await;
        let exact = ["route_name=\"exact\"", "hostname=\"out.example\"", "parent_name=\"out\""];
        assert_eq!(count("outbound_tls_route_open_total", &exact).await, Some(1.0));
        assert_eq!(count("outbound_tls_route_close_total", &[&exact[..], &["error=\"\""]].concat()).await, Some(1.0));
        let shut = ["route_name=\"shut\"", "error=\"FORBIDDEN\""];
        assert_eq!(count("outbound_tls_route_close_total", &shut).await, Some(1.0));
        assert_eq!(count("outbound_tls_route_open_total", &["route_name=\"wild\""]).await, Some(1.0));
        let endpoints = ["endpoint_state=\"ready\"", &format!("concrete=\"{B}\"")].map(str::to_owned);
        let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
        assert_eq!(count("outbound_tls_balancer_endpoints", &endpoints).await, Some(1.0));
        assert_eq!(count("outbound_tcp_protocol_connections_total", &["protocol=\"tls\""]).await, Some(5.0));
    });
}

#[test]
fn bytes_go_by_weight_and_forbidden_ones_nowhere() {
    isolated!(|| async {
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        let mut addrs = Vec::new();
        for (path, word) in [(A, "a"), (B, "b")] {
            let mut addr = speaker(&mut network, &control.authority, word).await;
            addr.set_port(PORT + 1);
            control.set_endpoints(path, vec![plain(addr)]);
            addrs.push(addr);
        }
        let to: SocketAddr = OUT.parse().unwrap();
        control.set_policy(to, Ok(opaque(opaque_rule(&[(A, 3), (B, 1), ("never:1", 0)], None))));
        let closed: SocketAddr = "10.96.7.8:25".parse().unwrap();
        control.set_policy(closed, Ok(opaque(opaque_rule(&[(A, 1)], forbidden()))));
        let invalid: SocketAddr = "10.96.7.9:25".parse().unwrap();
        let kind = opaque_route::filter::Kind::Invalid(wire_opaque::Invalid { message: "what".into() });
        control.set_policy(invalid, Ok(opaque(opaque_rule(&[(A, 1)], Some(kind)))));
        let client = network.add_pod().await;
        let proxy = Proxy::start(&client, &control, BOT, &[]).await;
        let mut words: HashMap<String, usize> = HashMap::new();
        for _ in 0..120 {
            *words.entry(listen(&client, to).await).or_default() += 1;
        }
        assert_eq!(words["a"] + words["b"], 120, "{words:?}");
        assert!((12..50).contains(&words["b"]), "{words:?}");
        assert_eq!(listen(&client, closed).await, "");
        assert_eq!(listen(&client, invalid).await, "");
        let close = "outbound_tcp_route_close_total";
        assert_eq!(proxy.metric(close, &["error=\"FORBIDDEN\""]).await, Some(1.0));
        assert_eq!(proxy.metric(close, &["error=\"INVALID\""]).await, Some(1.0));
        assert_eq!(proxy.metric("outbound_tcp_errors_total", &["error=\"forbidden\""]).await, Some(1.0));
        assert_eq!(proxy.metric("outbound_tcp_balancer_queue_requests_total", &[]).await, Some(120.0));
    });
}

/// What the control plane says of an address outside: there it goes, or HTTP gets a 403 and the rest is closed.
fn outside(addr: SocketAddr, is_allowed: bool) -> OutboundPolicy {
    let forward =
        || Backend { kind: Some(outbound::backend::Kind::Forward(plain(addr))), ..policy::backend("").unwrap() };
    let mut all = policy::balanced("");
    let Some(Kind::Detect(detect)) = all.protocol.as_mut().and_then(|p| p.kind.as_mut()) else { return all };
    let rule = |rule: &mut http_route::Rule| {
        let first = http_route::distribution::FirstAvailable {
            backends: vec![http_route::RouteBackend { backend: Some(forward()), ..Default::default() }],
        };
        rule.backends =
            Some(http_route::Distribution { kind: Some(http_route::distribution::Kind::FirstAvailable(first)) });
        if !is_allowed {
            let failure = wire_http::HttpFailureInjector {
                status: 403,
                message: "traffic not allowed".into(),
                ratio: Some(wire_http::Ratio { numerator: 1, denominator: 1 }),
            };
            rule.filters = vec![http_route::Filter { kind: Some(http_route::filter::Kind::FailureInjector(failure)) }];
        }
    };
    detect.http1.iter_mut().flat_map(|h| &mut h.routes).flat_map(|r| &mut r.rules).for_each(rule);
    detect.http2.iter_mut().flat_map(|h| &mut h.routes).flat_map(|r| &mut r.rules).for_each(rule);
    for rule in detect.opaque.iter_mut().flat_map(|o| &mut o.routes).flat_map(|r| &mut r.rules) {
        *rule = opaque_rule(&[], if is_allowed { None } else { forbidden() });
        let first = opaque_route::distribution::FirstAvailable {
            backends: vec![opaque_route::RouteBackend { backend: Some(forward()), ..Default::default() }],
        };
        let kind = Some(opaque_route::distribution::Kind::FirstAvailable(first));
        rule.backends = Some(opaque_route::Distribution { kind });
    }
    all
}

#[test]
fn what_leaves_goes_where_it_was_going_or_is_refused_in_its_own_protocol() {
    isolated!(|| async {
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        let replica = Replica::start(&mut network).await;
        let mut bytes = speaker(&mut network, &control.authority, "bytes").await;
        bytes.set_port(PORT + 1);
        control.set_policy(replica.addr, Ok(outside(replica.addr, true)));
        control.set_policy(bytes, Ok(outside(bytes, true)));
        let client = network.add_pod().await;
        let mut proxy = Proxy::start(&client, &control, BOT, &[]).await;
        let request = || vec!["GET /".to_owned()];
        assert_eq!(ask(&client, replica.addr, request()).await[0].body, replica.addr.to_string());
        assert_eq!(listen(&client, bytes).await, "bytes");
        // One fixed place is no balancer.
        let families = ["outbound_http_balancer_endpoints", "outbound_tcp_balancer_endpoints"];
        for family in families {
            assert_eq!(proxy.metric(family, &[]).await, None, "{family}");
        }
        control.set_policy(replica.addr, Ok(outside(replica.addr, false)));
        control.set_policy(bytes, Ok(outside(bytes, false)));
        let (asker, to) = (client.clone(), replica.addr);
        proxy
            .wait_for("the refusal", async |_| {
                let answer = &ask(&asker, to, vec!["GET /".to_owned()]).await[0];
                answer.status == 403 && answer.head.contains("l5d-proxy-error: traffic not allowed")
            })
            .await;
        proxy.wait_for("the end", async |_| listen(&asker, bytes).await.is_empty()).await;
    });
}

#[test]
fn a_backend_that_was_away_gets_its_share_again() {
    isolated!(|| async {
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        let to: SocketAddr = "10.96.0.1:80".parse().unwrap();
        let weighted = |path| http_route::WeightedRouteBackend {
            backend: Some(http_route::RouteBackend { backend: policy::backend(path), ..Default::default() }),
            weight: 1,
        };
        let random = http_route::distribution::RandomAvailable { backends: vec![weighted(A), weighted(B)] };
        let kind = Some(http_route::distribution::Kind::RandomAvailable(random));
        let rule = http_route::Rule { backends: Some(http_route::Distribution { kind }), ..Default::default() };
        control.set_policy(to, Ok(policy::detected(A, rule)));
        let (steady, returning) = (Replica::start(&mut network).await, network.add_pod().await);
        let away = SocketAddr::new(returning.v4.into(), 8080);
        control.set_endpoints(A, vec![plain(steady.addr)]);
        control.set_endpoints(B, vec![plain(away)]);
        let client = network.add_pod().await;
        let settings = [("OUTBOUND_HTTP_FAILFAST_TIMEOUT", "300ms"), ("OUTBOUND_CONNECT_EXP_BACKOFF_MAX", "500ms")];
        let mut proxy = Proxy::start(&client, &control, BOT, &settings).await;
        let asker = client.clone();
        let ask_one = async || ask(&asker, to, vec!["GET /".to_owned()]).await.remove(0);
        proxy.wait_for("the failure", async |_| ask_one().await.status == 504).await;
        for _ in 0..20 {
            assert_eq!(ask_one().await.body, steady.addr.to_string(), "nothing goes where nobody is");
        }
        returning
            .start(move |up: tokio::sync::oneshot::Sender<()>| async move {
                let listener = TcpListener::bind(away).await.unwrap();
                let _ = up.send(());
                while let Ok((mut stream, _)) = listener.accept().await {
                    tokio::spawn(async move {
                        let mut buffer = [0; 1024];
                        while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback").await;
                        }
                    });
                }
            })
            .await;
        proxy.wait_for("its return", async |_| ask_one().await.body == "back").await;
    });
}
