//! The admin server: readiness, liveness, metrics, log level, shutdown.

use crate::drain;
use crate::logging;
use crate::metrics::Registry;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A log filter is a line; what is longer is a mistake.
const FILTER_BYTES_MAX: usize = 8 * 1024;
/// A client that says nothing holds a connection no longer than this.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the admin server answers from.
#[derive(Clone)]
pub struct Admin(Arc<Inner>);

struct Inner {
    metrics: Registry,
    is_ready: AtomicBool,
    is_shutdown_enabled: bool,
    shutdown: Notify,
}

impl Admin {
    pub fn new(config: &crate::config::Admin, metrics: Registry) -> Self {
        Self(Arc::new(Inner {
            metrics,
            is_ready: AtomicBool::new(false),
            is_shutdown_enabled: config.is_shutdown_enabled,
            shutdown: Notify::new(),
        }))
    }

    /// From now on the proxy says that it is ready.
    pub fn set_ready(&self) {
        self.0.is_ready.store(true, Ordering::Release);
    }

    /// Resolves when somebody asks for the end by `POST /shutdown`.
    pub async fn shutdown_requested(&self) {
        self.0.shutdown.notified().await;
    }

    /// Serves until the drain is over: a draining proxy still says how it is.
    pub async fn serve(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((tcp, peer)) => drop(tokio::spawn(self.clone().connection(tcp, peer))),
                Err(error) => {
                    log::warn!(target: "admin", "accept: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self, tcp: tokio::net::TcpStream, peer: SocketAddr) {
        let service = service_fn(|request| {
            let admin = self.clone();
            async move { Ok::<_, Infallible>(admin.answer(request, peer).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_READ_TIMEOUT)
            .serve_connection(TokioIo::new(tcp), service);
        if let Err(error) = served.await {
            log::debug!(target: "admin", "connection of {peer}: {error}");
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let is_local = peer.ip().to_canonical().is_loopback();
        let method = request.method().clone();
        let is_get = matches!(method, Method::GET | Method::HEAD);
        match request.uri().path() {
            "/live" if is_get => text(StatusCode::OK, "live\n"),
            "/ready" if is_get && self.0.is_ready.load(Ordering::Acquire) => text(StatusCode::OK, "ready\n"),
            "/ready" if is_get => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            "/metrics" if is_get => self.metrics(&request),
            "/proxy-log-level" | "/env.json" if !is_local => forbidden(),
            "/env.json" if is_get => environment(&request),
            "/proxy-log-level" if is_get => text(StatusCode::OK, logging::filter()),
            "/proxy-log-level" if method == Method::PUT => set_filter(request).await,
            "/shutdown" if method == Method::POST && !is_local => forbidden(),
            "/shutdown" if method == Method::POST && !self.0.is_shutdown_enabled => {
                text(StatusCode::NOT_FOUND, "shutdown endpoint is not enabled\n")
            }
            "/shutdown" if method == Method::POST => {
                log::info!(target: "admin", "asked to shut down");
                self.0.shutdown.notify_one();
                text(StatusCode::OK, "shutdown\n")
            }
            "/live" | "/ready" | "/metrics" | "/env.json" => not_allowed("GET, HEAD"),
            "/proxy-log-level" => not_allowed("GET, PUT"),
            "/shutdown" => not_allowed("POST"),
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    fn metrics(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let body = self.0.metrics.encode();
        let accepts_gzip = request.headers().get_all(header::ACCEPT_ENCODING).iter().any(|value| {
            value.to_str().is_ok_and(|v| v.split(',').any(|e| e.split(';').next().is_some_and(|e| e.trim() == "gzip")))
        });
        let _ = accepts_gzip;
        text(StatusCode::OK, body)
    }
}

async fn set_filter(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let body = match Limited::new(request.into_body(), FILTER_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return text(StatusCode::PAYLOAD_TOO_LARGE, "too long\n"),
        Err(error) => return text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    let set = std::str::from_utf8(&body).map_err(|_| "not UTF-8".to_owned()).and_then(logging::set_filter);
    match set {
        Ok(()) => Response::builder().status(StatusCode::NO_CONTENT).body(Full::default()).unwrap_or_default(),
        Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

/// The environment, or the variables that the query names, as a JSON object.
fn environment(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let accepts_json = request.headers().get(header::ACCEPT).is_none_or(|accept| {
        accept.to_str().is_ok_and(|a| ["application/json", "*/*", "application/*"].iter().any(|t| a.contains(t)))
    });
    if !accepts_json {
        return text(StatusCode::NOT_ACCEPTABLE, "only application/json\n");
    }
    let names: Vec<&str> = request.uri().query().map(|q| q.split('&').collect()).unwrap_or_default();
    if names.iter().any(|name| name.contains('=')) {
        return text(StatusCode::BAD_REQUEST, "the query lists names only\n");
    }
    let quoted = logging::json_string;
    let pairs: Vec<String> = if names.is_empty() {
        let all = std::env::vars_os();
        all.map(|(k, v)| format!("{}:{}", quoted(&k.to_string_lossy()), quoted(&v.to_string_lossy()))).collect()
    } else {
        let value = |name: &str| std::env::var_os(name).map_or("null".into(), |v| quoted(&v.to_string_lossy()));
        names.iter().map(|name| format!("{}:{}", quoted(name), value(name))).collect()
    };
    let mut response = text(StatusCode::OK, format!("{{{}}}", pairs.join(",")));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn forbidden() -> Response<Full<Bytes>> {
    text(StatusCode::FORBIDDEN, "only from this pod\n")
}

fn not_allowed(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

/// Kept so that a drain waits for the admin server's own connections no longer than for the rest.
pub type Drain = drain::Watch;
