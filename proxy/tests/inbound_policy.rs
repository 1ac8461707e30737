//! Who may come in, port by port: protocols, authentications, the default policies, and policies that cannot be obeyed.

use crate::{
    isolated,
    mesh::{BOT, HTTP1, HTTP2, TCP, WEB, applications},
    support::{
        authority::Authority,
        control_plane::ControlPlane,
        inbound::{
            any_mesh_tls, ask, ask_as, clients, connect_as, detect, detect_with, everybody, named, network, only,
            server, talk,
        },
        network::{Network, Pod},
        proxy::Proxy,
    },
};
use linkerd2_proxy_api::{
    http_route as matches,
    inbound::{
        Authz, HttpRoute, Network as Ips, Server, http_route,
        proxy_protocol::{Grpc, Http1, Http2, Kind, Opaque, Tls},
    },
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

const ASK: &str = "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
pub const ADMIN: u16 = 4191;
const OTHER: &str = "other.test.serviceaccount.identity.linkerd.cluster.local";
const LIMIT: Duration = Duration::from_secs(5);
const HTTP2_PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A pod with applications, whose proxy knows its ports' policies from the start.
pub struct Guarded {
    pub network: Network,
    pub control: ControlPlane,
    pub authority: Arc<Authority>,
    pub pod: Pod,
    pub proxy: Proxy,
}

pub async fn guarded(policies: Vec<(u16, Server)>, env: &[(&str, &str)]) -> Guarded {
    let mut network = Network::new();
    let control = ControlPlane::start().await;
    let ports: Vec<_> = policies.iter().map(|(port, _)| *port).collect();
    control.set_inbound(ADMIN, Ok(server(detect(), vec![everybody()])));
    for (port, server) in policies {
        control.set_inbound(port, Ok(server));
    }
    let pod = network.add_pod().await;
    pod.start(applications).await;
    // Whoever has not heard the policy yet lets nobody in.
    let deny = &[("INBOUND_DEFAULT_POLICY", "deny")][..];
    let proxy = Proxy::start(&pod, &control, WEB, &[deny, env].concat()).await;
    let mut guarded = Guarded { network, authority: control.authority.clone(), control, pod, proxy };
    for port in ports {
        guarded.knows(port).await;
    }
    guarded
}

impl Guarded {
    pub fn addr(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.pod.v4.into(), port)
    }

    /// Waits until connections to a port are no longer under the default policy.
    async fn knows(&mut self, port: u16) {
        let to = self.addr(port);
        let by_default = ["srv_kind=\"default\"", &format!("target_port=\"{port}\"")].map(str::to_owned);
        let is_known = async |proxy: &Proxy| {
            let labels = by_default.each_ref().map(String::as_str);
            let before = proxy.metric("tcp_open_total", &labels).await;
            touch(to).await;
            before == proxy.metric("tcp_open_total", &labels).await
        };
        self.proxy.wait_for("the policy", is_known).await;
    }
}

/// Makes a connection and ends it at once.
async fn touch(to: SocketAddr) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let _ = stream.write_all(b"x").await;
    let _ = stream.shutdown().await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

/// Whether the application that speaks first is what answers.
async fn is_greeted(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: &str) -> bool {
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.flush().await;
    let mut greeting = [0; 6];
    let read = tokio::time::timeout(LIMIT, stream.read_exact(&mut greeting)).await;
    read.expect("a word or the end").is_ok() && greeting == *b"hello "
}

fn status(answer: &str) -> &str {
    answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or("none")
}

