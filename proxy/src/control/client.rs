//! The gRPC client of one control-plane service: one HTTP/2 connection over mesh TLS (plain to this machine), opened when
//! there is something to ask, to any of the service's addresses.

use super::addresses::Addresses;
use super::codec::PairCodec;
use super::identity::Identity;
use super::metrics::{StreamMetrics, is_broken};
use super::service_metrics::ServiceMetrics;
use crate::BoxError;
use crate::config::{self, ControlAddr, ControlPlane};
use crate::dial;
use crate::dns::Resolver;
use crate::metrics::Registry;
use crate::tls::{self, Trust};
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Status, Streaming};

/// A dead control plane is noticed by pings, because its streams are silent for long.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Names beyond these are not tried in one attempt; the next one starts elsewhere.
const CONNECTS_PER_ATTEMPT_MAX: usize = 8;

/// The endpoints of the largest Services come in one message, at some 300 bytes each.
const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    addr: ControlAddr,
    addresses: Arc<Addresses>,
    metrics: Arc<ServiceMetrics>,
    requests: StreamMetrics,
    origin: http::Uri,
    connector: Connector,
    connection: Mutex<Connection>,
    /// Counts the connections that were opened.
    opened: watch::Sender<u64>,
}

#[derive(Default)]
struct Connection {
    sender: Option<SendRequest<Body>>,
    /// When the last attempt failed, and why.
    failed: Option<(Instant, Arc<str>)>,
}

struct Opened {
    sender: SendRequest<Body>,
    /// An error when the connection has ended.
    closed: oneshot::Receiver<()>,
}

/// What all clients of control-plane services share.
#[derive(Clone)]
pub struct Connector {
    pub settings: Arc<ControlPlane>,
    pub resolver: Resolver,
    pub dns: config::Dns,
    pub registry: Registry,
    pub trust: Arc<Trust>,
    pub identity: Identity,
}

impl Client {
    /// `service` is `identity`, `destination` or `policy`, as metrics know it.
    pub fn new(service: &'static str, addr: ControlAddr, connector: Connector) -> Self {
        let host = if addr.host.contains(':') { format!("[{}]", addr.host) } else { addr.host.to_string() };
        let origin = http::Uri::builder()
            .scheme("http")
            .authority(format!("{host}:{}", addr.port))
            .path_and_query("/")
            .build()
            .unwrap_or_else(|_| http::Uri::from_static("http://control-plane/"));
        let (opened, _) = watch::channel(0);
        let metrics = ServiceMetrics::new(&connector.registry, service, &format!("{host}:{}", addr.port));
        let requests =
            StreamMetrics::new(&connector.registry, &format!("{host}:{}", addr.port), addr.identity.as_deref());
        let (resolver, dns) = (connector.resolver.clone(), connector.dns);
        let addresses = Arc::new(Addresses::new(addr.host.clone(), addr.port, resolver, dns, metrics.clone()));
        Self(Arc::new(Inner {
            addr,
            addresses,
            metrics,
            requests,
            origin,
            connector,
            connection: Mutex::default(),
            opened,
        }))
    }

    pub fn is_local(&self) -> bool {
        self.0.addr.identity.is_none()
    }

    pub fn authority(&self) -> &str {
        self.0.origin.authority().map_or("", http::uri::Authority::as_str)
    }

