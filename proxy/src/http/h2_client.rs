//! One HTTP/2 connection per peer: made on first use, shared by all requests, replaced when it ends, closed when it
//! has been idle for long.

use super::{Body, error::Error, keep_alive::KeepAlive, pump::Pump, send::SendError};
use crate::{
    control::model::endpoint::{FlowControl, Http2Params},
    transport::{
        Stream,
        connect::{ConnectError, Connector},
        header::Session,
    },
};
use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Response, Version};
use http_body::Body as _;
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};
use tokio::sync::watch;

/// A connection without a stream for so long is closed: peers hold memory for each.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// What other peers assume when a connection is new.
const INITIAL_STREAMS_MAX: usize = 100;
/// How much a stream may hold back that the peer has no window for.
const SEND_BUFFER_BYTES: usize = 400 * 1024;
/// What a response's headers may take; HTTP/1 servers seldom send a quarter of it.
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// How often a request may meet a connection that turns out to be closed before it gives up.
const STALE_CONNECTIONS_MAX: usize = 3;

pub struct Http2Client {
    state: Mutex<State>,
    is_ready: AtomicBool,
    params: Http2Params,
    windows: (u32, u32),
    /// How many connections there have been.
    connections: AtomicU64,
    /// Held by each stream, so that the connection knows whether it is used.
    in_use: Arc<()>,
}

type Attempt = Option<Result<(SendRequest<Bytes>, u64), Arc<ConnectError>>>;

enum State {
    Idle,
    Connecting(watch::Receiver<Attempt>),
    /// With the number of the connection.
    Ready(SendRequest<Bytes>, u64),
}

impl Http2Client {
    /// `windows` are the stream's and the connection's, unless the peer's own parameters say otherwise.
    pub fn new(params: Http2Params, windows: (u32, u32)) -> Arc<Self> {
        let windows = match params.flow_control {
            Some(FlowControl::Fixed { connection_window, stream_window }) => (stream_window, connection_window),
            Some(FlowControl::Adaptive) | None => windows,
        };
        Arc::new(Self {
            state: Mutex::new(State::Idle),
            is_ready: AtomicBool::new(false),
            params,
            windows,
            connections: AtomicU64::new(0),
            in_use: Arc::default(),
        })
    }

