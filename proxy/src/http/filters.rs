//! What a route does to a request before it is sent, and to its response.

use crate::{
    balance::random_below,
    control::model::filter::{Filter, PathRewrite, Ratio, Redirect, Rewrite},
    http::{Body, Error},
};
use http::{
    HeaderValue, Request, Response, Uri,
    header::HOST,
    uri::{PathAndQuery, Scheme},
};

/// Applies the filters in order; one that answers in the server's place is an error. `prefix_len` is the length of
/// the path prefix that the route matched, if it was by one.
pub fn apply_request(filters: &[Filter], request: &mut Request<Body>, prefix_len: Option<usize>) -> Result<(), Error> {
    for filter in filters {
        match filter {
            Filter::RequestHeaders(changes) => changes.apply(request.headers_mut()),
            Filter::ResponseHeaders(_) => {}
            Filter::InjectHttpFailure { status, message, ratio } => {
                if hits(*ratio) {
                    return Err(Error::Injected { status: *status, message: message.clone() });
                }
            }
            Filter::InjectGrpcFailure { code, message, ratio } => {
                if hits(*ratio) {
                    return Err(Error::InjectedGrpc { code: *code, message: message.clone() });
                }
            }
            Filter::Redirect(redirect) => {
                let location = location(redirect, request, prefix_len)
                    .ok_or_else(|| Error::InvalidPolicy("redirect to an invalid location".into()))?;
                // To where the request is for already, such as HTTPS, it would never end; one that only has a status says so itself.
                if redirect.is_status_only() || location.as_bytes() != own_location(request).as_bytes() {
                    return Err(Error::Redirect { status: redirect.status, location });
                }
            }
            Filter::Rewrite(change) => rewrite(change, request, prefix_len)
                .ok_or_else(|| Error::InvalidPolicy("rewrite to an invalid URI".into()))?,
            Filter::Unknown => return Err(Error::InvalidPolicy("unknown filter".into())),
        }
    }
    Ok(())
}

pub fn apply_response(filters: &[Filter], response: &mut Response<Body>) {
    for filter in filters {
        if let Filter::ResponseHeaders(changes) = filter {
            changes.apply(response.headers_mut());
        }
    }
}

fn hits(ratio: Ratio) -> bool {
    random_below(ratio.denominator as usize) < ratio.numerator as usize
}

fn own_location(request: &Request<Body>) -> String {
    let uri = request.uri();
    let own_host = request.headers().get(HOST).and_then(|h| h.to_str().ok());
    let authority = uri.authority().map(http::uri::Authority::as_str).or(own_host).unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |pq| pq.as_str());
    format!("{}://{authority}{path}", uri.scheme().unwrap_or(&Scheme::HTTP))
}

fn location(redirect: &Redirect, request: &Request<Body>, prefix_len: Option<usize>) -> Option<HeaderValue> {
    let uri = request.uri();
    let scheme = redirect.scheme.as_ref().or(uri.scheme()).unwrap_or(&Scheme::HTTP);
    let own_host = request.headers().get(http::header::HOST).and_then(|h| h.to_str().ok());
    let authority = uri.authority().map(http::uri::Authority::as_str).or(own_host)?;
    let own_host = crate::control::model::route::without_port(authority);
    let own_port = authority.strip_prefix(own_host)?.strip_prefix(':').and_then(|p| p.parse::<u16>().ok());
    let host = redirect.host.as_deref().unwrap_or(own_host);
    // A changed scheme has its own default port; otherwise the client's port is kept.
    let port = redirect.port.or(if redirect.scheme.is_none() { own_port } else { None });
    let is_default = matches!((scheme.as_str(), port), ("http", Some(80)) | ("https", Some(443)));
    let port = port.filter(|_| !is_default).map(|p| format!(":{p}")).unwrap_or_default();
    let path = match &redirect.path {
        None => uri.path_and_query().map_or("/", |pq| pq.as_str()).to_owned(),
        // A full path brings its own query, if any.
        Some(PathRewrite::Full(path)) => path.to_string(),
        Some(change) => rewritten(change, uri, prefix_len)?,
    };
    HeaderValue::try_from(format!("{scheme}://{host}{port}{path}")).ok()
}

fn rewrite(change: &Rewrite, request: &mut Request<Body>, prefix_len: Option<usize>) -> Option<()> {
    let path = match &change.path {
        None => None,
        Some(path) => Some(PathAndQuery::try_from(rewritten(path, request.uri(), prefix_len)?).ok()?),
    };
    if path.is_none() && change.host.is_none() {
        return Some(());
    }
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    if path.is_some() {
        parts.path_and_query = path;
    }
    if let Some(host) = &change.host {
        if parts.authority.is_some() {
            parts.authority = Some(host.clone());
        }
        // HTTP/1 sends this one; where there is an authority, it must say the same.
        if parts.authority.is_none() || request.headers().contains_key(HOST) {
            request.headers_mut().insert(HOST, HeaderValue::from_str(host.as_str()).ok()?);
        }
    }
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    Some(())
}

