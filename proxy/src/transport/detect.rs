//! Tells HTTP/1, HTTP/2 and everything else apart by a connection's first bytes, and reads as long as these are
//! still the beginning of something known. On a plain socket by peeking; inside TLS into a buffer that is replayed.

use super::{client_hello, client_hello::Hello, peek::peek_until, stream::Stream};
use std::{io, time::Duration};
use tokio::{io::AsyncReadExt, net::TcpStream};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    Http1,
    Http2,
}

/// The end of HTTP detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    Http(HttpVersion),
    NotHttp,
    TimedOut,
}

/// What a connection's first bytes say about TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DetectedTls {
    /// A ClientHello for the name that was asked about.
    ForUs,
    /// A ClientHello for another name, or for none.
    Foreign(Option<String>),
    None,
    TimedOut,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `PRI * HTTP/2.0` or `GET / HTTP/1.1`: what a decision needs at least.
const DECIDE_BYTES_MIN: usize = 14;
/// A request line longer than this is not waited for; what hyper would refuse anyway.
const DETECT_BYTES_MAX: usize = 8 * 1024;
/// Room for each read; a first flight of more comes out of the TLS session piece by piece.
const DETECT_READ_BYTES: usize = 1024;
const METHODS: [&[u8]; 9] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"CONNECT ", b"OPTIONS ", b"TRACE ", b"PATCH "];

/// `None` while the bytes may still become either.
pub fn http_version(bytes: &[u8], is_last: bool) -> Option<Detected> {
    let common = bytes.len().min(PREFACE.len());
    if bytes[..common] == PREFACE[..common] && !bytes.is_empty() {
        return match common >= DECIDE_BYTES_MIN {
            true => Some(Detected::Http(HttpVersion::Http2)),
            false => is_last.then_some(Detected::NotHttp),
        };
    }
    match httparse::Request::new(&mut []).parse(bytes) {
        Ok(httparse::Status::Complete(_)) | Err(httparse::Error::TooManyHeaders) => {
            Some(Detected::Http(HttpVersion::Http1))
        }
        Err(_) => Some(Detected::NotHttp),
        Ok(httparse::Status::Partial) if is_last => Some(Detected::NotHttp),
        Ok(httparse::Status::Partial) => partial_request_line(bytes),
    }
}

/// A line that has not ended: worth waiting for if it begins with a known method. Short messages of other protocols
/// that happen to look like a token must not wait.
fn partial_request_line(bytes: &[u8]) -> Option<Detected> {
    let known = METHODS.iter().any(|m| {
        let n = m.len().min(bytes.len());
        m[..n] == bytes[..n]
    });
    if known || bytes.iter().all(|b| matches!(b, b'\r' | b'\n')) {
        return None;
    }
    let is_request = bytes.len() >= DECIDE_BYTES_MIN && bytes.contains(&b' ');
    Some(if is_request { Detected::Http(HttpVersion::Http1) } else { Detected::NotHttp })
}

/// Decides about an unread plain socket and leaves it unread. A peer that closes before it sent anything is an error.
pub async fn detect_http(stream: &TcpStream, timeout: Duration) -> io::Result<Detected> {
    let peeked = tokio::time::timeout(timeout, peek_until(stream, http_or_closed)).await;
    match peeked {
        Err(_) => Ok(Detected::TimedOut),
        Ok(Err(error)) => Err(error),
        Ok(Ok(Some(Some(detected)))) => Ok(detected),
        Ok(Ok(_)) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[allow(clippy::option_option)]
fn http_or_closed(bytes: &[u8], is_last: bool) -> Option<Option<Detected>> {
    match bytes.is_empty() {
        true => is_last.then_some(None),
        false => http_version(bytes, is_last).map(Some),
    }
}

/// Decides inside TLS: what is read for it goes back into the stream and is read again by its user.
pub async fn detect_http_buffered(stream: &mut Stream, timeout: Duration) -> io::Result<Detected> {
    // The buffer lives outside the timed future, or what it holds would be lost with it.
    let mut buffer = Vec::new();
    let detect = async {
        loop {
            buffer.reserve(DETECT_READ_BYTES);
            let n = stream.read_buf(&mut buffer).await?;
            if n == 0 && buffer.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(detected) = http_version(&buffer, n == 0 || buffer.len() >= DETECT_BYTES_MAX) {
                return Ok(detected);
            }
        }
    };
    let outcome = tokio::time::timeout(timeout, detect).await.unwrap_or(Ok(Detected::TimedOut));
    stream.unread(buffer);
    outcome
}

/// Whether an unread plain socket begins with a ClientHello for `name`; it stays unread.
pub async fn detect_tls(stream: &TcpStream, name: &str, timeout: Duration) -> io::Result<DetectedTls> {
    let decide = |bytes: &[u8], is_last: bool| match client_hello::parse(bytes) {
        Hello::NotTls => Some(DetectedTls::None),
        Hello::Sni(Some(sni)) if sni.eq_ignore_ascii_case(name) => Some(DetectedTls::ForUs),
        Hello::Sni(sni) => Some(DetectedTls::Foreign(sni.map(str::to_owned))),
        Hello::Incomplete => is_last.then_some(DetectedTls::None),
    };
    match tokio::time::timeout(timeout, peek_until(stream, decide)).await {
        Err(_) => Ok(DetectedTls::TimedOut),
        Ok(result) => Ok(result?.unwrap_or(DetectedTls::None)),
    }
}

/// The server name of the ClientHello that an unread plain socket begins with, if it does.
pub async fn server_name(stream: &TcpStream, timeout: Duration) -> io::Result<Option<String>> {
    let decide = |bytes: &[u8], is_last: bool| match client_hello::parse(bytes) {
        Hello::Sni(name) => Some(name.map(str::to_owned)),
        Hello::NotTls => Some(None),
        Hello::Incomplete => is_last.then_some(None),
    };
    match tokio::time::timeout(timeout, peek_until(stream, decide)).await {
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
        Ok(result) => Ok(result?.flatten()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(bytes: &[u8]) -> Option<Detected> {
        http_version(bytes, false)
    }

    #[test]
    fn knows_http_by_its_first_line_however_it_is_cut() {
        let request = b"GET /path HTTP/1.1\r\nhost: a\r\n\r\n";
        for n in 1..18 {
            assert_eq!(decide(&request[..n]), None, "{n}");
        }
        assert_eq!(decide(request), Some(Detected::Http(HttpVersion::Http1)));
        for n in 1..DECIDE_BYTES_MIN {
            assert_eq!(decide(&PREFACE[..n]), None, "{n}");
        }
        assert_eq!(decide(PREFACE), Some(Detected::Http(HttpVersion::Http2)));
        assert_eq!(decide(b"BREW /pot HTTP/1.1\r\n\r\n"), Some(Detected::Http(HttpVersion::Http1)));
    }

    #[test]
    fn other_protocols_do_not_wait() {
        for bytes in [&b"hello"[..], b"PING\r\n", b"\x16\x03\x01", b"*1\r\n$4\r\n", b"SSH-2.0-x", b"hello world\n"] {
            assert_eq!(decide(bytes), Some(Detected::NotHttp), "{bytes:?}");
        }
        assert_eq!(http_version(b"GET /", true), Some(Detected::NotHttp));
    }
}
