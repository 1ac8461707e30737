//! The servers: HTTP/1.1, HTTP/2 with gRPC, and echo, on one thread.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{convert::Infallible, io, net::Ipv6Addr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const BODY: &[u8] = &[b'x'; 128];
const GRPC_MESSAGE: &[u8] = b"\0\0\0\0\x10sixteen bytes...";
const ECHO_BUFFER_BYTES: usize = 16384;

/// Prints `ready` and serves until the process is ended.
pub async fn serve(ports: &[u16]) -> io::Result<()> {
    for port in ports {
        for (offset, serve_connection) in [(0, Server::Http1), (1, Server::Http2), (2, Server::Echo)] {
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port + offset)).await?;
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(serve_connection.serve(stream));
                }
            });
        }
    }
    println!("ready");
    std::future::pending().await
}

#[derive(Clone, Copy)]
enum Server {
    Http1,
    Http2,
    Echo,
}

impl Server {
    /// Clients come and go as they like: how a connection ends does not matter here.
    async fn serve(self, stream: TcpStream) {
        match self {
            Self::Http1 => {
                let service = service_fn(answer);
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            }
            Self::Http2 => {
                let service = service_fn(answer);
                let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            }
            Self::Echo => echo(stream).await,
        }
    }
}

async fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; ECHO_BUFFER_BYTES];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, hyper::Error> {
    let is_grpc = request.headers().get("content-type").is_some_and(|kind| kind == "application/grpc");
    request.into_body().collect().await?;
    if !is_grpc {
        return Ok(Response::new(Full::new(Bytes::from_static(BODY)).boxed_unsync()));
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from_static(GRPC_MESSAGE)).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}
