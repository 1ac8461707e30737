//! What runs when a policy changes: requests that wait, responses that go on and pipes end when the new policy does not let
//! them in, and are not touched when it does.

use crate::{
    isolated,
    mesh::{BOT, HTTP1, WEB},
    support::{
        authority::Authority,
        control_plane::ControlPlane,
        inbound::{any_mesh_tls, ask, clients, connect_as, detect, everybody, only, server},
        network::{Network, Pod},
        proxy::Proxy,
    },
};
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Channel, channel::Sender};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use linkerd2_proxy_api::{
    http_route as matches,
    inbound::{
        Authz, HttpRoute, Server, http_route,
        proxy_protocol::{Kind, Opaque},
    },
};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::client::TlsStream;

const OTHER: &str = "other.test.serviceaccount.identity.linkerd.cluster.local";
const LIMIT: Duration = Duration::from_secs(10);
const DENIED: &str = "GET /a HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";

/// An application whose responses go on until the test says so.
#[derive(Clone, Default)]
struct Speaker {
    responses: Arc<Mutex<Vec<Sender<Bytes>>>>,
    /// How many responses flow as fast as they can.
    floods: Arc<AtomicUsize>,
}

impl Speaker {
    async fn start(&self, pod: &Pod) {
        let speaker = self.clone();
        pod.start(move |up| async move {
            let listener = TcpListener::bind(("::", HTTP1)).await.unwrap();
            let _ = up.send(());
            while let Ok((stream, _)) = listener.accept().await {
                let speaker = speaker.clone();
                let service = service_fn(move |request| speaker.clone().answer(request));
                tokio::spawn(async move {
                    let mut start = [0; 3];
                    while stream.peek(&mut start).await.is_ok_and(|n| n > 0 && n < 3) {}
                    let stream = TokioIo::new(stream);
                    if &start == b"PRI" {
                        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = builder.serve_connection(stream, service).await;
                    } else {
                        let builder = hyper::server::conn::http1::Builder::new();
                        let _ = builder.serve_connection(stream, service).with_upgrades().await;
                    }
                });
            }
        })
        .await;
    }

    async fn answer(self, mut request: Request<Incoming>) -> Result<Response<Channel<Bytes>>, hyper::Error> {
        if request.uri().path() == "/wait" {
            return std::future::pending().await;
        }
        let (mut sender, body) = Channel::new(16);
        let mut response = Response::new(body);
        if request.uri().path() == "/flood" {
            let floods = self.floods.clone();
            floods.fetch_add(1, SeqCst);
            tokio::spawn(async move {
                while sender.send_data(Bytes::from_static(&[0; 65_536])).await.is_ok() {}
                floods.fetch_sub(1, SeqCst);
            });
            return Ok(response);
        }
        if request.headers().contains_key("upgrade") {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert("connection", "upgrade".parse().unwrap());
            response.headers_mut().insert("upgrade", "websocket".parse().unwrap());
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut pipe = TokioIo::new(upgrade.await.unwrap());
                let mut bytes = [0; 4];
                while pipe.read_exact(&mut bytes).await.is_ok() && pipe.write_all(&bytes).await.is_ok() {}
            });
            return Ok(response);
        }
        if let Some(kind) = request.headers().get("content-type") {
            response.headers_mut().insert("content-type", kind.clone());
        }
        self.responses.lock().unwrap().push(sender);
        self.say("open");
        // The request is taken as it comes, and its end is nobody's concern.
        tokio::spawn(request.into_body().collect());
        Ok(response)
    }

    /// Sends a word on every response.
    fn say(&self, word: &'static str) {
        for response in &mut *self.responses.lock().unwrap() {
            let _ = response.try_send(http_body::Frame::data(Bytes::from_static(word.as_bytes())));
        }
    }

    /// How many responses somebody still takes.
    fn heard(&self) -> usize {
        let mut responses = self.responses.lock().unwrap();
        responses.iter_mut().filter_map(|r| r.try_send(http_body::Frame::data(Bytes::from_static(b"?"))).ok()).count()
    }
}

