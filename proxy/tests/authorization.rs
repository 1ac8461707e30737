//! Who may come in: by identity, per request and per connection, as often as is allowed, and as the policy changes.

use crate::{
    isolated,
    mesh::{BOT, HTTP1, HTTP2, TCP, WEB, applications, exchange, mesh},
    support::{
        control_plane::ControlPlane,
        inbound::{ask, detect, everybody, named, only, server},
        network::Network,
        proxy::Proxy,
    },
};
use linkerd2_proxy_api::inbound::{
    HttpLocalRateLimit,
    http_local_rate_limit::Limit,
    proxy_protocol::{Kind, Opaque},
};
use std::{collections::HashMap, net::SocketAddr, time::Instant};
use tokio::{io::AsyncReadExt, net::TcpStream};

const ASK: &str = "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";

#[test]
fn requests_are_refused_or_allowed_by_identity_on_connections_that_stay() {
    isolated!(|| async {
        let mut mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v4.into(), HTTP1);
        mesh.control.set_inbound(HTTP1, Ok(server(detect(), vec![only("somebody.else")])));
        let policy_is = async |mesh: &mut crate::mesh::Mesh, status: &'static str| {
            let client = mesh.client.clone();
            let is_so = async |_: &Proxy| exchange(&client, to, ASK).await.starts_with(&format!("HTTP/1.1 {status} "));
            mesh.inbound.wait_for("the policy", is_so).await;
        };
        policy_is(&mut mesh, "403").await;
        let answer = exchange(&mesh.client, to, ASK).await;
        // Meshed clients are told why; the connection between the proxies stays.
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
        let denied = mesh.inbound.metric("inbound_http_authz_deny_total", &["srv_name=\"web\"", BOT]).await;
        assert!(denied >= Some(1.0), "{denied:?}");

        // Without a proxy there is no identity, and nothing of the mesh is told.
        let answer = ask(to, ASK).await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && !answer.contains("l5d-"), "{answer}");

        mesh.control.set_inbound(HTTP1, Ok(server(detect(), vec![only(BOT)])));
        policy_is(&mut mesh, "200").await;
        let labels = ["authz_name=\"authz\"", "srv_name=\"web\"", "route_name=\"route\""];
        assert!(mesh.inbound.metric("inbound_http_authz_allow_total", &labels).await >= Some(1.0));
        assert_eq!(
            mesh.inbound.metric("tcp_open_total", &["peer=\"src\"", "tls=\"true\""]).await.map(|n| n <= 3.0),
            Some(true)
        );
    });
}

#[test]
fn grpc_clients_are_refused_in_their_own_words() {
    isolated!(|| async {
        let mut mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v4.into(), HTTP2);
        mesh.control.set_inbound(HTTP2, Ok(server(detect(), vec![only("somebody.else")])));
        let client = mesh.client.clone();
        let is_denied = async |_: &Proxy| {
            let head = client
                .run(move || async move {
                    let stream = hyper_util::rt::TokioIo::new(TcpStream::connect(to).await.unwrap());
                    let executor = hyper_util::rt::TokioExecutor::new();
                    let (mut sender, connection) =
                        hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
                    tokio::spawn(connection);
                    let request = http::Request::post("http://web/a.B/C").header("content-type", "application/grpc");
                    let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
                    sender.send_request(request).await.unwrap().into_parts().0
                })
                .await;
            head.status == 200 && head.headers.get("grpc-status").is_some_and(|v| v == "7")
        };
        mesh.inbound.wait_for("the policy", is_denied).await;
    });
}

#[test]
fn connections_are_cut_when_the_policy_stops_allowing_them() {
    isolated!(|| async {
        let mut mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v4.into(), TCP);
        mesh.control.set_inbound(TCP, Ok(server(Kind::Opaque(Opaque {}), vec![only(BOT)])));
        let (cut, is_cut) = tokio::sync::oneshot::channel();
        let (open, is_open) = tokio::sync::oneshot::channel();
        let client = mesh.client.clone();
        tokio::spawn(async move {
            client
                .run(move || async move {
                    let mut stream = TcpStream::connect(to).await.unwrap();
                    let mut hello = [0; 6];
                    stream.read_exact(&mut hello).await.unwrap();
                    open.send(()).unwrap();
                    let rest = stream.read(&mut hello).await;
                    cut.send(rest.is_err() || rest.is_ok_and(|n| n == 0)).unwrap();
                })
                .await;
        });
        is_open.await.unwrap();
        mesh.control.set_inbound(TCP, Ok(server(Kind::Opaque(Opaque {}), vec![only("somebody.else")])));
        assert!(is_cut.await.unwrap());
        let has_ended = async |p: &Proxy| p.metric("inbound_tcp_authz_terminate_total", &[]).await == Some(1.0);
        mesh.inbound.wait_for("the counter", has_ended).await;
        // And new ones are not let in.
        assert_eq!(exchange(&mesh.client, to, "x").await, "");
        assert!(mesh.inbound.metric("inbound_tcp_authz_deny_total", &[]).await >= Some(1.0));
    });
}

#[test]
fn a_rate_limit_holds_for_all_workers_together() {
    isolated!(|| async {
        const RPS: u32 = 5;
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        let pod = network.add_pod().await;
        let addr = SocketAddr::new(pod.v4.into(), HTTP1);
        let Kind::Detect(mut kind) = detect() else { unreachable!("detect() is a Detect") };
        let total = Some(Limit { requests_per_second: RPS });
        kind.http_local_rate_limit = Some(HttpLocalRateLimit { metadata: named("limit"), total, ..Default::default() });
        control.set_inbound(HTTP1, Ok(server(Kind::Detect(kind), vec![everybody()])));
        pod.start(applications).await;
        let mut proxy = Proxy::start(&pod, &control, WEB, &[("CORES", "2")]).await;
        let limited = async |proxy: &Proxy| {
            ask(addr, ASK).await;
            proxy.metric("inbound_http_local_ratelimit_total", &["srv_name=\"web\""]).await.is_some()
        };
        proxy.wait_for("the policy", limited).await;
        let started = Instant::now();
        let asked: Vec<_> = (0..100).map(|_| tokio::spawn(ask(addr, ASK))).collect();
        let mut answers = HashMap::new();
        for answer in asked {
            let status = answer.await.unwrap().split(' ').nth(1).unwrap().to_owned();
            *answers.entry(status).or_default() += 1;
        }
        let passed = answers.remove("200").unwrap_or(0);
        assert_eq!(answers, HashMap::from([("429".to_owned(), 100 - passed)]));
        // The allowance was used up before, on whatever workers: only what has come back since may pass.
        let most = (started.elapsed().as_secs_f64() * f64::from(RPS)).ceil() as u32 + 1;
        assert!(passed <= most, "{passed} passed, {most} may");
    });
}
