//! Two meshed pods: what an application sends goes through its own proxy, over mutual TLS, through the other pod's proxy,
//! and to the other application, in every protocol.

use crate::{
    isolated,
    support::{
        control_plane::ControlPlane,
        network::{Network, Pod},
        proxy::Proxy,
    },
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use linkerd2_proxy_api::{destination as dst, net};
use std::{convert::Infallible, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

pub const WEB: &str = "web.test.serviceaccount.identity.linkerd.cluster.local";
pub const BOT: &str = "bot.test.serviceaccount.identity.linkerd.cluster.local";
pub const HTTP1: u16 = 8080;
pub const HTTP2: u16 = 8081;
pub const TCP: u16 = 4444;

pub struct Mesh {
    pub control: ControlPlane,
    pub client: Pod,
    pub server: Pod,
    pub outbound: Proxy,
    pub inbound: Proxy,
}

/// A client and a server pod, with applications on the server's ports.
pub async fn mesh() -> Mesh {
    let mut network = Network::new();
    let control = ControlPlane::start().await;
    let (client, server) = (network.add_pod().await, network.add_pod().await);
    for (port, hint) in [
        (HTTP1, Some(dst::protocol_hint::Protocol::H2(dst::protocol_hint::H2 {}))),
        (HTTP2, Some(dst::protocol_hint::Protocol::H2(dst::protocol_hint::H2 {}))),
        (TCP, Some(dst::protocol_hint::Protocol::Opaque(dst::protocol_hint::Opaque {}))),
    ] {
        let addr = SocketAddr::new(server.v4.into(), port);
        let profile = dst::DestinationProfile {
            opaque_protocol: port == TCP,
            endpoint: Some(meshed_endpoint(addr, hint, port == TCP)),
            ..Default::default()
        };
        control.set_profile(&addr.to_string(), profile);
    }
    server.start(applications).await;
    let outbound = Proxy::start(&client, &control, BOT, &[]).await;
    let opaque = &[("INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION", "4444")];
    let inbound = Proxy::start(&server, &control, WEB, opaque).await;
    Mesh { control, client, server, outbound, inbound }
}

pub fn meshed_endpoint(
    addr: SocketAddr,
    hint: Option<dst::protocol_hint::Protocol>,
    is_opaque: bool,
) -> dst::WeightedAddr {
    dst::WeightedAddr {
        addr: Some(net::TcpAddress { ip: Some(addr.ip().into()), port: addr.port().into() }),
        weight: 10_000,
        tls_identity: Some(dst::TlsIdentity {
            strategy: Some(dst::tls_identity::Strategy::DnsLikeIdentity(dst::tls_identity::DnsLikeIdentity {
                name: WEB.into(),
            })),
            server_name: None,
        }),
        protocol_hint: Some(dst::ProtocolHint {
            protocol: hint,
            opaque_transport: is_opaque.then_some(dst::protocol_hint::OpaqueTransport { inbound_port: 4143 }),
        }),
        ..Default::default()
    }
}

/// The profile of a pod's address whose proxy takes HTTP/2.
pub fn meshed_profile(addr: SocketAddr) -> dst::DestinationProfile {
    let hint = dst::protocol_hint::Protocol::H2(dst::protocol_hint::H2 {});
    dst::DestinationProfile { endpoint: Some(meshed_endpoint(addr, Some(hint), false)), ..Default::default() }
}

/// Applications on all three ports.
pub async fn applications(up: tokio::sync::oneshot::Sender<()>) {
    let http1 = TcpListener::bind(("::", HTTP1)).await.unwrap();
    let http2 = TcpListener::bind(("::", HTTP2)).await.unwrap();
    let tcp = TcpListener::bind(("::", TCP)).await.unwrap();
    let _ = up.send(());
    loop {
        tokio::select! {
            Ok((stream, _)) = http1.accept() => {
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer))
                    .with_upgrades();
                tokio::spawn(serving);
            }
            Ok((stream, _)) = http2.accept() => {
                tokio::spawn(hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service_fn(answer)));
            }
            Ok((mut stream, _)) = tcp.accept() => {
                tokio::spawn(async move {
                    // The server speaks first, and answers after the client's half is closed.
                    stream.write_all(b"hello ").await.unwrap();
                    let mut text = String::new();
                    stream.read_to_string(&mut text).await.unwrap();
                    stream.write_all(text.to_uppercase().as_bytes()).await.unwrap();
                });
            }
        }
    }
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let is_connect = request.method() == http::Method::CONNECT;
    if is_connect || request.headers().contains_key("upgrade") {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut pipe = TokioIo::new(upgrade.await.unwrap());
            let mut bytes = [0; 4];
            pipe.read_exact(&mut bytes).await.unwrap();
            pipe.write_all(&bytes.map(|b| b.to_ascii_uppercase())).await.unwrap();
        });
        let mut response = Response::builder();
        if !is_connect {
            response = response.status(StatusCode::SWITCHING_PROTOCOLS);
            response = response.header("connection", "upgrade").header("upgrade", "websocket");
        }
        return Ok(response.body(BoxBody::new(Full::default())).unwrap());
    }
    let mut response = Response::new(());
    for (name, value) in request.headers() {
        response.headers_mut().append(http::HeaderName::try_from(format!("saw-{name}")).unwrap(), value.clone());
    }
    let version = format!("{:?}", request.version());
    response.headers_mut().insert("saw-version", version.parse().unwrap());
    response.headers_mut().insert("saw-uri", request.uri().to_string().parse().unwrap());
    let is_grpc = request.headers().get("content-type").is_some_and(|v| v == "application/grpc");
    if let Some(status) = request.headers().get("status") {
        *response.status_mut() = StatusCode::from_bytes(status.as_bytes()).unwrap();
    }
    let body = request.into_body().collect().await.unwrap();
    let trailers =
        is_grpc.then(|| HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), "0".parse().unwrap())]));
    if is_grpc {
        response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    }
    let frames = [Some(Frame::data(body.to_bytes())), trailers.map(Frame::trailers)];
    let frames = frames.into_iter().flatten().map(Ok::<_, Infallible>);
    Ok(response.map(|()| BoxBody::new(StreamBody::new(Frames(frames.collect())))))
}

