//! What goes over the wire between proxies, seen by a peer that is no proxy: the test plays one side, byte for byte.

use crate::{
    isolated,
    mesh::{BOT, WEB, exchange, meshed_endpoint, meshed_profile},
    support::{
        authority::{Authority, Identity, TRANSPORT_ALPN},
        control_plane::ControlPlane,
        network::{Network, Pod},
        proxy::Proxy,
    },
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use linkerd2_proxy_api::destination as dst;
use rustls_pki_types::ServerName;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

const PREFACE: &[u8] = b"transport.l5d.io/v1\r\n\r\n";
/// `Header { port: 4444 }` in protobuf.
const HEADER_FOR_4444: &[u8] = &[8, 0xdc, 0x22];
const LIMIT: Duration = Duration::from_secs(10);

struct Sides {
    control: ControlPlane,
    /// Has a proxy.
    meshed: Pod,
    proxy: Proxy,
    /// Has none: the test is its proxy.
    bare: Pod,
}

async fn sides(name: &str) -> Sides {
    let mut network = Network::new();
    let control = ControlPlane::start().await;
    let (meshed, bare) = (network.add_pod().await, network.add_pod().await);
    let opaque = &[("INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION", "4444")];
    let proxy = Proxy::start(&meshed, &control, name, opaque).await;
    Sides { control, meshed, proxy, bare }
}

/// Takes one connection as the proxy of WEB would, and hands it to `serve`.
async fn start_peer<F: Future<Output = ()>>(
    sides: &Sides,
    port: u16,
    alpn: &'static [&'static [u8]],
    serve: impl FnOnce(server::TlsStream<TcpStream>) -> F + Send + 'static,
) {
    let config = sides.control.authority.server_config(sides.control.authority.issue(WEB), alpn);
    sides
        .bare
        .start(move |up: oneshot::Sender<()>| async move {
            let listener = TcpListener::bind(("0.0.0.0", port)).await.unwrap();
            let _ = up.send(());
            let (tcp, _) = listener.accept().await.unwrap();
            serve(TlsAcceptor::from(config).accept(tcp).await.unwrap()).await;
        })
        .await;
}

#[test]
fn http1_travels_as_http2_with_its_version_beside_it() {
    isolated!(|| async {
        let sides = sides(BOT).await;
        let to = SocketAddr::new(sides.bare.v4.into(), 8080);
        sides.control.set_profile(&to.to_string(), meshed_profile(to));
        let (seen, has_seen) = oneshot::channel();
        start_peer(&sides, 8080, &[], |stream| async move {
            let session = stream.get_ref().1;
            let certificates = session.peer_certificates().unwrap();
            // The name is in the leaf as it is written.
            let is_bot = certificates[0].windows(BOT.len()).any(|bytes| bytes == BOT.as_bytes());
            let tls = (session.server_name().unwrap().to_owned(), session.alpn_protocol().is_none(), is_bot);
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            let response = Response::builder()
                .header("l5d-orig-proto", "HTTP/1.1")
                .header("l5d-proxy-error", "not for the application")
                .header("kept", "yes");
            respond.send_response(response.body(()).unwrap(), true).unwrap();
            seen.send((tls, request.map(drop))).unwrap();
            while connection.accept().await.is_some() {}
        })
        .await;
        let request = "GET http://web/x HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nConnection: close, hop\r\n\
                       Hop: 1\r\n\r\n0\r\n\r\n";
        let answer = exchange(&sides.meshed, to, request).await;
        let (tls, request) = has_seen.await.unwrap();
        assert_eq!(tls, (WEB.to_owned(), true, true), "SNI, no ALPN, client certificate");
        assert_eq!(request.headers()["l5d-orig-proto"], "HTTP/1.1; absolute-form");
        assert_eq!(request.uri().authority().unwrap(), "web");
        for hop_by_hop in ["transfer-encoding", "connection", "hop", "l5d-client-id"] {
            assert!(!request.headers().contains_key(hop_by_hop), "{hop_by_hop}");
        }
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("kept: yes\r\n"), "{answer}");
        assert!(!answer.contains("l5d-"), "{answer}");
    });
}

