//! One connection, plain or TLS, with static dispatch: bytes that detection read are replayed, a transport header
//! goes out with the first payload, and every byte is counted.

use super::sensor::Sensor;
use bytes::Bytes;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

enum Io {
    Plain(TcpStream),
    // A TLS session is large; the connections that have none should not pay for its size.
    Server(Box<server::TlsStream<TcpStream>>),
    Client(Box<client::TlsStream<TcpStream>>),
}

pub struct Stream {
    io: Io,
    /// Read already, to be read again first.
    unread: Bytes,
    /// Written with the first payload, or alone when the user reads or flushes first.
    preamble: Bytes,
    sensor: Option<Sensor>,
}

impl Stream {
    fn new(io: Io) -> Self {
        Self { io, unread: Bytes::new(), preamble: Bytes::new(), sensor: None }
    }

    pub fn plain(tcp: TcpStream) -> Self {
        Self::new(Io::Plain(tcp))
    }

    pub fn server(tls: server::TlsStream<TcpStream>) -> Self {
        Self::new(Io::Server(Box::new(tls)))
    }

    pub fn client(tls: client::TlsStream<TcpStream>) -> Self {
        Self::new(Io::Client(Box::new(tls)))
    }

    pub fn set_sensor(&mut self, sensor: Sensor) {
        self.sensor = Some(sensor);
    }

    pub fn set_preamble(&mut self, bytes: Vec<u8>) {
        self.preamble = bytes.into();
    }

    /// Puts bytes back in front of what is read next.
    pub fn unread(&mut self, bytes: Vec<u8>) {
        if self.unread.is_empty() {
            self.unread = bytes.into();
        } else if !bytes.is_empty() {
            self.unread = [&bytes, &self.unread[..]].concat().into();
        }
    }

    /// The socket itself, while nothing but the kernel holds bytes of it.
    pub fn as_plain(&self) -> Option<&TcpStream> {
        match &self.io {
            Io::Plain(tcp) if self.unread.is_empty() => Some(tcp),
            _ => None,
        }
    }

    pub fn tcp(&self) -> &TcpStream {
        match &self.io {
            Io::Plain(tcp) => tcp,
            Io::Server(tls) => tls.get_ref().0,
            Io::Client(tls) => tls.get_ref().0,
        }
    }

    /// Remembers why the connection ended, for the close counter.
    pub fn record_error(&mut self, error: &io::Error) {
        if let Some(sensor) = &mut self.sensor {
            sensor.record_error(error);
        }
    }

    fn poll_preamble(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.preamble.is_empty() {
            let n = ready!(self.io.poll_write(cx, &self.preamble))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let _ = self.preamble.split_to(n.min(self.preamble.len()));
        }
        Poll::Ready(Ok(()))
    }

    fn counted(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Poll::Ready(result), Some(sensor)) = (&result, &mut self.sensor) {
            match result {
                Ok(n) => sensor.wrote(*n),
                Err(error) => sensor.record_error(error),
            }
        }
        result
    }
}

impl Io {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(io) => Pin::new(io).poll_write(cx, bytes),
            Self::Server(io) => Pin::new(io).poll_write(cx, bytes),
            Self::Client(io) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, slices),
            Self::Server(io) => Pin::new(io).poll_write_vectored(cx, slices),
            Self::Client(io) => Pin::new(io).poll_write_vectored(cx, slices),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.unread.is_empty() {
            let n = this.unread.len().min(buf.remaining());
            buf.put_slice(&this.unread.split_to(n));
            return Poll::Ready(Ok(()));
        }
        if !this.preamble.is_empty() {
            ready!(this.poll_preamble(cx))?;
            ready!(Pin::new(&mut *this).poll_flush(cx))?;
        }
        let before = buf.filled().len();
        let result = match &mut this.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Server(io) => Pin::new(io).poll_read(cx, buf),
            Io::Client(io) => Pin::new(io).poll_read(cx, buf),
        };
        if let (Poll::Ready(result), Some(sensor)) = (&result, &mut this.sensor) {
            match result {
                Ok(()) => sensor.read(buf.filled().len() - before),
                Err(error) => sensor.record_error(error),
            }
        }
        result
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        while !this.preamble.is_empty() {
            let first = slices.iter().find(|s| !s.is_empty()).map_or(&[][..], |s| s);
            let both = [io::IoSlice::new(&this.preamble), io::IoSlice::new(first)];
            let n = ready!(this.io.poll_write_vectored(cx, &both))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let ours = n.min(this.preamble.len());
            let _ = this.preamble.split_to(ours);
            if n > ours {
                return this.counted(Poll::Ready(Ok(n - ours)));
            }
        }
        let result = match slices {
            [one] => this.io.poll_write(cx, one),
            many => this.io.poll_write_vectored(cx, many),
        };
        this.counted(result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_preamble(cx))?;
        match &mut this.io {
            Io::Plain(_) => Poll::Ready(Ok(())),
            Io::Server(io) => Pin::new(io).poll_flush(cx),
            Io::Client(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_preamble(cx))?;
        match &mut this.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Server(io) => Pin::new(io).poll_shutdown(cx),
            Io::Client(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