struct Frames(std::collections::VecDeque<Result<Frame<Bytes>, Infallible>>);

impl tonic::codegen::tokio_stream::Stream for Frames {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.pop_front())
    }
}

/// Sends bytes and reads until the other side closes.
pub async fn exchange(client: &Pod, to: SocketAddr, text: impl Into<String>) -> String {
    let text = text.into();
    client
        .run(move || async move {
            let mut stream = TcpStream::connect(to).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        })
        .await
}

#[test]
fn http1_goes_over_mutual_tls_and_both_sides_count_it() {
    isolated!(|| async {
        let mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v4.into(), HTTP1);
        // Two pipelined requests, the second with a chunked body.
        let answer = exchange(
            &mesh.client,
            to,
            "GET /a?b HTTP/1.1\r\nHost: web\r\nL5d-Client-Id: somebody\r\n\r\n\
             POST /c HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        )
        .await;
        assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{answer}");
        for part in ["saw-uri: /a?b\r\n", "saw-host: web\r\n", "saw-version: HTTP/1.1\r\n", "saw-uri: /c\r\n", "abc"] {
            assert!(answer.contains(part), "no {part:?} in {answer}");
        }
        assert_eq!(answer.matches(&format!("saw-l5d-client-id: {BOT}\r\n")).count(), 2, "{answer}");
        assert!(!answer.contains("somebody") && !answer.contains("saw-l5d-orig-proto"), "{answer}");
        let server_id = format!("server_id=\"{WEB}\"");
        let labels = ["direction=\"outbound\"", "tls=\"true\"", &server_id, "classification=\"success\""];
        assert_eq!(mesh.outbound.metric("response_total", &labels).await, Some(2.0));
        let client_id = format!("client_id=\"{BOT}\"");
        let labels = ["direction=\"inbound\"", "tls=\"true\"", &client_id, "status_code=\"200\""];
        assert_eq!(mesh.inbound.metric("response_total", &labels).await, Some(2.0));
    });
}

#[test]
fn http2_carries_bodies_trailers_and_the_clients_identity() {
    isolated!(|| async {
        let mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v4.into(), HTTP2);
        let large = Bytes::from(vec![7; 1_000_000]);
        let sent = large.clone();
        let (head, body, trailers) = mesh
            .client
            .run(move || async move {
                let stream = TokioIo::new(TcpStream::connect(to).await.unwrap());
                let (mut sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
                tokio::spawn(connection);
                let request = Request::post("http://web/test.Echo/Echo").header("content-type", "application/grpc");
                let request = request.header("te", "trailers").body(Full::new(sent)).unwrap();
                let (head, body) = sender.send_request(request).await.unwrap().into_parts();
                let body = body.collect().await.unwrap();
                let trailers = body.trailers().cloned();
                (head, body.to_bytes(), trailers)
            })
            .await;
        assert_eq!((head.status, head.version), (StatusCode::OK, Version::HTTP_2));
        assert_eq!(head.headers["saw-version"], "HTTP/2.0");
        assert_eq!(head.headers["saw-l5d-client-id"], BOT);
        assert!(body == large);
        assert_eq!(trailers.unwrap()["grpc-status"], "0");
        let labels = ["grpc_status=\"0\"", "classification=\"success\""];
        assert_eq!(mesh.outbound.metric("response_total", &labels).await, Some(1.0));
    });
}

#[test]
fn a_websocket_becomes_a_pipe() {
    isolated!(|| async {
        let mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v4.into(), HTTP1);
        let answer = exchange(
            &mesh.client,
            to,
            "GET /chat HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nping",
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("PING"), "{answer}");
    });
}

#[test]
fn opaque_bytes_go_by_transport_header_with_each_half_closed_alone() {
    isolated!(|| async {
        let mesh = mesh().await;
        let to = SocketAddr::new(mesh.server.v4.into(), TCP);
        let answer = mesh
            .client
            .run(move || async move {
                let mut stream = TcpStream::connect(to).await.unwrap();
                let mut answer = vec![0; 6];
                stream.read_exact(&mut answer).await.unwrap();
                stream.write_all(b"world").await.unwrap();
                stream.shutdown().await.unwrap();
                stream.read_to_end(&mut answer).await.unwrap();
                String::from_utf8(answer).unwrap()
            })
            .await;
        assert_eq!(answer, "hello WORLD");
        let client_id = format!("client_id=\"{BOT}\"");
        let labels = ["target_port=\"4444\"", &client_id];
        assert_eq!(mesh.inbound.metric("inbound_tcp_transport_header_connections_total", &labels).await, Some(1.0));
    });
}