struct Stage {
    _network: Network,
    control: ControlPlane,
    authority: Arc<Authority>,
    to: SocketAddr,
    proxy: Proxy,
    app: Speaker,
}

impl Stage {
    async fn set(policy: Server) -> Self {
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        let pod = network.add_pod().await;
        let app = Speaker::default();
        app.start(&pod).await;
        let env = [("INBOUND_DEFAULT_POLICY", "deny"), ("INBOUND_PORTS", "8080")];
        control.set_inbound(4191, Ok(server(detect(), vec![everybody()])));
        control.set_inbound(HTTP1, Ok(policy.clone()));
        let proxy = Proxy::start(&pod, &control, WEB, &env).await;
        let authority = control.authority.clone();
        let to = SocketAddr::new(pod.v4.into(), HTTP1);
        let mut stage = Self { _network: network, control, authority, to, proxy, app };
        stage.change(policy).await;
        stage
    }

    /// Waits until the policy, which must refuse clients without a mesh, is in force.
    async fn change(&mut self, policy: Server) {
        let label = format!("srv_name=\"{}\"", policy.labels["name"]);
        self.control.set_inbound(HTTP1, Ok(policy));
        let to = self.to;
        let is_in_force = async |proxy: &Proxy| {
            ask(to, DENIED).await;
            let families =
                ["inbound_http_authz_deny_total", "inbound_http_errors_total", "inbound_tcp_authz_deny_total"];
            for family in families {
                if proxy.metric(family, &[&label]).await.is_some() {
                    return true;
                }
            }
            false
        };
        self.proxy.wait_for("the policy", is_in_force).await;
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        connect_as(&self.authority, Some(BOT), &[], self.to).await.unwrap()
    }

    async fn terminated(&self) -> Option<f64> {
        let client = format!("client_id=\"{BOT}\"");
        self.proxy.metric("inbound_http_authz_terminate_total", &[&client, "target_port=\"8080\""]).await
    }
}

fn policy(name: &str, kind: Kind, authz: Vec<Authz>) -> Server {
    let mut policy = server(kind, authz);
    policy.labels.insert("name".into(), name.into());
    policy
}

/// An HTTP/1 connection on which one request has been sent; what comes of it, piece by piece.
fn speak(mut stream: TlsStream<TcpStream>, request: &'static str) -> mpsc::Receiver<String> {
    let (sender, pieces) = mpsc::channel(16);
    tokio::spawn(async move {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = [0; 1024];
        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
            let _ = sender.send(String::from_utf8_lossy(&buffer[..n]).into_owned()).await;
        }
    });
    pieces
}

async fn until(pieces: &mut mpsc::Receiver<String>, word: &str) -> String {
    let mut text = String::new();
    while !text.contains(word) {
        let piece = tokio::time::timeout(LIMIT, pieces.recv()).await.expect("a piece in time");
        text += &piece.unwrap_or_else(|| panic!("no {word:?}: {text:?}"));
    }
    text
}

/// What comes until the end.
async fn rest(pieces: &mut mpsc::Receiver<String>) -> String {
    let mut text = String::new();
    while let Some(piece) = tokio::time::timeout(LIMIT, pieces.recv()).await.expect("an end") {
        text += &piece;
    }
    text
}

struct Call {
    send: SendStream<Bytes>,
    body: RecvStream,
}

async fn call(sender: &h2::client::SendRequest<Bytes>, is_grpc: bool, is_end: bool) -> Call {
    let mut request = Request::post("http://web/a.B/C");
    if is_grpc {
        request = request.header("content-type", "application/grpc");
    }
    let mut sender = sender.clone().ready().await.unwrap();
    let (response, send) = sender.send_request(request.body(()).unwrap(), is_end).unwrap();
    let response = tokio::time::timeout(LIMIT, response).await.expect("a response").unwrap();
    assert_eq!(response.status(), 200);
    Call { send, body: response.into_body() }
}