/// What each protocol makes of clients that speak it and of clients that do not. The application behind the port says
/// `hello ` first to whoever reaches it.
#[test]
fn a_port_takes_what_its_protocol_allows() {
    isolated!(|| async {
        let kinds = [
            ("opaque", Kind::Opaque(Opaque {})),
            ("tls", Kind::Tls(Tls {})),
            ("http1", Kind::Http1(Http1::default())),
            ("http2", Kind::Http2(Http2::default())),
            ("grpc", Kind::Grpc(Grpc::default())),
            ("detect", detect()),
        ];
        let mut guarded = guarded(vec![(TCP, server(kinds[0].1.clone(), vec![everybody()]))], &[]).await;
        let (to, authority) = (guarded.addr(TCP), guarded.authority.clone());
        for (name, kind) in kinds {
            let mut policy = server(kind, vec![everybody()]);
            policy.labels.insert("name".into(), name.into());
            guarded.control.set_inbound(TCP, Ok(policy));
            let label = format!("srv_name=\"{name}\"");
            let is_in_force = async |proxy: &Proxy| {
                touch(to).await;
                proxy.metric("tcp_open_total", &[&label, "peer=\"src\""]).await.is_some()
            };
            guarded.proxy.wait_for("the policy", is_in_force).await;
            let mut reached = Vec::new();
            for text in [ASK, "BYTES, not HTTP\r\n", HTTP2_PREFACE] {
                reached.push(is_greeted(TcpStream::connect(to).await.unwrap(), text).await);
            }
            for text in [ASK, "BYTES, not HTTP\r\n", HTTP2_PREFACE] {
                let stream = connect_as(&authority, Some(BOT), &[], to).await;
                reached.push(match stream {
                    Ok(stream) => is_greeted(stream, text).await,
                    Err(_) => false,
                });
            }
            // HTTP/1, bytes and HTTP/2 without a mesh; then the same over mesh TLS.
            let expected = match name {
                // An opaque port's mesh TLS goes to the application, which speaks no TLS.
                "opaque" => [true, true, true, false, false, false],
                "tls" => [true; 6],
                // All clients of an HTTP port must speak it.
                "http1" | "http2" | "grpc" => [false; 6],
                _ => [false, true, false, false, true, false],
            };
            assert_eq!(reached, expected, "{name}");
        }
        let skipped = ["srv_name=\"opaque\"", "no_tls_reason=\"port_skipped\""];
        assert!(guarded.proxy.metric("tcp_open_total", &skipped).await.is_some());
    });
}

fn route(path: &str, authorizations: Vec<Authz>) -> HttpRoute {
    let exact = matches::path_match::Kind::Exact(path.into());
    let path_match = matches::PathMatch { kind: Some(exact) };
    let matches = vec![matches::HttpRouteMatch { path: Some(path_match), ..Default::default() }];
    let rules = vec![http_route::Rule { matches, ..Default::default() }];
    HttpRoute { metadata: named(path), authorizations, rules, ..Default::default() }
}

fn within(net: &str, except: &[&str]) -> Authz {
    let except = except.iter().map(|net| network(net)).collect();
    Authz { networks: vec![Ips { net: Some(network(net)), except }], ..everybody() }
}

