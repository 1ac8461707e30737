//! Finds the server name in the start of a TLS connection without consuming it (RFC 8446 4.1.2, RFC 6066 3).
//! Reads any prefix; never assumes that a length field tells the truth.

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello<'a> {
    NotTls,
    /// A valid beginning; more bytes decide.
    Incomplete,
    /// A whole ClientHello, with its server name if there is one.
    Sni(Option<&'a str>),
}

const RECORD_HEADER: usize = 5;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const NAME_TYPE_HOST: u8 = 0;
/// A TLS record holds at most 2^14 bytes of plaintext.
const RECORD_BYTES_MAX: usize = 1 << 14;

pub fn parse(bytes: &[u8]) -> Hello<'_> {
    // Wrong from the first byte that differs, so that other protocols are not kept waiting.
    let fixed: [(usize, &[u8]); 7] =
        [(0, &[HANDSHAKE]), (1, &[3]), (2, &[1, 3]), (5, &[CLIENT_HELLO]), (6, &[0]), (9, &[3]), (10, &[3])];
    for (at, allowed) in fixed {
        match bytes.get(at) {
            None => return Hello::Incomplete,
            Some(byte) if !allowed.contains(byte) => return Hello::NotTls,
            Some(_) => {}
        }
    }
    let record = usize::from(bytes[3]) << 8 | usize::from(bytes[4]);
    if record > RECORD_BYTES_MAX {
        return Hello::NotTls;
    }
    let Some(body) = bytes.get(RECORD_HEADER..RECORD_HEADER + record) else {
        return Hello::Incomplete;
    };
    hello_body(body).map_or(Hello::NotTls, Hello::Sni)
}

/// `None` when the record is not a well-formed ClientHello.
fn hello_body(record: &[u8]) -> Option<Option<&str>> {
    let mut outer = Reader(record);
    outer.take(1)?;
    let length = outer.length(3)?;
    let mut hello = Reader(outer.take(length)?);
    hello.take(2 + 32)?; // version, random
    hello.vector(1)?; // session id
    hello.vector(2)?; // cipher suites
    hello.vector(1)?; // compression methods
    if hello.0.is_empty() {
        return Some(None);
    }
    let mut extensions = Reader(hello.vector(2)?);
    while !extensions.0.is_empty() {
        let kind = extensions.length(2)?;
        let data = extensions.vector(2)?;
        if kind == usize::from(EXTENSION_SERVER_NAME) {
            let mut names = Reader(Reader(data).vector(2)?);
            while !names.0.is_empty() {
                let kind = names.take(1)?;
                let name = names.vector(2)?;
                if kind == [NAME_TYPE_HOST] {
                    return Some(std::str::from_utf8(name).ok());
                }
            }
            return Some(None);
        }
    }
    Some(None)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn length(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |n, b| n << 8 | usize::from(*b)))
    }

    fn vector(&mut self, length_bytes: usize) -> Option<&'a [u8]> {
        let n = self.length(length_bytes)?;
        self.take(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(name: &str, padding: usize) -> Vec<u8> {
        let be = |n: usize| [(n >> 8) as u8, n as u8];
        let mut ext = vec![0, 21];
        ext.extend(be(padding));
        ext.extend(vec![0; padding]);
        ext.extend([0, 0]);
        ext.extend(be(name.len() + 5));
        ext.extend(be(name.len() + 3));
        ext.push(0);
        ext.extend(be(name.len()));
        ext.extend(name.as_bytes());
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]);
        body.extend(be(ext.len()));
        body.extend(ext);
        let mut out = vec![22, 3, 1];
        out.extend(be(body.len() + 4));
        out.extend([1, 0]);
        out.extend(be(body.len()));
        out.extend(body);
        out
    }

    #[test]
    fn finds_the_name_in_a_hello_of_any_size() {
        for padding in [0, 1500, 9000] {
            let bytes = hello("web.ns.serviceaccount.identity.linkerd.cluster.local", padding);
            assert_eq!(parse(&bytes), Hello::Sni(Some("web.ns.serviceaccount.identity.linkerd.cluster.local")));
        }
    }

    #[test]
    fn every_prefix_of_a_hello_is_incomplete() {
        let bytes = hello("a.b", 40);
        for n in 0..bytes.len() {
            assert_eq!(parse(&bytes[..n]), Hello::Incomplete, "{n}");
        }
    }

    #[test]
    fn damaged_hellos_never_panic() {
        let bytes = hello("a.b", 4);
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = bytes.clone();
                bad[at] = value;
                let _ = parse(&bad);
            }
        }
        assert_eq!(parse(b"GET / HTTP/1.1"), Hello::NotTls);
    }
}