/// The path that a rewrite makes of a URI's, with the query as it was. Prefixes are whole path elements: there is one
/// slash between what replaces the prefix and what follows it. None where there is no prefix to replace.
fn rewritten(change: &PathRewrite, uri: &Uri, prefix_len: Option<usize>) -> Option<String> {
    let mut path = match change {
        PathRewrite::Full(path) => path.to_string(),
        PathRewrite::Prefix(prefix) => {
            let rest = uri.path().get(prefix_len?..).unwrap_or_default();
            let bare = prefix.strip_suffix('/').unwrap_or(prefix);
            match rest.strip_prefix('/').unwrap_or(rest) {
                "" if rest.is_empty() && !prefix.is_empty() => prefix.to_string(),
                rest => format!("{bare}/{rest}"),
            }
        }
    };
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn redirect(path: Option<PathRewrite>) -> Redirect {
        Redirect { scheme: None, host: None, port: None, path, status: StatusCode::FOUND }
    }

    fn to(redirect: Redirect, prefix_len: usize) -> String {
        let prefix_len = Some(prefix_len);
        let request = Request::get("http://web:8080/old/page?q=1").body(Body::empty()).unwrap();
        location(&redirect, &request, prefix_len).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn redirects_keep_what_they_do_not_change() {
        assert_eq!(to(redirect(None), 0), "http://web:8080/old/page?q=1");
        assert_eq!(to(redirect(Some(PathRewrite::Prefix("/new".into()))), 4), "http://web:8080/new/page?q=1");
        assert_eq!(
            to(Redirect { host: Some("a.b".into()), port: Some(80), ..redirect(None) }, 0),
            "http://a.b/old/page?q=1"
        );
        let https = Redirect { scheme: Some(Scheme::HTTPS), ..redirect(Some(PathRewrite::Full("/".into()))) };
        assert_eq!(to(https, 0), "https://web/");
        assert_eq!(to(redirect(Some(PathRewrite::Full("/a?b=c".into()))), 0), "http://web:8080/a?b=c");
    }

    #[test]
    fn prefixes_are_replaced_by_whole_elements() {
        let table = [
            ("/foo/bar", 4, "/xyz", "/xyz/bar"),
            ("/foo/bar", 4, "/xyz/", "/xyz/bar"),
            ("/foo", 4, "/xyz", "/xyz"),
            ("/foo/", 4, "/xyz", "/xyz/"),
            ("/foo/bar", 4, "", "/bar"),
            ("/foo/", 4, "", "/"),
            ("/foo", 4, "", "/"),
            ("/foo/", 4, "/", "/"),
            ("/foo", 4, "/", "/"),
            ("/foo//bar", 4, "/xyz", "/xyz//bar"),
            ("/foo?q=/foo", 4, "/xyz", "/xyz?q=/foo"),
            ("/foo", 0, "/xyz", "/xyz/foo"),
        ];
        for (path, prefix_len, prefix, expected) in table {
            let mut request = Request::get(format!("http://web{path}")).body(Body::empty()).unwrap();
            let change = Rewrite { host: None, path: Some(PathRewrite::Prefix(prefix.into())) };
            apply_request(&[Filter::Rewrite(change)], &mut request, Some(prefix_len)).unwrap();
            assert_eq!(request.uri().path_and_query().unwrap(), expected, "{path} {prefix}");
        }
    }

    #[test]
    fn a_redirect_to_where_it_names_is_none_and_one_of_no_prefix_fails() {
        let apply = |redirect, prefix_len| {
            let mut request = Request::get("/a?b").header(HOST, "web").body(Body::empty()).unwrap();
            apply_request(&[Filter::Redirect(redirect)], &mut request, prefix_len)
        };
        let there = |port| Redirect { host: Some("web".into()), port, ..redirect(None) };
        assert!(apply(there(None), None).is_ok());
        assert!(apply(there(Some(80)), None).is_ok());
        assert!(
            matches!(apply(redirect(None), None), Err(Error::Redirect { .. })),
            "a status alone is what was asked for"
        );
        assert!(matches!(apply(Redirect { port: Some(81), ..redirect(None) }, None), Err(Error::Redirect { .. })));
        let prefix = || redirect(Some(PathRewrite::Prefix("/new".into())));
        assert!(matches!(apply(prefix(), Some(0)), Err(Error::Redirect { .. })));
        assert!(matches!(apply(prefix(), None), Err(Error::InvalidPolicy(_))));
    }

    #[test]
    fn a_rewritten_host_is_that_of_the_authority_and_of_the_header() {
        let host = |request: Request<Body>| {
            let mut request = request;
            let change = Rewrite { host: Some("new".parse().unwrap()), path: None };
            apply_request(&[Filter::Rewrite(change)], &mut request, None).unwrap();
            (request.uri().to_string(), request.headers().get(HOST).map(|h| h.to_str().unwrap().to_owned()))
        };
        let of = |uri: &str| Request::get(uri).body(Body::empty()).unwrap();
        assert_eq!(host(of("http://old:80/a")), ("http://new/a".to_owned(), None));
        assert_eq!(host(of("/a")), ("/a".to_owned(), Some("new".to_owned())));
        let both = Request::get("http://old/").header(HOST, "old").body(Body::empty()).unwrap();
        assert_eq!(host(both), ("http://new/".to_owned(), Some("new".to_owned())));
    }

    #[test]
    fn a_filter_that_is_not_known_fails_the_request() {
        let mut request = Request::get("/").body(Body::empty()).unwrap();
        assert!(matches!(apply_request(&[Filter::Unknown], &mut request, None), Err(Error::InvalidPolicy(_))));
    }
}