#[test]
fn every_kind_of_authorization_allows_just_its_clients() {
    isolated!(|| async {
        let uri = "spiffe://root/web.test.serviceaccount.identity.linkerd.cluster.local";
        let suffix: &[&str] = &["test", "serviceaccount", "identity", "linkerd", "cluster", "local"];
        let routes: [(&str, Vec<Authz>, [bool; 4]); 11] = [
            // Plain, mesh TLS without a certificate, BOT, OTHER.
            ("/nobody", vec![], [false; 4]),
            ("/everybody", vec![everybody()], [true; 4]),
            ("/any-mesh", vec![any_mesh_tls()], [false, true, true, true]),
            ("/one", vec![only(BOT)], [false, false, true, false]),
            ("/suffix", vec![clients(&[], &[suffix])], [false, false, true, true]),
            ("/other-suffix", vec![clients(&[], &[&["ns"]])], [false; 4]),
            ("/any-identity", vec![clients(&[], &[&[]])], [false, false, true, true]),
            ("/no-identity", vec![clients(&[], &[])], [false; 4]),
            ("/uri", vec![clients(&[uri], &[])], [false; 4]),
            // The node asks from the address that leads to the pod.
            ("/excepted", vec![within("10.0.0.0/8", &["10.99.0.0/16"]), within("192.168.0.0/16", &[])], [false; 4]),
            ("/network", vec![within("192.168.0.0/16", &[]), within("10.99.0.0/16", &[])], [true; 4]),
        ];
        let of = |(path, authz, _): &(&str, Vec<Authz>, _)| route(path, authz.clone());
        let detect = Kind::Detect(detect_with(routes.iter().map(of).collect()));
        // Many that fit nobody come first: the same holds where they are indexed.
        let strangers = (0..20).map(|n| only(&format!("stranger-{n}"))).collect();
        let guarded = guarded(vec![(HTTP1, server(detect, strangers))], &[]).await;
        let (to, authority) = (guarded.addr(HTTP1), guarded.authority.clone());
        for (path, _, expected) in routes {
            let request = format!("GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
            let mut allowed = [false; 4];
            for (at, client) in [None, Some(None), Some(Some(BOT)), Some(Some(OTHER))].into_iter().enumerate() {
                let answer = match client {
                    None => ask(to, &request).await,
                    Some(name) => ask_as(&authority, name, to, &request).await,
                };
                allowed[at] = status(&answer) == "200";
                assert!(allowed[at] || status(&answer) == "403", "{path}: {answer}");
                let tells_why = answer.contains("l5d-proxy-error");
                assert_eq!(tells_why, !allowed[at] && matches!(client, Some(Some(_))), "{path}: {answer}");
                let has_id = answer.contains("saw-l5d-client-id");
                assert_eq!(has_id, allowed[at] && matches!(client, Some(Some(_))), "{path}: {answer}");
            }
            assert_eq!(allowed, expected, "{path}");
        }
        let client = format!("client_id=\"{BOT}\"");
        let of_route = "route_name=\"/one\"";
        let labels =
            ["srv_name=\"web\"", "srv_port=\"8080\"", of_route, "tls=\"true\"", "target_port=\"8080\"", &client];
        let allow = [&labels[..], &["authz_name=\"authz\""]].concat();
        assert_eq!(guarded.proxy.metric("inbound_http_authz_allow_total", &allow).await, Some(1.0));
        let deny = ["route_name=\"/one\"", "tls=\"no_identity\"", "no_tls_reason=\"no_tls_from_remote\""];
        assert_eq!(guarded.proxy.metric("inbound_http_authz_deny_total", &deny).await, Some(1.0));
        let is_told = guarded.proxy.output().contains("request denied: client_ip=");
        assert!(is_told, "{}", guarded.proxy.output());
    });
}

#[test]
fn the_default_policy_holds_while_the_control_plane_says_nothing() {
    isolated!(|| async {
        // Plain, mesh TLS without a certificate, and BOT: first from the cluster's networks and then from outside.
        let table = [
            ("deny", [false; 6]),
            ("all-authenticated", [false, false, true, false, false, true]),
            ("all-unauthenticated", [true; 6]),
            ("cluster-authenticated", [false, false, true, false, false, false]),
            ("cluster-unauthenticated", [true, true, true, false, false, false]),
            ("audit", [true; 6]),
        ];
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        control.set_inbound(ADMIN, Ok(server(detect(), vec![everybody()])));
        let inside = network.add_pod().await;
        for (name, expected) in table {
            let pod = network.add_pod().await;
            pod.start(applications).await;
            let env = [("INBOUND_DEFAULT_POLICY", name), ("POLICY_CLUSTER_NETWORKS", "10.42.0.0/16")];
            let proxy = Proxy::start(&pod, &control, WEB, &env).await;
            let (to, authority) = (SocketAddr::new(pod.v4.into(), HTTP1), control.authority.clone());
            let ask_all = move || async move {
                let mut allowed = Vec::new();
                allowed.push(status(&ask(to, ASK).await) == "200");
                // A port that denies everybody does not even take their TLS.
                for name in [None, Some(BOT)] {
                    let stream = connect_as(&authority, name, &[], to).await;
                    allowed.push(match stream {
                        Ok(stream) => status(&talk(stream, ASK).await) == "200",
                        Err(_) => false,
                    });
                }
                allowed
            };
            let mut allowed = inside.run(ask_all.clone()).await;
            allowed.extend(ask_all().await);
            assert_eq!(allowed, expected, "{name}");
            let labels = [&format!("srv_name=\"{name}\""), "srv_kind=\"default\"", "srv_group=\"\""];
            assert!(proxy.metric("tcp_open_total", &labels).await.is_some(), "{name}");
            if name == "audit" {
                let labels = ["authz_name=\"audit\"", "authz_kind=\"default\"", "target_port=\"8080\""];
                assert_eq!(proxy.metric("inbound_http_authz_allow_total", &labels).await, Some(6.0));
                assert!(proxy.output().contains("request allowed: client_ip=10."), "{}", proxy.output());
            }
        }
    });
}

#[test]
fn a_policy_that_cannot_be_obeyed_lets_nobody_in_and_says_why() {
    isolated!(|| async {
        let nowhere = Authz { networks: vec![], ..everybody() };
        let broken = server(detect(), vec![everybody(), nowhere]);
        let mut guarded = guarded(
            vec![(HTTP1, server(detect(), vec![everybody()])), (TCP, server(detect(), vec![everybody()]))],
            &[],
        )
        .await;
        let (to, authority) = (guarded.addr(HTTP1), guarded.authority.clone());
        assert_eq!(status(&ask(to, ASK).await), "200");
        guarded.control.set_inbound(HTTP1, Ok(broken.clone()));
        guarded.control.set_inbound(TCP, Ok(broken));
        let is_refused = async |_: &Proxy| status(&ask(to, ASK).await) == "500";
        guarded.proxy.wait_for("the refusal", is_refused).await;
        let answer = ask_as(&authority, Some(BOT), to, ASK).await;
        let why = "l5d-proxy-error: invalid policy: authorizations[1]: networks of an authorization is missing\r\n";
        assert!(status(&answer) == "500" && answer.contains(why), "{answer}");
        let tcp = guarded.addr(TCP);
        let is_closed =
            async |_: &Proxy| !is_greeted(TcpStream::connect(tcp).await.unwrap(), "BYTES, not HTTP\r\n").await;
        guarded.proxy.wait_for("the end of bytes", is_closed).await;
        assert!(guarded.proxy.metric("inbound_tcp_authz_deny_total", &["target_port=\"4444\""]).await.is_some());
        // And it comes back.
        guarded.control.set_inbound(HTTP1, Ok(server(detect(), vec![everybody()])));
        let is_back = async |_: &Proxy| status(&ask(to, ASK).await) == "200";
        guarded.proxy.wait_for("the return", is_back).await;
    });
}

#[test]
fn the_admin_port_is_under_its_own_policy() {
    isolated!(|| async {
        let mut guarded = guarded(vec![], &[]).await;
        assert_eq!(guarded.proxy.admin("GET", "/metrics").await.map(|(status, _)| status), Some(200));
        guarded.control.set_inbound(ADMIN, Ok(server(detect(), vec![only(BOT)])));
        let is_denied =
            async |proxy: &Proxy| proxy.admin("GET", "/metrics").await.is_some_and(|(status, _)| status == 403);
        guarded.proxy.wait_for("the policy", is_denied).await;
        let request = "GET /live HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n";
        let (to, authority) = (guarded.addr(ADMIN), guarded.authority.clone());
        assert_eq!(status(&ask_as(&authority, Some(BOT), to, request).await), "200");
        assert_eq!(status(&ask_as(&authority, Some(OTHER), to, request).await), "403");
        let labels = ["target_port=\"4191\"", "srv_name=\"web\"", "route_name=\"route\"", "tls=\"true\""];
        let denied = [&labels[..], &["client_id=\"other."]].concat();
        let local = async |family: &str, labels: &[&str]| {
            let (_, text) = guarded.proxy.admin_locally("GET", "/metrics").await.unwrap();
            text.lines().any(|line| line.starts_with(family) && labels.iter().all(|label| line.contains(label)))
        };
        assert!(local("inbound_http_authz_deny_total{", &denied).await);
        assert!(local("inbound_http_authz_allow_total{", &[&labels[..], &["authz_name=\"authz\""]].concat()).await);
        // The pod itself may always ask.
        assert_eq!(guarded.proxy.admin_locally("GET", "/live").await.map(|(status, _)| status), Some(200));
    });
}

/// The default policy is for ports of which nothing is said; here something is said that nobody understands.
#[test]
fn a_policy_that_cannot_be_read_is_no_default_policy() {
    isolated!(|| async {
        let mut guarded = guarded(vec![], &[("INBOUND_DEFAULT_POLICY", "all-unauthenticated")]).await;
        let is_known = async |proxy: &Proxy| {
            let labels = ["srv_name=\"web\"", "target_port=\"4191\""];
            proxy.metric("inbound_http_authz_allow_total", &labels).await.is_some()
        };
        guarded.proxy.wait_for("the admin server's policy", is_known).await;
        let (to, authority) = (guarded.addr(HTTP1), guarded.authority.clone());
        for (bytes, why) in [(&[0xff; 64][..], "decode"), (&[][..], "label name is missing")] {
            guarded.control.set_garbage("WatchPort", bytes);
            let port = if bytes.is_empty() { HTTP2 } else { HTTP1 };
            let to = guarded.addr(port);
            let is_refused = async |_: &Proxy| ask_as(&authority, Some(BOT), to, ASK).await.contains(why);
            guarded.proxy.wait_for("the refusal", is_refused).await;
            let answer = ask_as(&authority, Some(BOT), to, ASK).await;
            assert_eq!(status(&answer), "500", "{answer}");
        }
        assert!(guarded.proxy.admin("GET", "/ready").await.is_some_and(|(status, _)| status == 200));
        // And it comes back.
        guarded.control.set_inbound(HTTP1, Ok(server(detect(), vec![everybody()])));
        guarded.control.stop_garbage();
        guarded.control.stop().await;
        guarded.control.start_again().await;
        let is_back = async |_: &Proxy| status(&ask(to, ASK).await) == "200";
        guarded.proxy.wait_for("the policy", is_back).await;
    });
}

#[test]
fn a_flood_of_refusals_does_not_flood_the_log() {
    isolated!(|| async {
        let guarded = guarded(vec![(HTTP1, server(detect(), vec![only(BOT)]))], &[]).await;
        let to = guarded.addr(HTTP1);
        let started = std::time::Instant::now();
        for _ in 0..200 {
            assert_eq!(status(&ask(to, ASK).await), "403");
        }
        let lines = guarded.proxy.output().lines().filter(|line| line.contains("request denied")).count();
        assert!(lines as u64 <= 10 * (started.elapsed().as_secs() + 2), "{lines} lines");
        let denied = guarded.proxy.metric("inbound_http_authz_deny_total", &["route_name=\"route\""]).await;
        assert!(denied >= Some(200.0), "{denied:?}");
    });
}

#[test]
fn nobody_can_say_that_he_is_somebody_else() {
    isolated!(|| async {
        let policy = || server(detect(), vec![everybody()]);
        let guarded = guarded(vec![(HTTP1, policy()), (HTTP2, policy())], &[]).await;
        let (to, authority) = (guarded.addr(HTTP1), guarded.authority.clone());
        let forged = "GET / HTTP/1.1\r\nHost: web\r\nL5D-Client-ID: root\r\nl5d-client-id: admin\r\n\
                      Connection: close, l5d-client-id\r\n\r\n";
        for name in [None, Some(BOT)] {
            let answer = ask_as(&authority, name, to, forged).await;
            assert!(!answer.contains("root") && !answer.contains("admin"), "{answer}");
            assert_eq!(answer.contains(&format!("saw-l5d-client-id: {BOT}\r\n")), name.is_some(), "{answer}");
        }
        let answer = ask(to, forged).await;
        assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("saw-l5d-client-id"), "{answer}");
        // HTTP/2 without a mesh, and HTTP/1 that pretends to be carried by a proxy.
        for (port, carried) in [(HTTP2, false), (HTTP1, true)] {
            let stream = TcpStream::connect(guarded.addr(port)).await.unwrap();
            let (sender, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            let mut request = http::Request::get("http://web/").header("l5d-client-id", "root");
            if carried {
                request = request.header("l5d-orig-proto", "HTTP/1.1");
            }
            let mut sender = sender.ready().await.unwrap();
            let (response, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), 200);
            assert!(!response.headers().contains_key("saw-l5d-client-id"), "{:?}", response.headers());
        }
    });
}
