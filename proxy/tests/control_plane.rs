//! The control plane from the proxy's side over time: it goes away, comes back, says nonsense, renews certificates.

use crate::{
    isolated,
    mesh::{BOT, HTTP1, WEB, exchange, mesh, meshed_endpoint},
    support::{
        control_plane::ControlPlane,
        inbound::{detect, everybody, server},
        network::Network,
        policy,
        proxy::Proxy,
    },
};
use linkerd2_proxy_api::destination as dst;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
const SERVICE: &str = "10.96.0.1:80";
const PATH: &str = "web.test.svc.cluster.local:80";

#[test]
fn what_was_discovered_stays_while_the_control_plane_is_away() {
    isolated!(|| async {
        let mut mesh = mesh().await;
        let hint = dst::protocol_hint::Protocol::H2(dst::protocol_hint::H2 {});
        let endpoint = |port| meshed_endpoint(SocketAddr::new(mesh.server.v4.into(), port), Some(hint), false);
        let service: SocketAddr = SERVICE.parse().unwrap();
        mesh.control.set_policy(service, Ok(policy::balanced(PATH)));
        mesh.control.set_endpoints(PATH, vec![endpoint(HTTP1)]);
        assert!(exchange(&mesh.client, service, GET).await.starts_with("HTTP/1.1 200 "));
        mesh.control.stop().await;
        for _ in 0..3 {
            assert!(exchange(&mesh.client, service, GET).await.starts_with("HTTP/1.1 200 "));
        }
        // What is not known yet waits; it is answered once the control plane is back.
        let direct = SocketAddr::new(mesh.server.v4.into(), HTTP1);
        let waiting = exchange(&mesh.client, direct, GET);
        let back = async {
            mesh.control.set_endpoints(PATH, vec![endpoint(9999)]);
            mesh.control.start_again().await;
        };
        let (answer, ()) = tokio::join!(waiting, back);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        // The new set replaces the old one: its only endpoint is not there.
        let client = mesh.client.clone();
        mesh.outbound
            .wait_for("the new endpoints", async |_| exchange(&client, service, GET).await.starts_with("HTTP/1.1 50"))
            .await;
    });
}

