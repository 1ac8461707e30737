//! Filters of HTTP and gRPC routes.

use super::Invalid;
use crate::control::model::filter::*;
use http::{HeaderName, HeaderValue, StatusCode};
use linkerd2_proxy_api::{grpc_route, http_route, http_types};

pub fn http_failure(wire: http_route::HttpFailureInjector) -> Result<Filter, Invalid> {
    Ok(Filter::InjectHttpFailure {
        status: status(wire.status)?,
        message: wire.message.into(),
        ratio: ratio(wire.ratio)?,
    })
}

/// What gRPC has no code for, as an HTTP status in its place, is an unknown failure.
pub fn grpc_failure(wire: grpc_route::GrpcFailureInjector) -> Result<Filter, Invalid> {
    const LAST: u16 = 16;
    const UNKNOWN: u16 = 2;
    Ok(Filter::InjectGrpcFailure {
        code: u16::try_from(wire.code).ok().filter(|code| *code <= LAST).unwrap_or(UNKNOWN),
        message: wire.message.into(),
        ratio: ratio(wire.ratio)?,
    })
}

pub fn request_headers(wire: http_route::RequestHeaderModifier) -> Result<Filter, Invalid> {
    header_changes(wire.add, wire.set, wire.remove).map(Filter::RequestHeaders)
}

pub fn response_headers(wire: http_route::ResponseHeaderModifier) -> Result<Filter, Invalid> {
    header_changes(wire.add, wire.set, wire.remove).map(Filter::ResponseHeaders)
}

pub fn redirect(wire: http_route::RequestRedirect) -> Result<Filter, Invalid> {
    use http_route::path_modifier::Replace;
    let scheme = wire.scheme.map(http::uri::Scheme::try_from).transpose().map_err(|e| Invalid::bad("scheme", e))?;
    let path = match wire.path.and_then(|p| p.replace) {
        Some(Replace::Full(path)) => Some(PathRewrite::Full(rewrite(path)?)),
        // An empty one takes the prefix away.
        Some(Replace::Prefix(path)) if path.is_empty() => Some(PathRewrite::Prefix(path.into())),
        Some(Replace::Prefix(path)) => Some(PathRewrite::Prefix(rewrite(path)?)),
        None => None,
    };
    let port = u16::try_from(wire.port).map_err(|_| Invalid::bad("redirect port", wire.port))?;
    let status = match wire.status {
        0 => StatusCode::MOVED_PERMANENTLY,
        code @ 300..400 => status(code)?,
        code => return Err(Invalid::bad("redirect status", code)),
    };
    Ok(Filter::Redirect(Redirect {
        scheme,
        host: (!wire.host.is_empty()).then(|| wire.host.into()),
        port: (port > 0).then_some(port),
        path,
        status,
    }))
}

pub fn rewrite(path: String) -> Result<Box<str>, Invalid> {
    if path.starts_with('/') { Ok(path.into()) } else { Err(Invalid::bad("path to write", format_args!("{path:?}"))) }
}

fn status(code: u32) -> Result<StatusCode, Invalid> {
    u16::try_from(code)
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or_else(|| Invalid::bad("HTTP status", code))
}

/// Absent: always. A denominator of 0 is an error.
fn ratio(wire: Option<http_route::Ratio>) -> Result<Ratio, Invalid> {
    match wire {
        None => Ok(Ratio { numerator: 1, denominator: 1 }),
        Some(r) if r.denominator == 0 => Err(Invalid::bad("ratio", "the denominator is 0")),
        Some(r) => Ok(Ratio { numerator: r.numerator.min(r.denominator), denominator: r.denominator }),
    }
}

fn header_changes(
    add: Option<http_types::Headers>,
    set: Option<http_types::Headers>,
    remove: Vec<String>,
) -> Result<HeaderChanges, Invalid> {
    let name = |n: &str| n.parse::<HeaderName>().map_err(|_| Invalid::bad("header name", format_args!("{n:?}")));
    let list = |headers: Option<http_types::Headers>| {
        let headers = headers.map(|h| h.headers).unwrap_or_default();
        headers
            .into_iter()
            .map(|h| {
                let value = HeaderValue::from_bytes(&h.value).map_err(|e| Invalid::bad("header value", e))?;
                Ok((name(&h.name)?, value))
            })
            .collect::<Result<Vec<_>, Invalid>>()
    };
    Ok(HeaderChanges {
        remove: remove.iter().map(|n| name(n)).collect::<Result<_, _>>()?,
        set: list(set)?,
        add: list(add)?,
    })
}
