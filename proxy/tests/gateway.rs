//! Connections to the proxy's own port: into this pod with a session protocol, and through a gateway to a Service.

use crate::{
    inbound_policy::{Guarded, guarded},
    isolated,
    mesh::{BOT, HTTP1, HTTP2, TCP, WEB, applications},
    support::{
        authority::TRANSPORT_ALPN,
        inbound::{connect_as, detect, everybody, only, server, talk},
        policy::balanced,
        proxy::Proxy,
    },
};
use linkerd2_proxy_api::{destination as dst, net};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

const GATEWAY: &str = "web.test.svc.cluster.local";
const SUFFIX: (&str, &str) = ("INBOUND_GATEWAY_SUFFIXES", "svc.cluster.local.");
const DIRECT: u16 = 4143;
const PORT: &str = "target_port=\"4143\"";
const ASK: &str = "GET /x HTTP/1.1\r\nHost: web-remote.test\r\nL5d-Dst-Canonical: x\r\nConnection: close\r\n\r\n";

#[derive(Clone, Copy)]
enum Session {
    None,
    Http1,
    Http2,
}

/// What follows ALPN: preface, length and `Header { port, name, session_protocol }`.
fn header(port: u16, name: &str, session: Session) -> Vec<u8> {
    let mut message = vec![8, port as u8 | 0x80, (port >> 7) as u8 | 0x80, (port >> 14) as u8];
    if !name.is_empty() {
        message.extend([0x12, name.len() as u8]);
        message.extend(name.as_bytes());
    }
    match session {
        Session::None => {}
        Session::Http1 => message.extend([0x1a, 2, 0x0a, 0]),
        Session::Http2 => message.extend([0x1a, 2, 0x12, 0]),
    }
    [b"transport.l5d.io/v1\r\n\r\n", &(message.len() as u32).to_be_bytes()[..], &message].concat()
}

async fn direct(guarded: &Guarded, client: &str, header: &[u8]) -> TlsStream<TcpStream> {
    let to = guarded.addr(DIRECT);
    let mut stream = connect_as(&guarded.authority, Some(client), &[TRANSPORT_ALPN], to).await.unwrap();
    stream.write_all(header).await.unwrap();
    stream
}

/// A gateway whose Service is a pod without a proxy, at all three ports.
async fn gateway() -> Guarded {
    let policy = || server(detect(), vec![only(BOT), only(WEB)]);
    let mut guarded = guarded(vec![(DIRECT, policy())], &[SUFFIX]).await;
    let pod = guarded.network.add_pod().await;
    pod.start(applications).await;
    for port in [HTTP1, HTTP2, TCP] {
        let path = format!("{GATEWAY}:{port}");
        let endpoint = dst::WeightedAddr {
            addr: Some(net::TcpAddress { ip: Some(pod.ip(false).into()), port: port.into() }),
            weight: 10_000,
            ..Default::default()
        };
        guarded.control.set_endpoints(&path, vec![endpoint]);
        guarded.control.set_named_policy(&path, Ok(balanced(&path)));
        let profile = dst::DestinationProfile { fully_qualified_name: GATEWAY.into(), ..Default::default() };
        guarded.control.set_profile(&path, profile);
    }
    guarded
}

