//! A Service of one or more pods whose applications answer by a script, a client pod whose proxy knows it, and the
//! requests that the client sends, over HTTP/1 and HTTP/2.

use super::{
    control_plane::ControlPlane,
    network::{Network, Pod},
    proxy::Proxy,
};
use crate::mesh::{BOT, meshed_endpoint};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use linkerd2_proxy_api::{destination as dst, outbound::OutboundPolicy};
use prost::Message;
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::net::{TcpListener, TcpStream};
use tonic::codegen::tokio_stream;
use tulle_proxy::control::overlay;

pub const SERVICE: &str = "10.96.0.1:80";
pub const PATH: &str = "web.test.svc.cluster.local:80";
const PORT: u16 = 8080;

/// What an application answers.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    /// Before the head.
    pub delay: Duration,
    /// With the wait before each.
    pub chunks: Vec<(Duration, &'static str)>,
    pub trailers: Option<Vec<(&'static str, &'static str)>>,
    /// The whole request is read before the head is sent.
    pub reads_first: bool,
}

#[derive(Clone, Debug)]
pub struct Seen {
    pub method: http::Method,
    pub uri: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

#[derive(Clone)]
pub struct App {
    /// Where it speaks HTTP/1 or HTTP/2, as its client does.
    pub addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// In order; the last one is for all that follow.
    replies: Vec<Reply>,
    count: usize,
    seen: Vec<Seen>,
}

pub struct Service {
    pub network: Network,
    pub control: ControlPlane,
    pub client: Pod,
    pub proxy: Proxy,
    /// Where requests go.
    pub to: SocketAddr,
    services: u8,
}

/// An answer as the client sees it.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
    pub trailers: Option<HeaderMap>,
    /// The body broke off.
    pub is_broken: bool,
    pub took: Duration,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            delay: Duration::ZERO,
            chunks: Vec::new(),
            trailers: None,
            reads_first: true,
        }
    }

    pub fn ok(text: &'static str) -> Self {
        Self { chunks: vec![(Duration::ZERO, text)], ..Self::status(200) }
    }

    pub fn after(delay_ms: u64, reply: Self) -> Self {
        Self { delay: Duration::from_millis(delay_ms), ..reply }
    }

    /// A response whose head says it all.
    pub fn trailers_only(code: &'static str) -> Self {
        Self { headers: vec![("grpc-status", code.into()), grpc_type()], ..Self::status(200) }
    }

    /// A response with these messages and a code at its end.
    pub fn grpc(chunks: &[(u64, &'static str)], code: &'static str) -> Self {
        let chunks = chunks.iter().map(|(ms, text)| (Duration::from_millis(*ms), *text)).collect();
        Self { chunks, headers: vec![grpc_type()], trailers: Some(vec![("grpc-status", code)]), ..Self::status(200) }
    }
}

fn grpc_type() -> (&'static str, String) {
    ("content-type", "application/grpc".into())
}

impl App {
    pub async fn start(network: &mut Network) -> Self {
        let pod = network.add_pod().await;
        let addr = SocketAddr::new(pod.v4.into(), PORT);
        let app = Self { addr, state: Arc::default() };
        app.set([Reply::ok("ok")]);
        let shared = app.clone();
        pod.start(move |up| async move {
            let listener = TcpListener::bind(addr).await.unwrap();
            let _ = up.send(());
            while let Ok((stream, _)) = listener.accept().await {
                let app = shared.clone();
                let service = service_fn(move |request| app.clone().answer(request));
                tokio::spawn(async move {
                    let mut start = [0; 3];
                    while stream.peek(&mut start).await.is_ok_and(|n| n > 0 && n < 3) {}
                    let stream = TokioIo::new(stream);
                    let _ = match &start == b"PRI" {
                        true => {
                            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                            builder.serve_connection(stream, service).await
                        }
                        false => hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await,
                    };
                });
            }
        })
        .await;
        app
    }

    /// Begins a script anew.
    pub fn set(&self, replies: impl IntoIterator<Item = Reply>) {
        *self.state.lock().unwrap() = State { replies: replies.into_iter().collect(), ..State::default() };
    }

    /// How many requests have come since the script was set.
    pub fn count(&self) -> usize {
        self.state.lock().unwrap().count
    }

    /// What has come since the script was set or this was last asked.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
        let reply = {
            let mut state = self.state.lock().unwrap();
            let at = state.count.min(state.replies.len() - 1);
            state.count += 1;
            state.replies[at].clone()
        };
        let (head, body) = request.into_parts();
        let state = self.state.clone();
        let note = async move {
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let seen = Seen { method: head.method, uri: head.uri.to_string(), headers: head.headers, body };
            state.lock().unwrap().seen.push(seen);
        };
        match reply.reads_first {
            true => note.await,
            false => drop(tokio::spawn(note)),
        }
        tokio::time::sleep(reply.delay).await;
        let mut response = Response::builder().status(reply.status).header("app", self.addr.to_string());
        for (name, value) in &reply.headers {
            response = response.header(*name, value);
        }
        let (sender, frames) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
        if reply.chunks.is_empty() && reply.trailers.is_none() {
            return Ok(response.body(BoxBody::new(Full::default())).unwrap());
        }
        tokio::spawn(async move {
            for (wait, text) in reply.chunks {
                tokio::time::sleep(wait).await;
                if sender.send(Ok(Frame::data(Bytes::from(text)))).await.is_err() {
                    return;
                }
            }
            if let Some(trailers) = reply.trailers {
                let trailers = trailers.into_iter().map(|(name, value)| (HeaderName::from_static(name), value));
                let trailers = trailers.map(|(name, value)| (name, value.parse().unwrap())).collect();
                let _ = sender.send(Ok(Frame::trailers(trailers))).await;
            }
        });
        Ok(response.body(BoxBody::new(StreamBody::new(Received(frames)))).unwrap())
    }
}