impl Call {
    async fn until(&mut self, word: &str) {
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains(word) {
            let data = tokio::time::timeout(LIMIT, self.body.data()).await.expect("data in time");
            text.extend_from_slice(&data.expect("data").unwrap());
        }
    }

    /// The status in the trailers, or else what the stream was reset with.
    async fn end(&mut self) -> Result<String, Option<Reason>> {
        let end = async {
            while let Some(data) = self.body.data().await {
                data.map_err(|error| error.reason())?;
            }
            let trailers = self.body.trailers().await.map_err(|error| error.reason())?;
            Ok(trailers.unwrap_or_default().get("grpc-status").map_or("", |v| v.to_str().unwrap()).to_owned())
        };
        tokio::time::timeout(LIMIT, end).await.expect("an end")
    }
}

#[test]
fn what_runs_ends_with_its_permission_and_not_before() {
    isolated!(|| async {
        let mut stage = Stage::set(policy("first", detect(), vec![only(BOT)])).await;
        let mut stream = speak(stage.connect().await, "GET /events HTTP/1.1\r\nHost: web\r\n\r\n");
        let upgrade = "GET / HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nping";
        let mut pipe = speak(stage.connect().await, upgrade);
        let mut waiting = speak(stage.connect().await, "GET /wait HTTP/1.1\r\nHost: web\r\n\r\n");
        let (sender, connection) = h2::client::handshake(stage.connect().await).await.unwrap();
        tokio::spawn(connection);
        let mut plain = call(&sender, false, true).await;
        let mut served = call(&sender, true, true).await;
        let mut both_ways = call(&sender, true, false).await;
        until(&mut stream, "open").await;
        until(&mut pipe, "ping").await;

        // The same again, another that allows it, several, and one that takes the port's connections as bytes.
        let changes = [
            policy("second", detect(), vec![only(BOT)]),
            policy(
                "third",
                detect(),
                vec![clients(&[], &[&["test", "serviceaccount", "identity", "linkerd", "cluster", "local"]])],
            ),
            policy("fourth", detect(), vec![only(OTHER), any_mesh_tls()]),
            policy("fifth", Kind::Opaque(Opaque {}), vec![only(BOT)]),
        ];
        for change in changes {
            stage.change(change).await;
            stage.app.say("more");
            until(&mut stream, "more").await;
            for call in [&mut plain, &mut served, &mut both_ways] {
                call.until("more").await;
            }
            both_ways.send.send_data(Bytes::from_static(b"data"), false).unwrap();
        }
        assert_eq!(stage.terminated().await, None);

        stage.change(policy("last", detect(), vec![only(OTHER)])).await;
        // The connection breaks in the middle of the body.
        let end = rest(&mut stream).await;
        assert!(!end.contains("0\r\n\r\n"), "{end:?}");
        assert_eq!(rest(&mut pipe).await, "");
        let answer = until(&mut waiting, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert_eq!(plain.end().await, Err(Some(Reason::CANCEL)));
        assert_eq!(served.end().await, Ok("7".to_owned()));
        assert_eq!(both_ways.end().await, Err(Some(Reason::INADEQUATE_SECURITY)));
        let has_counted =
            async |p: &Proxy| p.metric("inbound_http_authz_terminate_total", &["srv_name=\"last\""]).await == Some(6.0);
        stage.proxy.wait_for("the counter", has_counted).await;
        // The application has lost them too.
        let app = stage.app.clone();
        stage.proxy.wait_for("the application's end", async |_| app.heard() == 0).await;
        // The HTTP/2 connection goes on, for whatever is allowed.
        stage.change(policy("again", detect(), vec![only(BOT)])).await;
        call(&sender, false, true).await.until("open").await;
        assert_eq!(stage.terminated().await, Some(6.0));
    });
}

#[test]
fn a_client_that_reads_nothing_is_cut_all_the_same() {
    isolated!(|| async {
        let mut stage = Stage::set(policy("first", detect(), vec![only(BOT)])).await;
        let mut http1 = stage.connect().await;
        http1.write_all(b"GET /flood HTTP/1.1\r\nHost: web\r\n\r\n").await.unwrap();
        http1.flush().await.unwrap();
        let (sender, connection) = h2::client::handshake(stage.connect().await).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("http://web/flood").body(()).unwrap();
        let (response, _) = sender.ready().await.unwrap().send_request(request, true).unwrap();
        let body = response.await.unwrap().into_body();
        let floods = stage.app.floods.clone();
        stage.proxy.wait_for("both", async |_| floods.load(SeqCst) == 2).await;
        stage.change(policy("last", detect(), vec![only(OTHER)])).await;
        stage.proxy.wait_for("the end", async |_| floods.load(SeqCst) == 0).await;
        assert_eq!(stage.terminated().await, Some(2.0));
        drop((http1, body));
    });
}

/// A route for requests whose path begins so, and whose header `who` is so where one is given.
fn route(prefix: &str, who: Option<&str>, authorizations: Vec<Authz>) -> HttpRoute {
    use linkerd2_proxy_api::http_route::header_match::Value;
    let path = matches::PathMatch { kind: Some(matches::path_match::Kind::Prefix(prefix.into())) };
    let header = |who: &str| matches::HeaderMatch { name: "who".into(), value: Some(Value::Exact(who.into())) };
    let headers = who.into_iter().map(header).collect();
    let matches = vec![matches::HttpRouteMatch { path: Some(path), headers, ..Default::default() }];
    let rules = vec![http_route::Rule { matches, ..Default::default() }];
    let metadata = crate::support::inbound::named(prefix);
    HttpRoute { metadata, authorizations, rules, ..Default::default() }
}

#[test]
fn a_running_request_is_judged_by_the_route_that_it_would_have_now() {
    isolated!(|| async {
        let detect = |routes| Kind::Detect(crate::support::inbound::detect_with(routes));
        let by_path = |a, b| detect(vec![route("/a", None, vec![only(a)]), route("/b", None, vec![only(b)])]);
        let by_header = |a, b| {
            let other = route("/", None, vec![only(BOT)]);
            detect(vec![route("/a", Some("me"), vec![only(a)]), route("/a", Some("you"), vec![only(b)]), other])
        };
        let mut stage = Stage::set(policy("first", by_path(BOT, BOT), vec![])).await;
        let requests =
            ["GET /a HTTP/1.1\r\nHost: web\r\nWho: me\r\n\r\n", "GET /b HTTP/1.1\r\nHost: web\r\nWho: me\r\n\r\n"];
        let open = async |stage: &Stage, request| {
            let mut stream = speak(stage.connect().await, request);
            until(&mut stream, "open").await;
            stream
        };
        let (mut a, mut b) = (open(&stage, requests[0]).await, open(&stage, requests[1]).await);
        stage.change(policy("second", by_path(OTHER, BOT), vec![])).await;
        assert!(!rest(&mut a).await.contains("0\r\n"));
        stage.app.say("more");
        until(&mut b, "more").await;
        // A policy without a route for it.
        stage.change(policy("third", detect(vec![route("/a", None, vec![only(BOT)])]), vec![])).await;
        rest(&mut b).await;

        // Headers that nobody looked at before may be any; those of a request that came under rules about them are known.
        let mut a = open(&stage, requests[0]).await;
        stage.change(policy("fourth", by_header(BOT, BOT), vec![])).await;
        stage.app.say("more");
        until(&mut a, "more").await;
        let mut known = open(&stage, requests[0]).await;
        stage.change(policy("fifth", by_header(BOT, OTHER), vec![])).await;
        rest(&mut a).await;
        stage.app.say("more");
        until(&mut known, "more").await;
        stage.change(policy("sixth", by_header(OTHER, BOT), vec![])).await;
        rest(&mut known).await;
        assert_eq!(stage.terminated().await, Some(4.0));
    });
}