#[test]
fn opaque_bytes_follow_a_transport_header() {
    isolated!(|| async {
        let sides = sides(BOT).await;
        let to = SocketAddr::new(sides.bare.v4.into(), 4444);
        let hint = dst::protocol_hint::Protocol::Opaque(dst::protocol_hint::Opaque {});
        let profile = dst::DestinationProfile {
            opaque_protocol: true,
            endpoint: Some(meshed_endpoint(to, Some(hint), true)),
            ..Default::default()
        };
        sides.control.set_profile(&to.to_string(), profile);
        let (seen, has_seen) = oneshot::channel();
        start_peer(&sides, 4143, &[TRANSPORT_ALPN], |mut stream| async move {
            let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            let mut bytes = vec![0; PREFACE.len() + 4 + HEADER_FOR_4444.len() + 5];
            stream.read_exact(&mut bytes).await.unwrap();
            stream.write_all(b"world").await.unwrap();
            stream.shutdown().await.unwrap();
            seen.send((alpn, bytes)).unwrap();
        })
        .await;
        assert_eq!(exchange(&sides.meshed, to, "hello").await, "world");
        let (alpn, bytes) = has_seen.await.unwrap();
        assert_eq!(alpn.as_deref(), Some(TRANSPORT_ALPN));
        assert_eq!(bytes, [PREFACE, &3u32.to_be_bytes(), HEADER_FOR_4444, b"hello"].concat());
    });
}

/// Connects to the meshed pod as a client with `identity`, in the bare pod.
async fn connect(
    authority: &Authority,
    identity: Option<Identity>,
    alpn: &[&[u8]],
    to: SocketAddr,
) -> io::Result<client::TlsStream<TcpStream>> {
    let connector = TlsConnector::from(authority.client_config(identity, alpn));
    connector.connect(ServerName::try_from(WEB).unwrap(), TcpStream::connect(to).await?).await
}

/// Everything until the other side closes or resets; empty when nothing came.
async fn read_all(mut stream: client::TlsStream<TcpStream>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut bytes)).await.expect("the proxy ends the connection");
    bytes
}

#[test]
fn http2_that_was_http1_reaches_the_application_as_http1() {
    isolated!(|| async {
        let sides = sides(WEB).await;
        sides
            .meshed
            .start(|up: oneshot::Sender<()>| async move {
                let listener = TcpListener::bind(("0.0.0.0", 8080)).await.unwrap();
                let _ = up.send(());
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                // The application sends back the head of the request.
                let length = request.len();
                let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                stream.write_all(&[head.as_bytes(), &request].concat()).await.unwrap();
            })
            .await;
        let (authority, to) = (sides.control.authority.clone(), SocketAddr::new(sides.meshed.v4.into(), 8080));
        let (head, body) = sides
            .bare
            .run(move || async move {
                let stream = connect(&authority, Some(authority.issue(BOT)), &[], to).await.unwrap();
                let (sender, connection) = h2::client::handshake(stream).await.unwrap();
                tokio::task::spawn_local(connection);
                let request = Request::get("http://web/x?y").header("l5d-orig-proto", "HTTP/1.1");
                let request = request.header("l5d-client-id", "forged").body(()).unwrap();
                let (response, _) = sender.ready().await.unwrap().send_request(request, true).unwrap();
                let (head, mut body) = response.await.unwrap().into_parts();
                let body = body.data().await.unwrap().unwrap();
                (head, String::from_utf8(body.to_vec()).unwrap())
            })
            .await;
        assert_eq!((head.status, &head.headers["l5d-orig-proto"]), (StatusCode::OK, &"HTTP/1.0".parse().unwrap()));
        assert!(!head.headers.contains_key("connection"));
        assert!(
            body.starts_with("GET /x?y HTTP/1.1\r\n") && body.to_lowercase().contains("\r\nhost: web\r\n"),
            "{body}"
        );
        assert!(body.contains(&format!("l5d-client-id: {BOT}\r\n")) && !body.contains("forged"), "{body}");
        assert!(!body.contains("l5d-orig-proto"), "{body}");
    });
}

