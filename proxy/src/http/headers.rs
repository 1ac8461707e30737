//! Headers that belong to one hop, and the ones that carry HTTP/1 over HTTP/2 between proxies.

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version,
    header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, Scheme},
};

/// Who the client of an inbound request is.
pub static L5D_CLIENT_ID: HeaderName = HeaderName::from_static("l5d-client-id");
/// The name of the ServiceProfile by whose routes a request was sent.
pub static L5D_DST_CANONICAL: HeaderName = HeaderName::from_static("l5d-dst-canonical");
/// Who the server must be.
pub static L5D_REQUIRE_ID: HeaderName = HeaderName::from_static("l5d-require-id");
pub static L5D_ORIG_PROTO: HeaderName = HeaderName::from_static("l5d-orig-proto");
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const ABSOLUTE_FORM: &[u8] = b"; absolute-form";

/// Removes what speaks of the connection itself: the headers that `Connection` lists, and the known ones.
pub fn strip_connection(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let listed: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|v| v.as_bytes().split(|b| *b == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            // Naming these would change how the message is framed or routed.
            .filter(|name| name != TE && name != TRANSFER_ENCODING && name != HOST && name != "content-length")
            .collect();
        for name in listed {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    headers.remove(UPGRADE);
    headers.remove(&KEEP_ALIVE);
    headers.remove(&PROXY_CONNECTION);
}

/// The same for a request that asks for an upgrade: only that is left of what it says of the connection.
pub fn strip_all_but_upgrade(headers: &mut HeaderMap) {
    let upgrade = headers.get(UPGRADE).cloned();
    strip_connection(headers);
    if let Some(upgrade) = upgrade {
        headers.insert(UPGRADE, upgrade);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Whether the client asks to change protocols. `h2c` is not taken up: it is dropped and the request goes on.
pub fn wants_upgrade(headers: &mut HeaderMap) -> bool {
    let Some(upgrade) = headers.get(UPGRADE) else { return false };
    if upgrade.as_bytes().split(|b| *b == b',').any(|p| p.trim_ascii().eq_ignore_ascii_case(b"h2c")) {
        headers.remove(UPGRADE);
        headers.remove(&HTTP2_SETTINGS);
        return false;
    }
    headers
        .get_all(CONNECTION)
        .iter()
        .any(|v| v.as_bytes().split(|b| *b == b',').any(|p| p.trim_ascii().eq_ignore_ascii_case(b"upgrade")))
}

/// Gives an origin-form URI the authority that `Host` names. True when the request already had one of its own. `Err` where
/// there are several hosts: what is allowed for one of them must not be done by another.
pub fn normalize_uri<B>(request: &mut Request<B>) -> Result<bool, &'static str> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err("more than one Host");
    }
    if request.uri().authority().is_some() {
        return Ok(true);
    }
    if let Some(authority) = host.and_then(|host| Authority::try_from(host.as_bytes()).ok()) {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(authority);
        if parts.path_and_query.is_none() {
            parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        }
        // All three parts are there, which is all that can be wrong.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }
    Ok(false)
}

/// Makes an absolute URI an origin-form one, with `Host` saying what the authority said.
pub fn to_origin_form<B>(request: &mut Request<B>) {
    let Some(authority) = request.uri().authority().cloned() else { return };
    if !request.headers().contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map(Uri::from).unwrap_or_else(|| Uri::from_static("/"));
}

/// Turns an HTTP/1 request into the HTTP/2 request that carries it to another proxy.
pub fn carry<B>(request: &mut Request<B>, is_absolute_form: bool) {
    let value = match (request.version(), is_absolute_form) {
        (Version::HTTP_10, false) => HeaderValue::from_static("HTTP/1.0"),
        (Version::HTTP_10, true) => HeaderValue::from_static("HTTP/1.0; absolute-form"),
        (_, false) => HeaderValue::from_static("HTTP/1.1"),
        (_, true) => HeaderValue::from_static("HTTP/1.1; absolute-form"),
    };
    let headers = request.headers_mut();
    headers.insert(L5D_ORIG_PROTO.clone(), value);
    headers.remove(TRANSFER_ENCODING);
    // The only value that HTTP/2 knows.
    if headers.get(TE).is_some_and(|te| te != "trailers") {
        headers.remove(TE);
    }
    *request.version_mut() = Version::HTTP_2;
}

/// The HTTP/1 request that another proxy carries: its version, and whether its URI was absolute.
pub fn carried<B>(request: &mut Request<B>) -> Option<(Version, bool)> {
    if request.version() != Version::HTTP_2 {
        return None;
    }
    let value = request.headers_mut().remove(&L5D_ORIG_PROTO)?;
    let version = if value.as_bytes().starts_with(b"HTTP/1.0") { Version::HTTP_10 } else { Version::HTTP_11 };
    *request.version_mut() = version;
    Some((version, value.as_bytes().ends_with(ABSOLUTE_FORM)))
}

/// Marks the response to a carried request with the version that the application spoke.
pub fn carry_response<B>(response: &mut Response<B>) {
    let value = match response.version() {
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    response.headers_mut().insert(L5D_ORIG_PROTO.clone(), HeaderValue::from_static(value));
    response.headers_mut().remove(TRANSFER_ENCODING);
    *response.version_mut() = Version::HTTP_2;
}

/// Undoes [`carry_response`]; without the mark the response takes the request's version.
pub fn uncarry_response<B>(response: &mut Response<B>, asked: Version) {
    let version = response.headers_mut().remove(&L5D_ORIG_PROTO).map(|value| match value.as_bytes() {
        b"HTTP/1.0" => Version::HTTP_10,
        _ => Version::HTTP_11,
    });
    *response.version_mut() = version.unwrap_or(asked);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_what_connection_lists() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Hop, te"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("keep-alive", "5"),
            ("x", "2"),
        ] {
            headers
                .insert(HeaderName::from_static(if name == "x-hop" { "x-hop" } else { name }), value.parse().unwrap());
        }
        strip_connection(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["te", "x"]);
    }

    #[test]
    fn carries_http1_over_http2_and_back() {
        let mut request = Request::get("http://a/b").version(Version::HTTP_10).body(()).unwrap();
        carry(&mut request, true);
        assert_eq!(request.headers()[&L5D_ORIG_PROTO], "HTTP/1.0; absolute-form");
        assert_eq!(carried(&mut request), Some((Version::HTTP_10, true)));
        assert_eq!(request.version(), Version::HTTP_10);
        let mut response = Response::builder().version(Version::HTTP_10).body(()).unwrap();
        carry_response(&mut response);
        uncarry_response(&mut response, Version::HTTP_11);
        assert_eq!(response.version(), Version::HTTP_10);
        assert!(response.headers().is_empty());
    }

    #[test]
    fn uris_change_form_without_losing_anything() {
        let mut request = Request::get("/p?q").header(HOST, "web:80").body(()).unwrap();
        assert_eq!(normalize_uri(&mut request), Ok(false));
        assert_eq!(request.uri(), "http://web:80/p?q");
        to_origin_form(&mut request);
        assert_eq!(request.uri(), "/p?q");
        assert_eq!(request.headers()[HOST], "web:80");
        request.headers_mut().append(HOST, HeaderValue::from_static("other"));
        assert!(normalize_uri(&mut request).is_err());
    }
}
