//! One request and its answer, over each of the protocols, on a connection that stays.

use bytes::{Buf, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{Request, Response};
use std::{error::Error, future::Future, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Host of all requests: the name that the bench's control plane gives the server.
const AUTHORITY: &str = "server.bench.svc.cluster.local";
const ECHO_BYTES: usize = 128;
const HEADERS_MAX: usize = 32;
const READ_BYTES: usize = 4096;
/// A gRPC message of 16 bytes, uncompressed.
const GRPC_MESSAGE: &[u8] = b"\0\0\0\0\x10sixteen bytes...";

pub trait Exchange {
    fn once(&mut self) -> impl Future<Output = Result<()>>;
}

async fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub struct Echo(TcpStream);

impl Echo {
    pub async fn open(addr: SocketAddr) -> Result<Self> {
        connect(addr).await.map(Self)
    }
}

impl Exchange for Echo {
    async fn once(&mut self) -> Result<()> {
        let mut buffer = [7; ECHO_BYTES];
        self.0.write_all(&buffer).await?;
        self.0.read_exact(&mut buffer).await?;
        Ok(())
    }
}

pub struct Http1 {
    stream: TcpStream,
    request: Bytes,
    buffer: BytesMut,
}

impl Http1 {
    pub async fn open(addr: SocketAddr) -> Result<Self> {
        Ok(Self { stream: connect(addr).await?, request: request_text(), buffer: BytesMut::with_capacity(READ_BYTES) })
    }
}

pub fn request_text() -> Bytes {
    let text = format!("GET /bench HTTP/1.1\r\nHost: {AUTHORITY}\r\nUser-Agent: tulle-load\r\nAccept: */*\r\n\r\n");
    Bytes::from(text)
}

impl Exchange for Http1 {
    async fn once(&mut self) -> Result<()> {
        self.stream.write_all(&self.request).await?;
        loop {
            if let Some(length) = answer_bytes(&self.buffer)? {
                self.buffer.advance(length);
                return Ok(());
            }
            self.buffer.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the connection ended before the answer did".into());
            }
        }
    }
}

/// The length of the answer at the start of `buffer` once it is whole; an error unless it is 200 with a length.
pub fn answer_bytes(buffer: &[u8]) -> Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = answer.parse(buffer)? else { return Ok(None) };
    if answer.code != Some(200) {
        return Err(format!("status {:?}", answer.code).into());
    }
    let length = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length: usize = std::str::from_utf8(length.ok_or("an answer without length")?.value)?.parse()?;
    Ok((buffer.len() >= head_bytes + length).then_some(head_bytes + length))
}

/// HTTP/2 and gRPC: a stream per request; clones share the connection.
#[derive(Clone)]
pub struct Http2 {
    sender: SendRequest<Bytes>,
    is_grpc: bool,
}

impl Http2 {
    pub async fn open(addr: SocketAddr, is_grpc: bool) -> Result<Self> {
        let (sender, connection) = h2::client::handshake(connect(addr).await?).await?;
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        Ok(Self { sender: sender.ready().await?, is_grpc })
    }
}

impl Exchange for Http2 {
    async fn once(&mut self) -> Result<()> {
        let request = Request::builder().uri(format!("http://{AUTHORITY}/bench.Echo/Unary"));
        let request = if self.is_grpc {
            request.method("POST").header("content-type", "application/grpc").header("te", "trailers")
        } else {
            request.header("user-agent", "tulle-load").header("accept", "*/*")
        };
        let mut ready = self.sender.clone().ready().await?;
        let (answer, mut body) = ready.send_request(request.body(())?, !self.is_grpc)?;
        if self.is_grpc {
            body.send_data(Bytes::from_static(GRPC_MESSAGE), true)?;
        }
        self.receive(answer.await?).await
    }
}

impl Http2 {
    async fn receive(&self, answer: Response<h2::RecvStream>) -> Result<()> {
        if answer.status() != 200 {
            return Err(format!("status {}", answer.status()).into());
        }
        let early_status = answer.headers().get("grpc-status").cloned();
        let mut body = answer.into_body();
        while let Some(data) = body.data().await {
            let length = data?.len();
            body.flow_control().release_capacity(length)?;
        }
        if self.is_grpc {
            let trailers = body.trailers().await?;
            let status = trailers.as_ref().and_then(|trailers| trailers.get("grpc-status")).or(early_status.as_ref());
            if status.is_none_or(|status| status != "0") {
                return Err(format!("grpc-status {status:?}").into());
            }
        }
        Ok(())
    }
}
