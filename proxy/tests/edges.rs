//! The edges of HTTP between two meshed pods: old versions, unusual methods, refusals, and peers that go away.

use crate::{
    inbound_policy::guarded,
    isolated,
    mesh::{BOT, HTTP1, HTTP2, WEB, exchange, mesh, meshed_endpoint, meshed_profile},
    support::{
        inbound::{detect, everybody, server},
        proxy::Proxy,
    },
};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, channel::Channel};
use hyper_util::rt::{TokioExecutor, TokioIo};
use linkerd2_proxy_api::destination as dst;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Far longer than anything here takes; a test that hangs fails by it.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn speaks_http1_as_it_was_spoken_to() {
    isolated!(|| async {
        let mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v4.into(), HTTP1);
        let ask = async |request: &str| exchange(&mesh.client, to, request).await;

        let old = ask("GET / HTTP/1.0\r\n\r\n").await;
        assert!(old.starts_with("HTTP/1.0 200 ") && old.contains("saw-version: HTTP/1.0\r\n"), "{old}");

        let absolute = ask("GET http://other/x HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n").await;
        assert!(absolute.contains("saw-uri: http://other/x\r\n"), "{absolute}");

        let head = ask("HEAD / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");

        let expect =
            "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nabc";
        let expect = ask(expect).await;
        assert!(
            expect.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ") && expect.contains("\r\nabc\r\n"),
            "{expect}"
        );

        let hop =
            "GET / HTTP/1.1\r\nHost: web\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\n\r\n";
        let hop = ask(hop).await;
        assert!(
            hop.starts_with("HTTP/1.1 200 ") && !hop.contains("saw-x-hop") && !hop.contains("saw-keep-alive"),
            "{hop}"
        );

        let garbage = ask("GET / HTTP/1.1\r\nHost: web\r\n\r\nthis is not a request\r\n\r\n").await;
        assert!(garbage.starts_with("HTTP/1.1 200 ") && garbage.contains("HTTP/1.1 400 "), "{garbage}");

        let connect = ask("CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\nping").await;
        assert!(connect.starts_with("HTTP/1.1 200 ") && connect.ends_with("PING"), "{connect}");
        for (target, version) in [("GET other", "1.1"), ("CONNECT /path", "1.1"), ("CONNECT other:443", "1.0")] {
            let refused = ask(&format!("{target} HTTP/{version}\r\nHost: other\r\n\r\n")).await;
            assert!(refused.starts_with(&format!("HTTP/{version} 400 Bad Request\r\n")), "{refused}");
        }
    });
}

/// RFC 9110, 9.3.6 and 15.2.2: such answers have no body, and clients ignore what they say of its length.
#[test]
fn a_pipe_begins_though_the_application_speaks_of_a_length() {
    isolated!(|| async {
        let mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v4.into(), 9003);
        mesh.control.set_profile(&to.to_string(), meshed_profile(to));
        mesh.server
            .start(|up| async move {
                let listener = TcpListener::bind(("0.0.0.0", 9003)).await.unwrap();
                let _ = up.send(());
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    let status = match head.starts_with(b"CONNECT") {
                        true => "200 OK",
                        false => "101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket",
                    };
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    let mut bytes = [0; 4];
                    stream.read_exact(&mut bytes).await.unwrap();
                    stream.write_all(&bytes.map(|b| b.to_ascii_uppercase())).await.unwrap();
                }
            })
            .await;
        let upgrade = "GET / HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nping";
        for request in ["CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\nping", upgrade] {
            let answer = exchange(&mesh.client, to, request).await;
            assert!(answer.ends_with("\r\n\r\nPING") && !answer.contains("content-length"), "{answer}");
        }
    });
}

