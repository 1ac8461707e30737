//! What a request is spread over endpoints by, where its balancer goes by keys.

use crate::{balance::hash, control::model::outbound::HashSource, http::Body};
use http::{Request, header::COOKIE};
use std::net::IpAddr;

/// None where the request has no such thing: it is balanced by load.
pub fn hash_key(source: &HashSource, request: &Request<Body>, client: IpAddr) -> Option<u64> {
    match source {
        HashSource::Header(name) if name == http::header::HOST => {
            let host = request.uri().authority().map(|authority| authority.as_str().as_bytes());
            host.or_else(|| Some(request.headers().get(name)?.as_bytes())).map(hash)
        }
        HashSource::Header(name) => request.headers().get(name).map(|value| hash(value.as_bytes())),
        HashSource::Cookie(name) => request
            .headers()
            .get_all(COOKIE)
            .iter()
            .flat_map(|value| value.as_bytes().split(|b| *b == b';'))
            .find_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
            .map(hash),
        HashSource::Query(name) => {
            let mut pairs = request.uri().query()?.split('&');
            pairs.find_map(|pair| pair.strip_prefix(&**name)?.strip_prefix('=')).map(|value| hash(value.as_bytes()))
        }
        HashSource::SourceAddress => Some(hash_ip(client)),
    }
}

pub fn hash_ip(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => hash(&ip.octets()),
        IpAddr::V6(ip) => hash(&ip.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(source: HashSource) -> Option<u64> {
        let request = Request::get("http://web/a?user=ann&x=1")
            .header("x-user", "bob")
            .header("cookie", "sid=a; id=carl")
            .header("cookie", "other=1; last=dora")
            .body(Body::empty())
            .unwrap();
        hash_key(&source, &request, "::ffff:10.0.0.1".parse().unwrap())
    }

    #[test]
    fn each_source_gives_the_hash_of_its_value_or_none() {
        let header = |name: &str| HashSource::Header(name.parse().unwrap());
        assert_eq!(key(header("x-user")), Some(hash(b"bob")));
        assert_eq!(key(header("x-other")), None);
        assert_eq!(key(header("host")), Some(hash(b"web")));
        assert_eq!(key(HashSource::Cookie("id".into())), Some(hash(b"carl")));
        assert_eq!(key(HashSource::Cookie("last".into())), Some(hash(b"dora")));
        assert_eq!(key(HashSource::Cookie("i".into())), None);
        assert_eq!(key(HashSource::Query("user".into())), Some(hash(b"ann")));
        assert_eq!(key(HashSource::Query("use".into())), None);
        assert_eq!(key(HashSource::SourceAddress), Some(hash(&[10, 0, 0, 1])));
    }
}
