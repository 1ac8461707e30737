//! What the admin server answers, with the statuses and bodies that probes and tools expect.

use super::gzip::gzip;
use super::server::Admin;
use crate::http::{Body, Error};
use crate::logging;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::net::SocketAddr;

/// A log filter is a line; what is longer is a mistake.
const FILTER_BYTES_MAX: usize = 8 * 1024;

pub async fn answer(admin: &Admin, request: Request<Body>, peer: SocketAddr) -> Response<Bytes> {
    let is_local = peer.ip().to_canonical().is_loopback();
    let method = request.method().clone();
    let is_get = matches!(method, Method::GET | Method::HEAD);
    match request.uri().path() {
        "/live" if is_get => text(StatusCode::OK, "live\n"),
        "/ready" if is_get && admin.is_ready() => text(StatusCode::OK, "ready\n"),
        "/ready" if is_get => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        "/metrics" if is_get => metrics(admin, request.headers()),
        "/shutdown" if method != Method::POST => not_allowed("POST"),
        "/proxy-log-level" | "/env.json" | "/shutdown" if !is_local => {
            text(StatusCode::FORBIDDEN, "only from this pod\n")
        }
        "/env.json" if is_get => environment(&request),
        "/proxy-log-level" if is_get => text(StatusCode::OK, logging::filter()),
        "/proxy-log-level" if method == Method::PUT => set_filter(request).await,
        "/shutdown" if !admin.config().is_shutdown_enabled => {
            text(StatusCode::NOT_FOUND, "shutdown endpoint is not enabled\n")
        }
        "/shutdown" => {
            log::info!(target: "admin", "asked to shut down");
            admin.request_shutdown();
            text(StatusCode::OK, "shutdown\n")
        }
        "/live" | "/ready" | "/metrics" | "/env.json" => not_allowed("GET, HEAD"),
        "/proxy-log-level" => not_allowed("GET, PUT"),
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// The port's policy does not let this client in, or this request.
pub fn denied(error: &Error) -> Response<Bytes> {
    let status = match error {
        Error::NoRoute => StatusCode::NOT_FOUND,
        Error::InvalidPolicy(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::FORBIDDEN,
    };
    text(status, "")
}

fn metrics(admin: &Admin, headers: &HeaderMap) -> Response<Bytes> {
    let body = admin.metrics().encode();
    if !accepts_gzip(headers) {
        return text(StatusCode::OK, body);
    }
    let mut response = text(StatusCode::OK, gzip(body.as_bytes()));
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let is_refused = parameters.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !is_refused
    })
}

async fn set_filter(request: Request<Body>) -> Response<Bytes> {
    let body = match Limited::new(request.into_body(), FILTER_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return text(StatusCode::PAYLOAD_TOO_LARGE, "too long\n"),
        Err(error) => return text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    let set = std::str::from_utf8(&body).map_err(|_| "not UTF-8".to_owned()).and_then(logging::set_filter);
    match set {
        Ok(()) => with_status(StatusCode::NO_CONTENT, Bytes::new()),
        Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

/// The environment, or the variables that the query names, as a JSON object.
fn environment(request: &Request<Body>) -> Response<Bytes> {
    let accepts_json = request.headers().get(header::ACCEPT).is_none_or(|accept| {
        accept.to_str().is_ok_and(|a| ["application/json", "*/*", "application/*"].iter().any(|t| a.contains(t)))
    });
    if !accepts_json {
        return text(StatusCode::NOT_ACCEPTABLE, "application/json");
    }
    let names: Vec<&str> = request.uri().query().map(|q| q.split('&').collect()).unwrap_or_default();
    if names.iter().any(|name| name.contains('=')) {
        let problem = r#"{"error":"the query of env.json lists names, not pairs","status":400}"#;
        return json(StatusCode::BAD_REQUEST, problem);
    }
    let quoted = logging::json_string;
    let pairs: Vec<String> = if names.is_empty() {
        let all = std::env::vars_os();
        all.map(|(k, v)| format!("{}:{}", quoted(&k.to_string_lossy()), quoted(&v.to_string_lossy()))).collect()
    } else {
        let value = |name: &str| std::env::var_os(name).map_or("null".into(), |v| quoted(&v.to_string_lossy()));
        names.iter().map(|name| format!("{}:{}", quoted(name), value(name))).collect()
    };
    json(StatusCode::OK, format!("{{{}}}", pairs.join(",")))
}

fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = with_status(status, body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = with_status(status, body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn not_allowed(methods: &'static str) -> Response<Bytes> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

fn with_status(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_accepted_where_it_is_listed_and_not_refused() {
        let accepts = |value: &'static str| {
            accepts_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]))
        };
        assert!(accepts("gzip") && accepts("br;q=1.0, GZIP;q=0.5"));
        assert!(!accepts("gzip;q=0") && !accepts("identity") && !accepts_gzip(&HeaderMap::new()));
    }
}
