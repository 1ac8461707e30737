//! The transport header of direct connections: a preface, a length and a small protobuf message, sent first inside
//! TLS when the peer chose the protocol by ALPN.

use super::stream::Stream;
use prost::Message;
use std::{io, time::Duration};
use tokio::io::AsyncReadExt;

const PREFACE: &[u8] = b"transport.l5d.io/v1\r\n\r\n";
const LENGTH_BYTES: usize = 4;
/// What stock proxies accept.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct HeaderMessage {
    #[prost(int32, tag = "1")]
    port: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, optional, tag = "3")]
    session: Option<SessionMessage>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct SessionMessage {
    #[prost(oneof = "SessionKind", tags = "1, 2")]
    kind: Option<SessionKind>,
}

#[derive(Clone, PartialEq, Eq, prost::Oneof)]
enum SessionKind {
    #[prost(message, tag = "1")]
    Http1(()),
    #[prost(message, tag = "2")]
    Http2(()),
}

/// The protocol that the client will speak, when it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    Http1,
    Http2,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportHeader {
    /// The port that the client was going to.
    pub port: u16,
    /// Where a gateway is to send it; absent for the pod itself.
    pub name: Option<String>,
    pub session: Option<Session>,
}

impl TransportHeader {
    pub fn encode(&self) -> Vec<u8> {
        let kind = self.session.map(|s| match s {
            Session::Http1 => SessionKind::Http1(()),
            Session::Http2 => SessionKind::Http2(()),
        });
        let message = HeaderMessage {
            port: i32::from(self.port),
            name: self.name.clone().unwrap_or_default(),
            session: kind.map(|kind| SessionMessage { kind: Some(kind) }),
        };
        let body = message.encode_to_vec();
        let mut out = Vec::with_capacity(PREFACE.len() + LENGTH_BYTES + body.len());
        out.extend_from_slice(PREFACE);
        out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// `None` while bytes are missing; otherwise the header and how many bytes it took.
    fn decode(bytes: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let common = bytes.len().min(PREFACE.len());
        if bytes[..common] != PREFACE[..common] {
            return Err(invalid("no transport header preface"));
        }
        let Some((length, rest)) = bytes.get(PREFACE.len()..).and_then(|b| b.split_first_chunk::<LENGTH_BYTES>())
        else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MESSAGE_BYTES_MAX {
            return Err(invalid("transport header too long"));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = HeaderMessage::decode(body).map_err(|_| invalid("malformed transport header"))?;
        let port = u16::try_from(message.port).ok().filter(|p| *p > 0);
        let header = Self {
            port: port.ok_or_else(|| invalid("transport header without a port"))?,
            name: (!message.name.is_empty()).then_some(message.name),
            session: message.session.and_then(|s| s.kind).map(|kind| match kind {
                SessionKind::Http1(()) => Session::Http1,
                SessionKind::Http2(()) => Session::Http2,
            }),
        };
        Ok(Some((header, PREFACE.len() + LENGTH_BYTES + length)))
    }
}

/// Reads the header; bytes that follow it stay in the stream.
pub async fn read(stream: &mut Stream, timeout: Duration) -> io::Result<TransportHeader> {
    let read = async {
        let mut buffer = Vec::with_capacity(256);
        loop {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some((header, length)) = TransportHeader::decode(&buffer)? {
                buffer.drain(..length);
                stream.unread(buffer);
                return Ok(header);
            }
        }
    };
    tokio::time::timeout(timeout, read).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_the_wire() {
        for header in [
            TransportHeader { port: 4444, name: None, session: None },
            TransportHeader { port: 80, name: Some("web.ns.svc.cluster.local".into()), session: Some(Session::Http2) },
            TransportHeader { port: 65535, name: None, session: Some(Session::Http1) },
        ] {
            let mut bytes = header.encode();
            let length = bytes.len();
            for n in 0..length {
                assert!(matches!(TransportHeader::decode(&bytes[..n]), Ok(None)), "{n}");
            }
            bytes.extend(b"payload");
            assert_eq!(TransportHeader::decode(&bytes).unwrap(), Some((header, length)));
        }
    }

    #[test]
    fn refuses_what_is_no_header() {
        let with = |length: u32, body: &[u8]| [PREFACE, &length.to_be_bytes(), body].concat();
        for bytes in [b"GET / HTTP/1.1\r\n".to_vec(), with(1 << 20, b""), with(2, &[0xff, 0xff]), with(0, b"")] {
            assert!(TransportHeader::decode(&bytes).is_err(), "{bytes:?}");
        }
    }
}