    /// Whether a request can be sent at once, as far as is known.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Relaxed)
    }

    /// Connects unless that is done or under way, and waits for it.
    pub async fn connect_now(self: &Arc<Self>, connector: &Arc<Connector>) -> Result<(), ConnectError> {
        self.sender(connector).await.map(|_| ())
    }

    /// Sends a request, whatever version it says it has.
    pub async fn send(
        self: &Arc<Self>,
        connector: &Arc<Connector>,
        request: Box<Request<Body>>,
    ) -> Result<Response<Body>, Box<SendError>> {
        for _ in 0..STALE_CONNECTIONS_MAX {
            let (sender, number) = match self.open() {
                Some(open) => open,
                // Boxed: what connecting needs should not make every request's task larger.
                None => match Box::pin(self.sender(connector)).await {
                    Ok(sender) => sender,
                    Err(error) => return Err(SendError::unsent(Error::Connect(error), request)),
                },
            };
            match sender.ready().await {
                Ok(sender) => return self.send_on(sender, request).await,
                Err(_) => self.forget(number),
            }
        }
        let closed = ConnectError::Io(std::io::ErrorKind::ConnectionReset.into());
        Err(SendError::unsent(Error::Connect(closed), request))
    }

    async fn send_on(
        &self,
        mut sender: SendRequest<Bytes>,
        request: Box<Request<Body>>,
    ) -> Result<Response<Body>, Box<SendError>> {
        let in_use = self.in_use.clone();
        let (mut head, body) = request.into_parts();
        // Without an authority, only this makes the library send the rest, with `Host` in its place.
        head.version = if head.uri.authority().is_some() { Version::HTTP_2 } else { Version::HTTP_11 };
        let is_end = body.is_end_stream();
        // A request without a body can be sent again if the peer never looked at it.
        let again = is_end.then(|| head.clone());
        let unsent = |error: h2::Error| {
            let is_unseen = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM)
                || error.is_go_away() && error.is_remote();
            let request = again.filter(|_| is_unseen).map(|head| Box::new(Request::from_parts(head, Body::empty())));
            Box::new(SendError { error: Error::Upstream(error.into()), request })
        };
        let (response, stream) = match sender.send_request(Request::from_parts(head, ()), is_end) {
            Ok(sent) => sent,
            Err(error) => return Err(unsent(error)),
        };
        drop(sender);
        let mut response = pin!(response);
        if !is_end {
            let mut pump = Some(Pump::new(body, stream));
            // The body and the response go their ways at once: the usual short body is gone before the first wait.
            let early = poll_fn(|cx| {
                if let Some(sending) = &mut pump
                    && Pin::new(sending).poll(cx).is_ready()
                {
                    pump = None;
                }
                response.as_mut().poll(cx)
            })
            .await;
            // A request that was refused is done with; its body can go elsewhere.
            if let (Some(pump), true) = (pump, early.is_ok()) {
                tokio::spawn(pump);
            }
            return early.map(|r| r.map(|b| Body::h2_held(b, in_use))).map_err(unsent);
        }
        drop(stream);
        response.await.map(|r| r.map(|b| Body::h2_held(b, in_use))).map_err(unsent)
    }

    fn open(&self) -> Option<(SendRequest<Bytes>, u64)> {
        match &*self.lock() {
            State::Ready(sender, number) => Some((sender.clone(), *number)),
            State::Idle | State::Connecting(_) => None,
        }
    }

    async fn sender(self: &Arc<Self>, connector: &Arc<Connector>) -> Result<(SendRequest<Bytes>, u64), ConnectError> {
        let mut attempt = {
            let mut state = self.lock();
            match &*state {
                State::Ready(sender, number) => return Ok((sender.clone(), *number)),
                State::Connecting(attempt) => attempt.clone(),
                State::Idle => {
                    let (done, attempt) = watch::channel(None);
                    *state = State::Connecting(attempt.clone());
                    // A task, so that the connection comes about even if the request that asked for it is given up.
                    tokio::spawn(self.clone().connect(connector.clone(), done));
                    attempt
                }
            }
        };
        match attempt.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok((sender, number)))) => Ok((sender.clone(), *number)),
            Ok(Some(Err(error))) => Err(ConnectError::Shared(error.clone())),
            Ok(None) | Err(_) => Err(ConnectError::Io(std::io::ErrorKind::ConnectionAborted.into())),
        }
    }

    async fn connect(self: Arc<Self>, connector: Arc<Connector>, done: watch::Sender<Attempt>) {
        let outcome = match connector.connect(Some(Session::Http2)).await {
            Ok(stream) => self.handshake(stream).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok((sender, number)) => {
                *self.lock() = State::Ready(sender.clone(), number);
                self.is_ready.store(true, Relaxed);
                done.send_replace(Some(Ok((sender, number))));
            }
            Err(error) => {
                *self.lock() = State::Idle;
                done.send_replace(Some(Err(Arc::new(error))));
            }
        }
    }

    async fn handshake(self: &Arc<Self>, stream: Stream) -> Result<(SendRequest<Bytes>, u64), ConnectError> {
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(self.windows.0)
            .initial_connection_window_size(self.windows.1)
            .initial_max_send_streams(INITIAL_STREAMS_MAX)
            .max_header_list_size(HEADER_BYTES_MAX)
            .max_send_buffer_size(self.params.max_send_buf_size.map_or(SEND_BUFFER_BYTES, |n| n as usize))
            .enable_push(false);
        if let Some(size) = self.params.max_frame_size {
            // The library panics outside the protocol's own bounds.
            builder.max_frame_size(size.clamp(1 << 14, (1 << 24) - 1));
        }
        if let Some(n) = self.params.max_concurrent_reset_streams {
            builder.max_concurrent_reset_streams(n as usize);
        }
        let (sender, connection) = builder.handshake(stream).await.map_err(|error| {
            ConnectError::Io(error.into_io().unwrap_or_else(|| std::io::ErrorKind::InvalidData.into()))
        })?;
        let number = self.connections.fetch_add(1, Relaxed);
        let ping = self.params.keep_alive.map(|k| (k.interval, k.timeout, k.while_idle));
        tokio::spawn(drive(Arc::downgrade(self), connection, number, ping, self.in_use.clone()));
        Ok((sender, number))
    }

    fn forget(&self, number: u64) {
        let mut state = self.lock();
        if matches!(*state, State::Ready(_, n) if n == number) {
            *state = State::Idle;
            self.is_ready.store(false, Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a connection to its end. Once its client is dropped nothing new is sent on it, and it ends with its last stream.
async fn drive(
    client: Weak<Http2Client>,
    mut connection: h2::client::Connection<Stream, Bytes>,
    number: u64,
    ping: Option<(Duration, Duration, bool)>,
    in_use: Arc<()>,
) {
    let mut keep_alive = KeepAlive::new(connection.ping_pong(), ping, IDLE_TIMEOUT);
    poll_fn(|cx| {
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // The client holds one, this task another.
        keep_alive.poll(cx, Arc::strong_count(&in_use) > 2)
    })
    .await;
    if let Some(client) = client.upgrade() {
        client.forget(number);
    }
    // Once nobody can send, an idle connection says goodbye and ends; if the peer is gone it just ends.
    if keep_alive.is_idle() {
        let _ = connection.await;
    }
}