    /// Opens a stream of messages, each decoded as `M` and as our own fields `O`.
    pub async fn watch<Q, M, O>(&self, path: &'static str, request: Q) -> Result<Streaming<(M, O)>, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        M: prost::Message + Default + Send + 'static,
        O: prost::Message + Default + Send + 'static,
    {
        let path = PathAndQuery::from_static(path);
        let mut grpc = self.grpc();
        let response = grpc.server_streaming(tonic::Request::new(request), path, PairCodec::default()).await?;
        Ok(response.into_inner())
    }

    /// One question, one answer.
    pub async fn ask<Q, M>(&self, path: &'static str, request: Q) -> Result<M, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        M: prost::Message + Default + Send + 'static,
    {
        let path = PathAndQuery::from_static(path);
        let mut grpc = self.grpc();
        let started = Instant::now();
        self.0.requests.opened();
        let result = grpc.unary(tonic::Request::new(request), path, PairCodec::<Q, M, ()>::default()).await;
        let error = result.as_ref().err();
        if error.is_none_or(|status| !is_broken(status)) {
            self.0.requests.answered(started.elapsed());
        }
        self.0.requests.closed(error);
        Ok(result?.into_inner().0)
    }

    /// What is counted of its requests; those that `ask` makes are.
    pub(super) fn requests(&self) -> &StreamMetrics {
        &self.0.requests
    }

    fn grpc(&self) -> tonic::client::Grpc<Self> {
        tonic::client::Grpc::with_origin(self.clone(), self.0.origin.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Lets go of the connection; the next call opens another.
    pub async fn close(&self) {
        *self.0.connection.lock().await = Connection::default();
    }

    /// Word of every connection that is opened from now on: what waits to ask again may do so.
    pub fn watch_opened(&self) -> watch::Receiver<u64> {
        self.0.opened.subscribe()
    }

    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Incoming>, BoxError> {
        let mut sender = self.connection().await?;
        Ok(sender.send_request(request).await?)
    }

    /// The open connection, or a new one. Callers wait for one attempt together and share its failure, or a service that is
    /// away would be tried once for every one of them.
    async fn connection(&self) -> Result<SendRequest<Body>, BoxError> {
        let asked = Instant::now();
        let _waits = self.0.metrics.waits();
        let mut connection = self.0.connection.lock().await;
        if let Some(sender) = connection.sender.as_mut()
            && !sender.is_closed()
            && sender.ready().await.is_ok()
        {
            return Ok(sender.clone());
        }
        if let Some((at, why)) = &connection.failed
            && *at >= asked
        {
            return Err(why.to_string().into());
        }
        *connection = Connection::default();
        match self.connect().await {
            Ok((Opened { sender, closed }, to)) => {
                connection.sender = Some(sender.clone());
                self.0.opened.send_modify(|count| *count += 1);
                tokio::spawn(self.clone().follow_name(to, closed));
                Ok(sender)
            }
            Err(error) => {
                self.0.addresses.forget();
                self.0.metrics.failed();
                connection.failed = Some((Instant::now(), error.to_string().into()));
                Err(error)
            }
        }
    }
}

impl tower_service::Service<http::Request<Body>> for Client {
    type Response = http::Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let client = self.clone();
        Box::pin(async move { client.send(request).await })
    }
}

impl Client {
    async fn connect(&self) -> Result<(Opened, SocketAddr), BoxError> {
        let Inner { addr, addresses, connector, metrics, .. } = &*self.0;
        let (addrs, _) = addresses.get().await?;
        // Proxies spread over the replicas of the control plane.
        let first = (super::random_unit() * addrs.len() as f32) as usize % addrs.len().max(1);
        let mut failure: BoxError = format!("{} has no address", addr.host).into();
        for to in addrs.iter().cycle().skip(first).take(addrs.len().min(CONNECTS_PER_ATTEMPT_MAX)) {
            match connector.connect_to(*to, addr.identity.as_deref(), metrics).await {
                Ok(opened) => return Ok((opened, *to)),
                Err(e) => failure = format!("connect to {} at {to}: {e}", addr.host).into(),
            }
        }
        Err(failure)
    }

    /// Lets new questions go elsewhere when the service is no longer where a connection leads; streams that are open on it
    /// go on. Until then it holds nothing that would keep the connection.
    fn follow_name(self, to: SocketAddr, closed: oneshot::Receiver<()>) -> impl Future<Output = ()> {
        let (addresses, number) = (self.0.addresses.clone(), *self.0.opened.borrow());
        let client = Arc::downgrade(&self.0);
        async move {
            tokio::select! {
                () = addresses.moved_from(to) => {}
                _ = closed => return,
            }
            let Some(inner) = Weak::upgrade(&client) else { return };
            let mut connection = inner.connection.lock().await;
            if *inner.opened.borrow() == number {
                log::debug!(target: "control", "{} is no longer at {to}", inner.addr.host);
                connection.sender = None;
            }
        }
    }
}

impl Connector {
    async fn connect_to(
        &self,
        to: SocketAddr,
        identity: Option<&str>,
        metrics: &Arc<ServiceMetrics>,
    ) -> Result<Opened, BoxError> {
        let limit = self.settings.connect_timeout;
        let tcp = tokio::time::timeout(limit, dial::connect(to)).await.map_err(|_| "timed out")??;
        tcp.set_nodelay(true)?;
        let socket = socket2::SockRef::from(&tcp);
        if let Some(idle) = self.settings.connect.keepalive {
            socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(idle))?;
        }
        socket.set_tcp_user_timeout(self.settings.connect.user_timeout)?;
        let Some(identity) = identity else { return self.handshake(tcp, metrics).await };

        let config = match self.identity.credentials() {
            Some(credentials) => credentials.client.clone(),
            None => self.trust.anonymous_client()?,
        };
        let server = tls::peer_identity(identity)?;
        let connector = tokio_rustls::TlsConnector::from(config);
        let name: ServerName<'static> = server.server_name.clone();
        let tls = tokio::time::timeout(limit, connector.connect(name, tcp)).await.map_err(|_| "TLS timed out")??;
        tls::verify_server_id(tls.get_ref().1, &server)?;
        self.handshake(tls, metrics).await
    }

    async fn handshake<T>(&self, io: T, metrics: &Arc<ServiceMetrics>) -> Result<Opened, BoxError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(self.settings.http2_client.stream_window)
            .initial_connection_window_size(self.settings.http2_client.connection_window)
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .handshake(TokioIo::new(io))
            .await?;
        let open = metrics.opened();
        let (ended, closed) = oneshot::channel();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!(target: "control", "connection closed: {error}");
            }
            drop((open, ended));
        });
        Ok(Opened { sender, closed })
    }
}