struct Received(tokio::sync::mpsc::Receiver<Result<Frame<Bytes>, Infallible>>);

impl tokio_stream::Stream for Received {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

impl Service {
    pub async fn start(policy: OutboundPolicy) -> Self {
        Self::start_with(policy, overlay::OutboundPolicy::default(), &[]).await
    }

    /// With fields of our own beside the policy, and settings of the proxy.
    pub async fn start_with(policy: OutboundPolicy, ours: overlay::OutboundPolicy, settings: &[(&str, &str)]) -> Self {
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        match ours == overlay::OutboundPolicy::default() {
            true => control.set_policy(SERVICE.parse().unwrap(), Ok(policy)),
            false => {
                let bytes = [policy.encode_to_vec(), ours.encode_to_vec()].concat();
                control.set_garbage("OutboundPolicies/Watch", &bytes);
            }
        }
        let client = network.add_pod().await;
        let proxy = Proxy::start(&client, &control, BOT, settings).await;
        Self { network, control, client, proxy, to: SERVICE.parse().unwrap(), services: 0 }
    }

    /// Another Service, which requests go to from now on.
    pub fn set(&mut self, policy: OutboundPolicy) {
        self.services += 1;
        self.to = SocketAddr::new([10, 96, 1, self.services].into(), 80);
        self.control.set_policy(self.to, Ok(policy));
    }

    /// Applications as the endpoints of `path`.
    pub async fn add(&mut self, path: &str, count: usize) -> Vec<App> {
        let mut apps = Vec::new();
        for _ in 0..count {
            apps.push(App::start(&mut self.network).await);
        }
        self.set_endpoints(path, apps.iter().map(|app| app.addr));
        apps
    }

    /// One application, as the endpoint of `PATH`.
    pub async fn add_one(&mut self) -> App {
        self.add(PATH, 1).await.remove(0)
    }

    pub fn set_endpoints(&self, path: &str, addrs: impl IntoIterator<Item = SocketAddr>) {
        let plain = |addr| dst::WeightedAddr { tls_identity: None, ..meshed_endpoint(addr, None, false) };
        self.control.set_endpoints(path, addrs.into_iter().map(plain).collect());
    }

    /// Over HTTP/1, on a connection of its own.
    pub async fn ask(&self, request: http::request::Builder) -> Answer {
        self.send(request, "", false).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Request::get(path).header("host", "web")).await
    }

    /// Over HTTP/2 with gRPC's content type.
    pub async fn call(&self, path: &str) -> Answer {
        let request = Request::post(format!("http://web{path}"));
        self.send(request.header("content-type", "application/grpc").header("te", "trailers"), "message", true).await
    }

    pub async fn send(&self, request: http::request::Builder, body: impl Into<String>, is_http2: bool) -> Answer {
        let request = request.body(Full::new(Bytes::from(body.into()))).unwrap();
        let to = self.to;
        self.client
            .run(move || async move {
                let stream = TokioIo::new(TcpStream::connect(to).await.unwrap());
                let started = Instant::now();
                let response = if is_http2 {
                    let (mut sender, connection) =
                        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
                    tokio::spawn(connection);
                    sender.send_request(request).await
                } else {
                    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
                    tokio::spawn(connection);
                    sender.send_request(request).await
                };
                let (head, mut body) = response.unwrap().into_parts();
                let mut answer = Answer {
                    status: head.status.as_u16(),
                    headers: head.headers,
                    body: String::new(),
                    trailers: None,
                    is_broken: false,
                    took: Duration::ZERO,
                };
                while let Some(frame) = body.frame().await {
                    match frame.map(Frame::into_data) {
                        Ok(Ok(data)) => answer.body += std::str::from_utf8(&data).unwrap(),
                        Ok(Err(frame)) => answer.trailers = frame.into_trailers().ok(),
                        Err(_) => {
                            answer.is_broken = true;
                            break;
                        }
                    }
                }
                answer.took = started.elapsed();
                answer
            })
            .await
    }

    /// The sum of a metric; zero where there is none.
    pub async fn count(&self, family: &str, labels: &[&str]) -> f64 {
        self.proxy.metric(family, labels).await.unwrap_or(0.0)
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// From the head or the trailers.
    pub fn grpc_status(&self) -> &str {
        let in_trailers = self.trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
        in_trailers.map_or_else(|| self.header("grpc-status"), |value| value.to_str().unwrap())
    }

    /// The proxy's own word.
    pub fn error(&self) -> &str {
        self.header("l5d-proxy-error")
    }
}