#[test]
fn an_application_that_is_not_there_is_a_502_that_says_so() {
    isolated!(|| async {
        let mesh = mesh().await;
        // Meshed: the server's proxy answers. Not meshed: our own proxy does.
        let meshed = SocketAddr::new(mesh.server.v4.into(), 9000);
        mesh.control.set_profile(&meshed.to_string(), meshed_profile(meshed));
        for to in [meshed, SocketAddr::new(mesh.server.v4.into(), 4190)] {
            let answer = exchange(&mesh.client, to, "GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
            assert!(answer.contains("l5d-proxy-error: ") || to == meshed, "{answer}");
        }
    });
}

/// An application of HTTP/2 that does not listen yet is waited for.
#[test]
fn a_request_that_comes_before_the_application_is_not_lost() {
    isolated!(|| async {
        let mut guarded = guarded(vec![], &[("INBOUND_HTTP_FAILFAST_TIMEOUT", "10s")]).await;
        guarded.control.set_inbound(9004, Ok(server(detect(), vec![everybody()])));
        let to = guarded.addr(9004);
        let (answered, answer) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            loop {
                let stream = TcpStream::connect(to).await.unwrap();
                let (sender, connection) = h2::client::handshake(stream).await.unwrap();
                tokio::spawn(connection);
                let request = Request::get("http://web/").body(()).unwrap();
                // Until the policy is known, the connection is closed.
                let Ok(mut sender) = sender.ready().await else { continue };
                if let Ok((response, _)) = sender.send_request(request, true)
                    && let Ok(response) = response.await
                {
                    return answered.send(response.status()).unwrap();
                }
            }
        });
        let allowed = ["target_port=\"9004\"", "srv_name=\"web\""];
        let is_there = async |proxy: &Proxy| proxy.metric("inbound_http_authz_allow_total", &allowed).await.is_some();
        guarded.proxy.wait_for("the request", is_there).await;
        guarded
            .pod
            .start(|up| async move {
                let listener = TcpListener::bind(("0.0.0.0", 9004)).await.unwrap();
                let _ = up.send(());
                let (stream, _) = listener.accept().await.unwrap();
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_response(http::Response::new(()), true).unwrap();
                }
            })
            .await;
        assert_eq!(answer.await.unwrap(), StatusCode::OK);
    });
}

#[test]
fn a_server_with_another_identity_gets_nothing() {
    isolated!(|| async {
        let mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v4.into(), HTTP1);
        let mut endpoint = meshed_endpoint(to, None, false);
        // The right name to ask for, the wrong one to prove.
        endpoint.tls_identity = Some(dst::TlsIdentity {
            server_name: Some(dst::tls_identity::DnsLikeIdentity { name: WEB.into() }),
            strategy: Some(dst::tls_identity::Strategy::DnsLikeIdentity(dst::tls_identity::DnsLikeIdentity {
                name: BOT.into(),
            })),
        });
        let profile = dst::DestinationProfile { endpoint: Some(endpoint), ..Default::default() };
        mesh.control.set_profile(&to.to_string(), profile);
        let answer = exchange(&mesh.client, to, "GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert_eq!(
            mesh.inbound.metric("request_total", &["direction=\"inbound\"", "target_port=\"8080\""]).await,
            None
        );
    });
}

