//! What operators turn on or look at: access logs, required identities, IPv6, frame sizes, and PINGs to silent clients.

use crate::{
    isolated,
    mesh::{BOT, HTTP1, HTTP2, WEB, applications, exchange, mesh, meshed_profile},
    support::{control_plane::ControlPlane, network::Network, proxy::Proxy},
};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const ASK: &str =
    "GET /a?b HTTP/1.1\r\nHost: web\r\nUser-Agent: it \"quotes\"\r\nReferer: there\r\nConnection: close\r\n\r\n";

/// A server pod behind a proxy with settings, asked once by a client that has none; what the proxy printed on it.
async fn logged(format: &str) -> String {
    let mut network = Network::new();
    let control = ControlPlane::start().await;
    let pod = network.add_pod().await;
    pod.start(applications).await;
    let mut proxy = Proxy::start(&pod, &control, WEB, &[("ACCESS_LOG", format)]).await;
    let mut stream = TcpStream::connect((pod.v4, HTTP1)).await.unwrap();
    stream.write_all(ASK.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    proxy.wait_for("the log", async |proxy| proxy.output().contains("/a?b")).await;
    proxy.output().lines().find(|line| line.contains("/a?b")).unwrap().to_owned()
}

#[test]
fn requests_are_logged_as_apache_does() {
    isolated!(|| async {
        let line = logged("apache").await;
        assert!(line.starts_with("10.99.0.1:") && line.contains(" - - ["), "{line}");
        assert!(line.contains("] \"GET /a?b HTTP/1.1\" 200 "), "{line}");
        assert!(line.ends_with(" \"there\" \"it \\\"quotes\\\"\""), "{line}");
    });
}

#[test]
fn requests_are_logged_as_json() {
    isolated!(|| async {
        let line = logged("json").await;
        let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected =
            [("method", "GET"), ("uri", "/a?b"), ("host", "web"), ("version", "HTTP/1.1"), ("client.id", "")];
        for (name, value) in expected {
            assert_eq!(entry[name], value, "{line}");
        }
        assert_eq!(entry["user_agent"], "it \"quotes\"");
        assert_eq!(entry["status"], 200);
        assert!(entry["total_ns"].as_u64() >= entry["processing_ns"].as_u64(), "{line}");
    });
}

#[test]
fn a_required_identity_must_be_the_servers() {
    isolated!(|| async {
        let mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v4.into(), HTTP1);
        let ask = async |id: &str| {
            let request = format!("GET / HTTP/1.1\r\nHost: web\r\nL5d-Require-Id: {id}\r\nConnection: close\r\n\r\n");
            exchange(&mesh.client, to, request).await
        };
        let same = ask(WEB).await;
        assert!(same.starts_with("HTTP/1.1 200 ") && !same.contains("saw-l5d-require-id"), "{same}");
        let other = ask(BOT).await;
        assert!(other.starts_with("HTTP/1.1 502 ") && other.contains("l5d-proxy-error: "), "{other}");
        let labels = ["error=\"identity required\""];
        assert_eq!(mesh.outbound.metric("outbound_http_errors_total", &labels).await, Some(1.0));
    });
}

#[test]
fn ipv6_goes_through_both_proxies() {
    isolated!(|| async {
        let mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v6.into(), HTTP1);
        mesh.control.set_profile(&to.to_string(), meshed_profile(to));
        let answer = exchange(&mesh.client, to, ASK).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains(&format!("saw-l5d-client-id: {BOT}\r\n")), "{answer}");
        let target = format!("target_addr=\"{to}\"");
        let labels = ["direction=\"inbound\"", "tls=\"true\"", &target];
        assert_eq!(mesh.inbound.metric("response_total", &labels).await, Some(1.0));
    });
}

#[test]
fn frames_are_counted_by_size_on_both_sides() {
    isolated!(|| async {
        let mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v4.into(), HTTP1);
        let request = "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 200\r\nConnection: close\r\n\r\n";
        let answer = exchange(&mesh.client, to, format!("{request}{}", "x".repeat(200))).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let families = [
            (&mesh.outbound, "outbound_http_route_request_frame_size_bytes"),
            (&mesh.outbound, "outbound_http_route_backend_response_frame_size_bytes"),
            (&mesh.inbound, "inbound_http_request_frame_size_bytes"),
            (&mesh.inbound, "inbound_http_response_frame_size_bytes"),
        ];
        for (proxy, family) in families {
            let sum = proxy.metric(&format!("{family}_sum"), &[]).await;
            assert_eq!(sum, Some(200.0), "{family}");
        }
        let durations = mesh.inbound.metric("inbound_http_response_duration_seconds_count", &[]).await;
        assert_eq!(durations, Some(1.0));
    });
}

#[test]
fn an_http2_client_that_answers_no_ping_is_let_go() {
    isolated!(|| async {
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        let pod = network.add_pod().await;
        pod.start(applications).await;
        let settings =
            [("INBOUND_SERVER_HTTP2_KEEP_ALIVE_INTERVAL", "50ms"), ("INBOUND_SERVER_HTTP2_KEEP_ALIVE_TIMEOUT", "50ms")];
        let _proxy = Proxy::start(&pod, &control, WEB, &settings).await;
        let mut stream = TcpStream::connect((pod.v4, HTTP2)).await.unwrap();
        // The preface and an empty SETTINGS frame; nothing after that is answered.
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received).await;
        // Eight bytes of PING on stream 0.
        assert!(received.windows(9).any(|frame| frame == b"\0\0\x08\x06\0\0\0\0\0"), "{received:?}");
    });
}