#[test]
fn requests_for_a_service_go_out_again_and_tell_who_forwarded_them() {
    isolated!(|| async {
        let guarded = gateway().await;
        let stream = direct(&guarded, BOT, &header(HTTP1, GATEWAY, Session::Http1)).await;
        let answer = talk(stream, ASK).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let forwarded = format!("saw-forwarded: by={WEB};for={BOT};host={GATEWAY}:{HTTP1};proto=https\r\n");
        assert!(answer.contains(&forwarded), "{answer}");
        for part in [format!("saw-host: {GATEWAY}:{HTTP1}\r\n"), "saw-uri: /x\r\n".to_owned()] {
            assert!(answer.contains(&part), "{answer}");
        }
        assert!(!answer.contains("saw-l5d-"), "{answer}");
        let client = format!("client_id=\"{BOT}\"");
        let labels =
            ["session_protocol=\"http/1\"", "target_port=\"8080\"", &format!("target_name=\"{GATEWAY}\""), &client];
        assert_eq!(guarded.proxy.metric("inbound_tcp_transport_header_connections_total", &labels).await, Some(1.0));
        let labels = ["target_port=\"4143\"", "srv_name=\"web\"", &client];
        assert_eq!(guarded.proxy.metric("inbound_http_authz_allow_total", &labels).await, Some(1.0));

        // HTTP/1 carried in HTTP/2, and HTTP/2 itself.
        for (port, carried) in [(HTTP1, true), (HTTP2, false)] {
            let stream = direct(&guarded, BOT, &header(port, GATEWAY, Session::Http2)).await;
            let (sender, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            let mut request = http::Request::get(format!("http://{GATEWAY}:{port}/x"));
            if carried {
                request = request.header("l5d-orig-proto", "HTTP/1.1");
            }
            let mut sender = sender.ready().await.unwrap();
            let (response, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
            let head = response.await.unwrap().into_parts().0;
            assert_eq!(head.status, 200, "{head:?}");
            assert_eq!(head.headers.get("l5d-orig-proto").is_some_and(|v| v == "HTTP/1.1"), carried, "{head:?}");
            assert_eq!(head.headers["saw-version"], if carried { "HTTP/1.1" } else { "HTTP/2.0" });
            assert!(!carried || head.headers["saw-uri"] == "/x", "{head:?}");
            assert!(head.headers["saw-forwarded"].to_str().unwrap().starts_with(&format!("by={WEB};for={BOT}")));
        }
    });
}

#[test]
fn bytes_for_a_service_go_out_again() {
    isolated!(|| async {
        let guarded = gateway().await;
        let mut stream = direct(&guarded, BOT, &header(TCP, GATEWAY, Session::None)).await;
        let mut answer = vec![0; 6];
        stream.read_exact(&mut answer).await.unwrap();
        stream.write_all(b"world").await.unwrap();
        stream.shutdown().await.unwrap();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), "hello WORLD");
        let labels = ["target_port=\"4143\"", "authz_name=\"authz\""];
        assert_eq!(guarded.proxy.metric("inbound_tcp_authz_allow_total", &labels).await, Some(1.0));
    });
}

#[test]
fn a_gateway_forwards_nothing_twice() {
    isolated!(|| async {
        let guarded = gateway().await;
        let loops = [
            // The client is the gateway itself.
            (WEB, ASK.to_owned()),
            (BOT, ASK.replace("L5d-Dst-Canonical: x", &format!("Forwarded: by=other;for=x;proto=https, by={WEB}"))),
        ];
        for (client, request) in loops {
            let stream = direct(&guarded, client, &header(HTTP1, GATEWAY, Session::Http1)).await;
            let answer = talk(stream, &request).await;
            assert!(answer.starts_with("HTTP/1.1 508 "), "{answer}");
        }
        assert_eq!(guarded.proxy.metric("inbound_http_errors_total", &["error=\"gateway loop\""]).await, Some(2.0));
        let stream = direct(&guarded, WEB, &header(TCP, GATEWAY, Session::None)).await;
        assert_eq!(talk(stream, "").await, "");
        assert_eq!(guarded.proxy.metric("inbound_tcp_errors_total", &["error=\"gateway loop\""]).await, Some(1.0));
    });
}

#[test]
fn a_gateway_serves_only_its_names_and_only_whom_its_policy_allows() {
    isolated!(|| async {
        let guarded = gateway().await;
        for (name, session) in [
            ("web.test.example.com", Session::Http1),
            ("websvc.cluster.local", Session::None),
            // Of this one the control plane knows nothing.
            ("nobody.test.svc.cluster.local", Session::Http1),
        ] {
            let stream = direct(&guarded, BOT, &header(HTTP1, name, session)).await;
            assert_eq!(talk(stream, ASK).await, "", "{name}");
        }
        let labels = ["error=\"gateway domain invalid\"", "target_port=\"4143\""];
        assert_eq!(guarded.proxy.metric("inbound_tcp_errors_total", &labels).await, Some(3.0));

        const OTHER: &str = "other.test.serviceaccount.identity.linkerd.cluster.local";
        let stream = direct(&guarded, OTHER, &header(HTTP1, GATEWAY, Session::Http1)).await;
        assert!(talk(stream, ASK).await.starts_with("HTTP/1.1 403 "));
        let stream = direct(&guarded, OTHER, &header(TCP, GATEWAY, Session::None)).await;
        assert_eq!(talk(stream, "").await, "");
        assert_eq!(guarded.proxy.metric("inbound_tcp_authz_deny_total", &["target_port=\"4143\""]).await, Some(1.0));
    });
}

