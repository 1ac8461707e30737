//! What routes match.

use super::Invalid;
use crate::control::model::route::*;
use http::{HeaderName, Method};
use linkerd2_proxy_api::{grpc_route, http_route, tls_route};

pub fn host(wire: http_route::HostMatch) -> Result<HostMatch, Invalid> {
    use http_route::host_match::Match;
    match wire.r#match {
        Some(Match::Exact(name)) => Ok(exact(&name)),
        Some(Match::Suffix(suffix)) => Ok(HostMatch::Suffix(labels(suffix.reverse_labels))),
        None => Err(Invalid::missing("host match")),
    }
}

pub fn sni(wire: tls_route::SniMatch) -> Result<HostMatch, Invalid> {
    use tls_route::sni_match::Match;
    match wire.r#match {
        Some(Match::Exact(name)) => Ok(exact(&name)),
        Some(Match::Suffix(suffix)) => Ok(HostMatch::Suffix(labels(suffix.reverse_labels))),
        None => Err(Invalid::missing("server name match")),
    }
}

/// Names are the same with the root's dot and without it.
fn exact(name: &str) -> HostMatch {
    HostMatch::Exact(name.strip_suffix('.').unwrap_or(name).into())
}

fn labels(reverse_labels: Vec<String>) -> Box<[Box<str>]> {
    let root = usize::from(reverse_labels.first().is_some_and(String::is_empty));
    reverse_labels.into_iter().skip(root).map(String::into_boxed_str).collect()
}

pub fn http_match(wire: http_route::HttpRouteMatch) -> Result<RequestMatch, Invalid> {
    use http_route::query_param_match::Value;
    let path = match wire.path {
        None => None,
        Some(path) => Some(path_match(path)?),
    };
    let query = wire.query_params.into_iter().map(|q| {
        if q.name.is_empty() {
            return Err(Invalid::missing("query parameter's name"));
        }
        let value = match q.value {
            Some(Value::Exact(text)) => ValueMatch::Exact(text.into_bytes().into()),
            Some(Value::Regex(pattern)) => ValueMatch::Regex(regex(&pattern)?),
            None => return Err(Invalid::missing("query parameter match")),
        };
        Ok((q.name.into(), value))
    });
    Ok(RequestMatch {
        path,
        method: wire.method.map(Method::try_from).transpose().map_err(|e| Invalid::bad("method", e))?,
        headers: headers(wire.headers)?,
        query: query.collect::<Result<_, _>>()?,
        condition: None,
    })
}

pub fn grpc_match(wire: grpc_route::GrpcRouteMatch) -> Result<RequestMatch, Invalid> {
    let rpc = wire.rpc.unwrap_or_default();
    Ok(RequestMatch {
        path: Some(PathMatch::Grpc { service: rpc.service.into(), method: rpc.method.into() }),
        headers: headers(wire.headers)?,
        ..RequestMatch::default()
    })
}

fn path_match(wire: http_route::PathMatch) -> Result<PathMatch, Invalid> {
    use http_route::path_match::Kind;
    let absolute = |path: String| {
        if path.starts_with('/') { Ok(path.into()) } else { Err(Invalid::bad("path match", format_args!("{path:?}"))) }
    };
    match wire.kind {
        Some(Kind::Exact(path)) => absolute(path).map(PathMatch::Exact),
        Some(Kind::Prefix(path)) => absolute(path).map(PathMatch::Prefix),
        Some(Kind::Regex(pattern)) => regex(&pattern).map(PathMatch::Regex),
        None => Err(Invalid::missing("path match")),
    }
}

fn headers(wire: Vec<http_route::HeaderMatch>) -> Result<Vec<(HeaderName, ValueMatch)>, Invalid> {
    use http_route::header_match::Value;
    let one = |header: http_route::HeaderMatch| {
        let name = header.name.parse().map_err(|_| Invalid::bad("header name", format_args!("{:?}", header.name)))?;
        let value = match header.value {
            Some(Value::Exact(bytes)) => ValueMatch::Exact(bytes.into()),
            Some(Value::Regex(pattern)) => ValueMatch::Regex(regex(&pattern)?),
            None => return Err(Invalid::missing("header match")),
        };
        Ok((name, value))
    };
    wire.into_iter().map(one).collect()
}

pub fn regex(pattern: &str) -> Result<regex_lite::Regex, Invalid> {
    whole_regex(pattern).map_err(|e| Invalid::bad("regular expression", e))
}
