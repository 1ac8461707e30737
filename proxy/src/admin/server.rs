//! Accepts, recognises and authorizes; `answers` does the rest.

use super::answers;
use crate::config::{self, Config};
use crate::control::Control;
use crate::control::identity::Identity;
use crate::control::model::{PeerId, inbound, route};
use crate::http::{Body, server};
use crate::inbound::{MeshAccepted, accept_mesh};
use crate::transport::Stream;
use crate::transport::detect::{Detected, HttpVersion, detect_http, detect_http_buffered};
use crate::{drain, metrics::Registry};
use h2::Reason;
use http::{Request, Response};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};

/// Whoever asks for metrics or health speaks first and at once.
const DETECT_TIMEOUT: Duration = Duration::from_secs(1);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Scrapers and probes are few; more connections than this wait.
const CONNECTIONS_MAX: usize = 256;

/// The admin server of one proxy; cheap to clone.
#[derive(Clone)]
pub struct Admin(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    metrics: Registry,
    is_ready: AtomicBool,
    shutdown: Notify,
    /// There once the proxy has an identity.
    mesh: OnceLock<Mesh>,
    /// Never given: the admin server answers until the process ends.
    drain: (drain::Signal, drain::Watch),
}

struct Mesh {
    identity: Identity,
    policy: watch::Receiver<Arc<inbound::ServerPolicy>>,
}

impl Admin {
    pub fn new(config: Arc<Config>, metrics: Registry) -> Self {
        Self(Arc::new(Inner {
            config,
            metrics,
            is_ready: AtomicBool::new(false),
            shutdown: Notify::new(),
            mesh: OnceLock::new(),
            drain: drain::channel(),
        }))
    }

    /// From now on the port takes mesh TLS and is under its policy.
    pub fn join_mesh(&self, identity: Identity, control: &Control) {
        let policy = control.inbound(self.0.config.admin.listen.port());
        let _ = self.0.mesh.set(Mesh { identity, policy });
    }

    /// From now on the proxy says that it is ready.
    pub fn set_ready(&self) {
        self.0.is_ready.store(true, Ordering::Release);
    }

    pub fn is_ready(&self) -> bool {
        self.0.is_ready.load(Ordering::Acquire)
    }

    pub fn metrics(&self) -> &Registry {
        &self.0.metrics
    }

    pub fn config(&self) -> &config::Admin {
        &self.0.config.admin
    }

    /// Asks for the end of the proxy.
    pub fn request_shutdown(&self) {
        self.0.shutdown.notify_one();
    }

    /// Resolves when somebody has asked for the end.
    pub async fn shutdown_requested(&self) {
        self.0.shutdown.notified().await;
    }

    /// Serves for ever: a draining proxy still says how it is.
    pub async fn serve(self, listener: TcpListener) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((tcp, peer)) => {
                    let admin = self.clone();
                    tokio::spawn(async move {
                        if let Err(error) = admin.connection(tcp, peer).await {
                            log::debug!(target: "admin", "connection of {peer}: {error}");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    log::warn!(target: "admin", "accept: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self, tcp: TcpStream, peer: SocketAddr) -> io::Result<()> {
        let MeshAccepted { mut stream, mesh } = match self.0.mesh.get() {
            Some(mesh) => accept_mesh(tcp, &mesh.identity, DETECT_TIMEOUT).await?,
            None => MeshAccepted { stream: Stream::plain(tcp), mesh: None },
        };
        let detected = match stream.as_plain() {
            Some(tcp) => detect_http(tcp, DETECT_TIMEOUT).await?,
            None => detect_http_buffered(&mut stream, DETECT_TIMEOUT).await?,
        };
        let service = Arc::new(Service { admin: self.clone(), peer, client: mesh });
        let drain = self.0.drain.1.clone();
        match detected {
            Detected::Http(HttpVersion::Http1) => server::serve_http1(stream, service, drain).await,
            Detected::Http(HttpVersion::Http2) => {
                server::serve_http2(stream, service, &self.0.config.inbound.common.http2_server, drain).await
            }
            Detected::NotHttp | Detected::TimedOut => return Err(io::ErrorKind::InvalidData.into()),
        }
        .map_err(|error| io::Error::other(format!("{error:?}")))
    }

    /// Whether the port's policy lets this client ask for this.
    fn is_allowed(&self, request: &Request<Body>, peer: SocketAddr, tls: inbound::ClientTls<'_>) -> bool {
        let Some(mesh) = self.0.mesh.get() else { return true };
        let policy = mesh.policy.borrow();
        let Some(http) = policy.http() else { return policy.check(peer.ip(), tls).is_some() };
        let Some(found) = route::find(&http.routes, route::Request::new(request)) else { return false };
        http.routes[found.route].rules[found.rule].policy.check(peer.ip(), tls).is_some()
    }
}

struct Service {
    admin: Admin,
    peer: SocketAddr,
    client: Option<Option<PeerId>>,
}

impl server::Service for Service {
    async fn call(&self, request: Box<Request<Body>>) -> Result<Response<Body>, Reason> {
        let tls = match &self.client {
            Some(id) => inbound::ClientTls::Mesh(id.as_ref()),
            None => inbound::ClientTls::None,
        };
        let is_allowed = self.admin.is_allowed(&request, self.peer, tls);
        let response =
            if is_allowed { answers::answer(&self.admin, *request, self.peer).await } else { answers::denied() };
        Ok(response.map(Body::from))
    }
}
