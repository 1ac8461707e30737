//! A pod with an application that answers as the test says at the moment, and what asks it.

use super::network::{Network, Pod};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

pub const HTTP1: u16 = 8080;
pub const HTTP2: u16 = 8081;

pub struct Replica {
    pub pod: Pod,
    /// Where it speaks HTTP/1.
    pub addr: SocketAddr,
    /// Where it speaks HTTP/2.
    pub http2: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Clone)]
pub struct Behaviour {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub delay: Duration,
    /// Closes the connection instead of an answer.
    pub breaks: bool,
}

struct State {
    behaviour: Behaviour,
    seen: Vec<HeaderMap>,
}

/// One answer: its status and body. A replica's body is its HTTP/1 address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub head: String,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { status: 200, headers: Vec::new(), delay: Duration::ZERO, breaks: false }
    }
}

impl Replica {
    pub async fn start(network: &mut Network) -> Self {
        let pod = network.add_pod().await;
        let [addr, http2] = [HTTP1, HTTP2].map(|port| SocketAddr::new(pod.v4.into(), port));
        let state = Arc::new(Mutex::new(State { behaviour: Behaviour::default(), seen: Vec::new() }));
        let shared = state.clone();
        pod.start(move |up| async move {
            let (one, two) = (TcpListener::bind(addr).await.unwrap(), TcpListener::bind(http2).await.unwrap());
            let _ = up.send(());
            loop {
                let state = shared.clone();
                let service = service_fn(move |request| answer(addr, state.clone(), request));
                tokio::select! {
                    Ok((stream, _)) = one.accept() => tokio::spawn(async move {
                        let _ = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service).await;
                    }),
                    Ok((stream, _)) = two.accept() => tokio::spawn(async move {
                        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(TokioIo::new(stream), service).await;
                    }),
                };
            }
        })
        .await;
        Self { pod, addr, http2, state }
    }

    pub fn set(&self, behaviour: Behaviour) {
        self.lock().behaviour = behaviour;
    }

    pub fn set_status(&self, status: u16) {
        self.set(Behaviour { status, ..Behaviour::default() });
    }

    /// The headers of the requests that it has seen since this was last asked.
    pub fn take_seen(&self) -> Vec<HeaderMap> {
        std::mem::take(&mut self.lock().seen)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, &'static str> {
    let behaviour = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.seen.push(request.headers().clone());
        state.behaviour.clone()
    };
    tokio::time::sleep(behaviour.delay).await;
    if behaviour.breaks {
        return Err("broken");
    }
    let mut response = Response::builder().status(behaviour.status);
    for (name, value) in behaviour.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(Bytes::from(addr.to_string()))).unwrap())
}

/// Sends each request on a connection of its own, one after the other: lines of a request's head beside `Host`.
pub async fn ask(client: &Pod, to: SocketAddr, heads: Vec<String>) -> Vec<Answer> {
    client
        .run(move || async move {
            let mut answers = Vec::new();
            for head in heads {
                let mut stream = TcpStream::connect(to).await.unwrap();
                let (line, headers) = head.split_once('\n').unwrap_or((&head, ""));
                let host = if headers.starts_with("Host:") { "" } else { "Host: web\r\n" };
                let headers: String = headers.lines().map(|line| format!("{line}\r\n")).collect();
                let text = format!("{line} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n");
                stream.write_all(text.as_bytes()).await.unwrap();
                let mut answer = String::new();
                let _ = stream.read_to_string(&mut answer).await;
                answers.push(Answer::parse(&answer));
            }
            answers
        })
        .await
}

/// The same request so often.
pub async fn ask_times(client: &Pod, to: SocketAddr, times: usize) -> Vec<Answer> {
    ask(client, to, vec!["GET /".to_owned(); times]).await
}

/// How many answers there are of each body; of those without one, by status.
pub fn count(answers: &[Answer]) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for answer in answers {
        let key = if answer.status == 200 { answer.body.clone() } else { answer.status.to_string() };
        *counts.entry(key).or_default() += 1;
    }
    counts
}

impl Answer {
    /// Status 0: the connection was closed without an answer.
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, body: body.to_owned(), head: head.to_owned() }
    }
}
