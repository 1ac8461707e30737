//! What a route does to a request before it is sent, and to its response.

use crate::{
    balance::random_below,
    control::model::filter::{Filter, PathRewrite, Ratio, Redirect},
    http::{Body, Error},
};
use http::{HeaderValue, Request, Response, uri::Scheme};

/// Applies the filters in order; one that answers in the server's place is an error. `prefix_len` is the length of
/// the path prefix that the route matched.
pub fn apply_request(filters: &[Filter], request: &mut Request<Body>, prefix_len: usize) -> Result<(), Error> {
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
                return Err(Error::Redirect { status: redirect.status, location });
            }
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

fn location(redirect: &Redirect, request: &Request<Body>, prefix_len: usize) -> Option<HeaderValue> {
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
        Some(rewrite) => {
            let path = match rewrite {
                PathRewrite::Full(path) => path.to_string(),
                PathRewrite::Prefix(prefix) => {
                    let rest = uri.path().get(prefix_len..).unwrap_or_default();
                    let joined = format!("{}/{}", prefix.trim_end_matches('/'), rest.trim_start_matches('/'));
                    if rest.is_empty() { prefix.to_string() } else { joined }
                }
            };
            uri.query().map_or(path.clone(), |query| format!("{path}?{query}"))
        }
    };
    HeaderValue::try_from(format!("{scheme}://{host}{port}{path}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn redirect(path: Option<PathRewrite>) -> Redirect {
        Redirect { scheme: None, host: None, port: None, path, status: StatusCode::FOUND }
    }

    fn to(redirect: Redirect, prefix_len: usize) -> String {
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
        assert_eq!(to(https, 0), "https://web/?q=1");
    }

    #[test]
    fn a_filter_that_is_not_known_fails_the_request() {
        let mut request = Request::get("/").body(Body::empty()).unwrap();
        assert!(matches!(apply_request(&[Filter::Unknown], &mut request, 0), Err(Error::InvalidPolicy(_))));
    }
}