/// Direct connections that are not what they must be. Each ends without a byte from the application.
#[test]
fn direct_connections_must_have_certificate_protocol_and_header() {
    isolated!(|| async {
        let sides = sides(WEB).await;
        sides
            .meshed
            .start(|up: oneshot::Sender<()>| async move {
                let listener = TcpListener::bind(("0.0.0.0", 4444)).await.unwrap();
                let _ = up.send(());
                while let Ok((mut stream, _)) = listener.accept().await {
                    tokio::task::spawn_local(async move { stream.write_all(b"application").await });
                }
            })
            .await;
        let direct = SocketAddr::new(sides.meshed.v4.into(), 4143);
        let authority = sides.control.authority.clone();
        let header = |message: &[u8]| [PREFACE, &(message.len() as u32).to_be_bytes(), message].concat();
        sides
            .bare
            .run(move || async move {
                let ask = async |identity: Option<Identity>, alpn: &[&[u8]], chunks: &[&[u8]]| {
                    let mut stream = connect(&authority, identity, alpn, direct).await?;
                    for chunk in chunks {
                        stream.write_all(chunk).await?;
                        stream.flush().await?;
                    }
                    io::Result::Ok(read_all(stream).await)
                };
                let bot = || Some(authority.issue(BOT));
                let good = header(HEADER_FOR_4444);
                let alpn: &[&[u8]] = &[TRANSPORT_ALPN];
                assert_eq!(ask(bot(), alpn, &[&good]).await.unwrap(), b"application");
                let bytes: Vec<&[u8]> = good.chunks(1).collect();
                assert_eq!(ask(bot(), alpn, &bytes).await.unwrap(), b"application", "byte by byte");
                let refused = [
                    ask(None, alpn, &[&good]).await,
                    ask(bot(), &[], &[&good]).await,
                    ask(bot(), alpn, &[b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"]).await,
                    ask(bot(), alpn, &[&header(&[8, 0])]).await,
                    ask(bot(), alpn, &[&header(&[8, 0x80, 0x80, 4])]).await,
                    ask(bot(), alpn, &[&header(&[0xff; 9])]).await,
                    ask(bot(), alpn, &[PREFACE, &u32::MAX.to_be_bytes(), &[0; 64]]).await,
                ];
                for (at, answer) in refused.into_iter().enumerate() {
                    assert!(answer.is_err() || answer.is_ok_and(|bytes| bytes.is_empty()), "case {at}");
                }
            })
            .await;
        assert!(sides.proxy.admin("GET", "/ready").await.is_some(), "the proxy lives on");
    });
}

#[test]
fn clients_must_be_certified_by_the_same_authority_and_in_time() {
    isolated!(|| async {
        let sides = sides(WEB).await;
        let to = SocketAddr::new(sides.meshed.v4.into(), 8080);
        sides
            .meshed
            .start(|up: oneshot::Sender<()>| async move {
                let listener = TcpListener::bind(("0.0.0.0", 8080)).await.unwrap();
                let _ = up.send(());
                while let Ok((mut stream, _)) = listener.accept().await {
                    tokio::task::spawn_local(async move {
                        let _ = stream.read(&mut [0; 1024]).await;
                        let _ = stream
                            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                            .await;
                    });
                }
            })
            .await;
        let authority = sides.control.authority.clone();
        sides
            .bare
            .run(move || async move {
                let stranger = Arc::new(Authority::new());
                let ask = async |identity| {
                    let mut stream = connect(&authority, identity, &[], to).await?;
                    let request = Bytes::from_static(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
                    stream.write_all(&request).await?;
                    io::Result::Ok(String::from_utf8(read_all(stream).await).unwrap())
                };
                let is_answered =
                    |answer: io::Result<String>| answer.is_ok_and(|text| text.starts_with("HTTP/1.1 200"));
                assert!(is_answered(ask(Some(authority.issue(BOT))).await));
                assert!(is_answered(ask(None).await), "a certificate is not required by this policy");
                assert!(!is_answered(ask(Some(authority.issue_expired(BOT))).await), "expired");
                assert!(!is_answered(ask(Some(stranger.issue(BOT))).await), "another authority's");
            })
            .await;
    });
}