#[test]
fn a_proxy_that_is_no_gateway_forwards_to_no_name() {
    isolated!(|| async {
        let guarded = guarded(vec![(DIRECT, server(detect(), vec![everybody()]))], &[]).await;
        let stream = direct(&guarded, BOT, &header(HTTP1, GATEWAY, Session::Http1)).await;
        assert_eq!(talk(stream, ASK).await, "");
    });
}

#[test]
fn a_session_protocol_says_what_to_expect_without_detection() {
    isolated!(|| async {
        let opaque = linkerd2_proxy_api::inbound::proxy_protocol::Kind::Opaque(Default::default());
        let policies = vec![(HTTP1, server(detect(), vec![only(BOT)])), (TCP, server(opaque, vec![only(BOT)]))];
        let guarded = guarded(policies, &[]).await;
        let stream = direct(&guarded, BOT, &header(HTTP1, "", Session::Http1)).await;
        let answer = talk(stream, ASK).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains(&format!("saw-l5d-client-id: {BOT}\r\n")),
            "{answer}"
        );
        let labels = ["session_protocol=\"http/1\"", "target_name=\"\""];
        assert_eq!(guarded.proxy.metric("inbound_tcp_transport_header_connections_total", &labels).await, Some(1.0));
        // What is not the protocol that was promised does not reach the application.
        let stream = direct(&guarded, BOT, &header(HTTP1, "", Session::Http2)).await;
        assert!(!talk(stream, ASK).await.contains("saw-uri"));
        let stream = direct(&guarded, WEB, &header(HTTP1, "", Session::Http1)).await;
        assert!(talk(stream, ASK).await.starts_with("HTTP/1.1 403 "));
        // Bytes are authorized by the policy of the port that the header names.
        let mut stream = direct(&guarded, BOT, &header(TCP, "", Session::None)).await;
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).await.unwrap();
        let stream = direct(&guarded, WEB, &header(TCP, "", Session::None)).await;
        assert_eq!(talk(stream, "").await, "");
        // And nothing leads back to the proxy itself.
        let stream = direct(&guarded, BOT, &header(DIRECT, "", Session::None)).await;
        assert_eq!(talk(stream, "").await, "");
    });
}

/// What a gateway forwards is under the policy of its own port for as long as it goes on.
#[test]
fn what_a_gateway_forwards_ends_when_its_policy_refuses_it() {
    isolated!(|| async {
        let mut guarded = gateway().await;
        let head = "GET /x HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let mut pipe = direct(&guarded, BOT, &header(HTTP1, GATEWAY, Session::Http1)).await;
        pipe.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(pipe.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        // The application waits for the rest of this one.
        let mut waiting = direct(&guarded, BOT, &header(HTTP1, GATEWAY, Session::Http1)).await;
        waiting.write_all(b"POST /x HTTP/1.1\r\nHost: web\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap();
        waiting.flush().await.unwrap();
        let allowed = async |p: &Proxy| p.metric("inbound_http_authz_allow_total", &[PORT]).await == Some(2.0);
        guarded.proxy.wait_for("both", allowed).await;
        guarded.control.set_inbound(DIRECT, Ok(server(detect(), vec![only(WEB)])));
        assert_eq!(pipe.read(&mut [0; 8]).await.unwrap_or(0), 0);
        assert!(talk(waiting, "").await.starts_with("HTTP/1.1 403 "));
        let ended = async |p: &Proxy| p.metric("inbound_http_authz_terminate_total", &[PORT]).await == Some(2.0);
        guarded.proxy.wait_for("the count", ended).await;
    });
}
