//! Serves one HTTP connection: hyper for HTTP/1, the h2 library itself for HTTP/2, where a request costs one task
//! and no channel.

use super::{Body, body::Timed, error::BodyError, headers, keep_alive::KeepAlive, permission::Sending, pump::Pump};
use crate::{config, drain, transport::Stream};
use bytes::Bytes;
use h2::{Reason, server::SendResponse};
use http::{Request, Response};
use http_body::Body as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::Poll,
    time::Duration,
};

/// A client whose connection has had no stream for so long is told to go.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// Bounds what one client can make the proxy hold; stock peers assume no limit, so it is well above what they use.
const STREAMS_MAX: u32 = 4096;
/// What a request's headers may take; the library's own limit is 16 MiB.
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// How much a stream may hold back that the client has no window for.
const SEND_BUFFER_BYTES: usize = 400 * 1024;

/// Answers the requests of one connection. A request is boxed, because it goes through many hands, each of which would
/// make the task of every request larger by its size.
pub trait Service: Send + Sync + 'static {
    /// An error is the code to reset the stream with; on HTTP/1 it closes the connection.
    fn call(&self, request: Box<Request<Body>>) -> impl Future<Output = Result<Response<Body>, Reason>> + Send;

    /// On HTTP/1, what the response goes on by that is being sent.
    fn sending(&self) -> Option<&Sending> {
        None
    }
}

pub async fn serve_http1<S: Service>(stream: Stream, service: Arc<S>, drain: drain::Watch) -> Result<(), BodyError> {
    // The response that is being sent, where its time is limited.
    let timed = Arc::new(Mutex::new(Weak::<Timed>::new()));
    let sending = timed.clone();
    let serving = service.clone();
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (service, sending) = (service.clone(), sending.clone());
        async move {
            let mut response = service.call(Box::new(request.map(Body::hyper))).await.map_err(h2::Error::from)?;
            if let Some(timed) = response.body_mut().share_timeout() {
                *sending.lock().unwrap_or_else(PoisonError::into_inner) = timed;
            }
            Ok::<_, h2::Error>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .auto_date_header(false)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut draining = pin!(drain.signaled());
    let mut is_draining = false;
    poll_fn(|cx| {
        let mut served = connection.as_mut().poll(cx);
        if served.is_pending() && !is_draining && draining.as_mut().poll(cx).is_ready() {
            is_draining = true;
            connection.as_mut().graceful_shutdown();
            served = connection.as_mut().poll(cx);
        }
        if let Poll::Ready(served) = served {
            return Poll::Ready(served.map_err(BodyError::from));
        }
        if let Some(sending) = serving.sending()
            && sending.poll_revoked(cx).is_ready()
        {
            return Poll::Ready(Err(BodyError::Revoked(Reason::CANCEL)));
        }
        // A client that reads nothing keeps the response from being asked for more: its time passes all the same.
        let timed = timed.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        match timed {
            Some(timed) => timed.poll(cx).map(Err),
            None => Poll::Pending,
        }
    })
    .await
}

pub async fn serve_http2<S: Service>(
    stream: Stream,
    service: Arc<S>,
    settings: &config::Http2Server,
    drain: drain::Watch,
) -> Result<(), BodyError> {
    let mut connection = builder(settings).handshake::<_, Bytes>(stream).await?;
    let ping = settings.keep_alive.map(|(interval, timeout)| (interval, timeout, true));
    let mut keep_alive = KeepAlive::new(connection.ping_pong(), ping, IDLE_TIMEOUT);
    let mut draining = pin!(drain.signaled());
    let mut is_closing = false;
    let in_use = Arc::new(());
    loop {
        let accepted = poll_fn(|cx| {
            if let Poll::Ready(accepted) = connection.poll_accept(cx) {
                return Poll::Ready(Ok(accepted));
            }
            if !is_closing && draining.as_mut().poll(cx).is_ready() {
                is_closing = true;
                connection.graceful_shutdown();
                return connection.poll_accept(cx).map(Ok);
            }
            keep_alive.poll(cx, Arc::strong_count(&in_use) > 1).map(|()| Err(()))
        })
        .await;
        match accepted {
            Ok(Some(Ok((request, respond)))) => {
                let request = Box::new(request.map(Body::h2));
                tokio::spawn(serve_stream(service.clone(), request, respond, in_use.clone(), drain.clone()));
            }
            Ok(Some(Err(error))) => return Err(error.into()),
            Ok(None) => return Ok(()),
            Err(()) if keep_alive.is_idle() && !is_closing => {
                is_closing = true;
                connection.graceful_shutdown();
                keep_alive = KeepAlive::new(None, None, IDLE_TIMEOUT);
            }
            // The client is gone without a word; its streams end with the connection.
            Err(()) => return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }
}

fn builder(settings: &config::Http2Server) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_concurrent_streams(settings.max_concurrent_streams.unwrap_or(STREAMS_MAX))
        .max_send_buffer_size(settings.max_send_buf_size.map_or(SEND_BUFFER_BYTES, |n| n as usize));
    if let Some(size) = settings.max_frame_size {
        // The library panics outside the protocol's own bounds.
        builder.max_frame_size(size.clamp(1 << 14, (1 << 24) - 1));
    }
    builder.max_header_list_size(settings.max_header_list_size.unwrap_or(HEADER_BYTES_MAX));
    if let Some(n) = settings.max_pending_accept_reset_streams {
        builder.max_pending_accept_reset_streams(n as usize);
    }
    builder
}

async fn serve_stream<S: Service>(
    service: Arc<S>,
    request: Box<Request<Body>>,
    mut respond: SendResponse<Bytes>,
    _in_use: Arc<()>,
    _drain: drain::Watch,
) {
    let answered = {
        let mut answer = pin!(service.call(request));
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            // The client gave the request up: so do we.
            Poll::Pending => respond.poll_reset(cx).map(|_| None),
        })
        .await
    };
    let response = match answered {
        Some(Ok(response)) => response,
        Some(Err(reason)) => return respond.send_reset(reason),
        None => return,
    };
    let (mut head, body) = response.into_parts();
    headers::strip_connection(&mut head.headers);
    head.headers.remove(http::header::TRANSFER_ENCODING);
    head.version = http::Version::HTTP_2;
    let is_end = body.is_end_stream();
    match respond.send_response(Response::from_parts(head, ()), is_end) {
        Ok(stream) if !is_end => {
            // However it ends, the stream says so to the client and the body's tracker has counted it.
            let _ = Pump::new(body, stream).await;
        }
        Ok(_) => {}
        Err(_) => respond.send_reset(Reason::INTERNAL_ERROR),
    }
}