#[test]
fn nonsense_from_the_control_plane_is_survived() {
    isolated!(|| async {
        let mut mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v4.into(), HTTP1);
        for port in [HTTP1, 4191] {
            mesh.control.set_inbound(port, Ok(server(detect(), vec![everybody()])));
        }
        let allowed = async |proxy: &Proxy, port| {
            let labels = ["srv_name=\"web\"", port];
            proxy.metric("inbound_http_authz_allow_total", &labels).await.is_some()
        };
        let client = mesh.client.clone();
        let is_known = async |proxy: &Proxy| {
            exchange(&client, to, GET).await;
            allowed(proxy, "target_port=\"8080\"").await && allowed(proxy, "target_port=\"4191\"").await
        };
        mesh.inbound.wait_for("the policies", is_known).await;
        mesh.outbound.wait_for("the policy", async |proxy| allowed(proxy, "target_port=\"4191\"").await).await;
        for (method, bytes) in [
            ("WatchPort", &[0xff; 64][..]),
            ("GetProfile", &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            ("OutboundPolicies/Watch", &[0x12, 0x02, 0x08]),
        ] {
            mesh.control.set_garbage(method, bytes);
            mesh.control.stop().await;
            mesh.control.start_again().await;
            // Known destinations go on with what was known; nothing ends.
            let mut stream = TcpStream::connect((mesh.server.v4, HTTP1)).await.unwrap();
            stream.write_all(GET.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{method}: {answer}");
            assert_eq!(mesh.outbound.admin("GET", "/ready").await.unwrap().0, 200);
            assert_eq!(mesh.inbound.admin("GET", "/ready").await.unwrap().0, 200);
        }
        mesh.control.stop_garbage();
        assert!(exchange(&mesh.client, to, GET).await.starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn a_certificate_that_is_nonsense_is_refused_and_asked_for_again() {
    isolated!(|| async {
        let mut network = Network::new();
        let (control, pod) = (ControlPlane::start().await, network.add_pod().await);
        control.set_garbage("Certify", &[0x0a, 0x03, 1, 2, 3]);
        crate::support::proxy::redirect(&pod).await;
        let refresh = &[("IDENTITY_MIN_REFRESH", "50ms")];
        let env = crate::support::proxy::environment(&pod, &control, WEB, refresh);
        let mut proxy = Proxy::spawn(&pod, env).await;
        proxy.wait_for("a complaint", async |proxy| proxy.output().to_lowercase().contains("certif")).await;
        assert_eq!(proxy.admin("GET", "/ready").await.unwrap().0, 503);
        control.stop_garbage();
        proxy.ready().await;
    });
}

#[test]
fn certificates_are_renewed_under_connections_that_stay() {
    isolated!(|| async {
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        let (client, server) = (network.add_pod().await, network.add_pod().await);
        let to = SocketAddr::new(server.v4.into(), 8080);
        control.set_profile(&to.to_string(), crate::mesh::meshed_profile(to));
        server
            .start(|up: tokio::sync::oneshot::Sender<()>| async move {
                let listener = tokio::net::TcpListener::bind(("0.0.0.0", 8080)).await.unwrap();
                let _ = up.send(());
                while let Ok((mut stream, _)) = listener.accept().await {
                    tokio::task::spawn_local(async move {
                        let mut request = [0; 4096];
                        while let Ok(1..) = stream.read(&mut request).await {
                            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                        }
                    });
                }
            })
            .await;
        let refresh = &[("IDENTITY_MIN_REFRESH", "100ms"), ("IDENTITY_MAX_REFRESH", "300ms")];
        let mut inbound = Proxy::start(&server, &control, WEB, refresh).await;
        let mut outbound = Proxy::start(&client, &control, BOT, refresh).await;
        let (all_renewed, has_renewed) = tokio::sync::oneshot::channel::<()>();
        let requests = client.run(move || async move {
            let mut has_renewed = has_renewed;
            let mut kept = TcpStream::connect(to).await.unwrap();
            let mut count = 0;
            while has_renewed.try_recv().is_err() {
                let mut fresh = TcpStream::connect(to).await.unwrap();
                for stream in [&mut kept, &mut fresh] {
                    stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n").await.unwrap();
                    let mut answer = [0; 4096];
                    let length = stream.read(&mut answer).await.unwrap();
                    assert!(answer[..length].starts_with(b"HTTP/1.1 200 "));
                }
                count += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            count
        });
        let renewals = async {
            for proxy in [&mut inbound, &mut outbound] {
                proxy
                    .wait_for("renewals", async |proxy| {
                        proxy.metric("control_identity_cert_refreshes_total", &[]).await >= Some(4.0)
                    })
                    .await;
            }
            all_renewed.send(()).unwrap();
        };
        let (count, ()) = tokio::join!(requests, renewals);
        assert!(count > 1, "{count}");
    });
}

#[test]
fn the_ways_to_the_control_plane_and_between_zones_are_counted() {
    isolated!(|| async {
        let mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v4.into(), HTTP1);
        let request = "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
        assert!(exchange(&mesh.client, to, request).await.starts_with("HTTP/1.1 200 "));
        let addr = format!("addr=\"{}\"", mesh.control.addr);
        for service in ["destination", "policy", "identity"] {
            let of = |rest: &str| format!("control_{service}_balancer_{rest}");
            let metric = async |rest: &str, label: &str| mesh.outbound.metric(&of(rest), &[&addr, label]).await;
            // The identity service is let go once it has answered.
            let ready = if service == "identity" { 0.0 } else { 1.0 };
            assert_eq!(metric("endpoints", "endpoint_state=\"ready\"").await, Some(ready), "{service}");
            assert_eq!(metric("endpoints", "endpoint_state=\"pending\"").await, Some(1.0 - ready), "{service}");
            assert_eq!(metric("p2c_endpoints", "").await, Some(1.0), "{service}");
            assert_eq!(metric("p2c_updates_total", "op=\"Reset\"").await, Some(1.0), "{service}");
            assert!(metric("queue_requests_total", "").await >= Some(1.0), "{service}");
            assert_eq!(metric("queue_length", "").await, Some(0.0), "{service}");
        }
        for op in ["Send", "Recv"] {
            let op = format!("op=\"{op}\"");
            let labels = ["zone_locality=\"unknown\"", &op];
            let bytes = mesh.outbound.metric("outbound_tcp_transfer_cost_bytes_total", &labels).await;
            assert!(bytes >= Some(50.0), "{op}: {bytes:?}");
        }
    });
}