#[test]
fn a_cancelled_stream_is_cancelled_all_the_way() {
    isolated!(|| async {
        let mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v4.into(), 9001);
        mesh.control.set_profile(&to.to_string(), meshed_profile(to));
        let seen = mesh
            .server
            .start(|up: tokio::sync::oneshot::Sender<tokio::sync::mpsc::UnboundedReceiver<String>>| async move {
                let listener = TcpListener::bind(("0.0.0.0", 9001)).await.unwrap();
                let (events, seen) = tokio::sync::mpsc::unbounded_channel();
                let _ = up.send(seen);
                let (stream, _) = listener.accept().await.unwrap();
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(request) = connection.accept().await {
                    let (request, mut respond) = request.unwrap();
                    let events = events.clone();
                    tokio::spawn(async move {
                        let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
                        stream.send_data(Bytes::from_static(b"first"), false).unwrap();
                        let mut body = request.into_body();
                        while let Some(Ok(data)) = body.data().await {
                            let _ = body.flow_control().release_capacity(data.len());
                            events.send(String::from_utf8(data.to_vec()).unwrap()).unwrap();
                        }
                        let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await.unwrap();
                        events.send(format!("{reason:?}")).unwrap();
                    });
                }
            })
            .await;
        mesh.client
            .run(move || async move {
                let stream = TokioIo::new(TcpStream::connect(to).await.unwrap());
                let (mut sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
                tokio::spawn(connection);
                let (mut body, channel) = Channel::<Bytes>::new(1);
                body.send_data(Bytes::from_static(b"ping")).await.unwrap();
                let request = Request::post("http://web/stream").body(channel).unwrap();
                let mut response = sender.send_request(request).await.unwrap();
                // Both directions are open at once.
                assert_eq!(response.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
                body.send_data(Bytes::from_static(b"pong")).await.unwrap();
                let mut seen = seen;
                let mut next = async || tokio::time::timeout(LIMIT, seen.recv()).await.unwrap().unwrap();
                assert_eq!([next().await, next().await], ["ping", "pong"]);
                drop((response, body));
                assert_eq!(next().await, "CANCEL");
            })
            .await;
    });
}

#[test]
fn what_is_in_flight_is_finished_before_the_proxy_ends() {
    isolated!(|| async {
        let mut mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v4.into(), HTTP2);
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go, may_end) = tokio::sync::oneshot::channel::<()>();
        let running = mesh.client.run(move || async move {
            let stream = TokioIo::new(TcpStream::connect(to).await.unwrap());
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            let (mut body, channel) = Channel::<Bytes>::new(1);
            let response = sender.send_request(Request::post("http://web/slow").body(channel).unwrap());
            body.send_data(Bytes::from_static(b"half ")).await.unwrap();
            begun.send(()).unwrap();
            let end = async {
                may_end.await.unwrap();
                body.send_data(Bytes::from_static(b"whole")).await.unwrap();
                drop(body);
            };
            let (response, ()) = tokio::join!(response, end);
            let response = response.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            response.into_body().collect().await.unwrap().to_bytes()
        });
        let terminated = async {
            has_begun.await.unwrap();
            mesh.inbound
                .wait_for("the request", async |p: &Proxy| {
                    p.metric("request_total", &["inbound", "target_port=\"8081\""]).await == Some(1.0)
                })
                .await;
            mesh.inbound.terminate();
            mesh.outbound.terminate();
            tokio::time::sleep(Duration::from_millis(100)).await;
            go.send(()).unwrap();
        };
        let (body, ()) = tokio::join!(running, terminated);
        assert_eq!(body, "half whole");
        assert!(mesh.inbound.ended().await.success());
        assert!(mesh.outbound.ended().await.success());
    });
}

#[test]
fn strangers_reach_the_application_and_their_tls_is_passed_on() {
    isolated!(|| async {
        let mesh = mesh().await;
        // From the node, which has no proxy.
        let mut stream = TcpStream::connect((mesh.server.v4, HTTP1)).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("saw-l5d-client-id"), "{answer}");

        // A ClientHello for another name arrives as it was sent: the application is what refuses it.
        let hello = tls_hello("example.com");
        let mut stream = TcpStream::connect((mesh.server.v4, HTTP1)).await.unwrap();
        stream.write_all(&hello).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(&[22]), "the proxy took TLS that is not for it");
        assert!(mesh.inbound.metric("tcp_open_total", &["tls=\"opaque\"", "sni=\"example.com\""]).await >= Some(1.0));

        // Direct connections without mesh TLS end at once.
        let mut stream = TcpStream::connect((mesh.server.v4, 4143)).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.is_empty());
    });
}

fn tls_hello(name: &str) -> Vec<u8> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn responses_without_a_body_may_speak_of_its_length() {
    isolated!(|| async {
        let mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v4.into(), 9002);
        mesh.control.set_profile(&to.to_string(), meshed_profile(to));
        mesh.server
            .start(|up| async move {
                let listener = TcpListener::bind(("0.0.0.0", 9002)).await.unwrap();
                let _ = up.send(());
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut request = [0; 1024];
                    let n = stream.read(&mut request).await.unwrap();
                    let status = if request[..n].starts_with(b"HEAD") { "200 OK" } else { "304 Not Modified" };
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 12\r\nConnection: close\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            })
            .await;
        for (method, status) in [("HEAD", "200"), ("GET", "304")] {
            let request = format!("{method} / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
            let answer = exchange(&mesh.client, to, request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.ends_with("\r\n\r\n"), "{answer}");
            assert!(answer.contains("content-length: 12\r\n") || method != "HEAD", "{answer}");
        }
    });
}
