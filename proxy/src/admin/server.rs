//! Accepts, recognises and authorizes; `answers` does the rest.

use super::answers;
use crate::config::{self, Config};
use crate::control::Control;
use crate::control::identity::Identity;
use crate::control::model::{PeerId, inbound::ServerPolicy};
use crate::http::{Body, Error, classify::Classifier, server, stats::RequestStats};
use crate::inbound::{self, MeshAccepted, accept_mesh};
use crate::transport::Stream;
use crate::transport::detect::{Detected, HttpVersion, detect_http, detect_http_buffered};
use crate::transport::orig_dst::unmap;
use crate::{drain, metrics::Registry};
use h2::Reason;
use http::{Request, Response};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
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
    policy: watch::Receiver<Arc<ServerPolicy>>,
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
        let (local, peer) = (unmap(tcp.local_addr()?), unmap(peer));
        let MeshAccepted { mut stream, mesh } = match self.0.mesh.get() {
            Some(mesh) => accept_mesh(tcp, &mesh.identity, DETECT_TIMEOUT).await?,
            None => MeshAccepted { stream: Stream::plain(tcp), mesh: None },
        };
        if let Some(known) = self.0.mesh.get() {
            let policy = known.policy.borrow().clone();
            stream.set_sensor(inbound::sensor(&self.0.metrics, local, &policy, mesh.as_ref()));
        }
        let detected = match stream.as_plain() {
            Some(tcp) => detect_http(tcp, DETECT_TIMEOUT).await?,
            None => detect_http_buffered(&mut stream, DETECT_TIMEOUT).await?,
        };
        let service = Arc::new(Service { admin: self.clone(), local, peer, client: mesh });
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

    /// Whether the port's policy lets this client ask for this; and what the response is counted in, once there is a policy.
    fn check(
        &self,
        request: &Request<Body>,
        local: SocketAddr,
        peer: SocketAddr,
        client: Option<&Option<PeerId>>,
    ) -> Result<Option<Arc<RequestStats>>, Error> {
        let Some(mesh) = self.0.mesh.get() else { return Ok(None) };
        let policy = mesh.policy.borrow().clone();
        inbound::judge(&self.0.metrics, local, &policy, peer, client, request).map(Some)
    }
}

struct Service {
    admin: Admin,
    local: SocketAddr,
    peer: SocketAddr,
    client: Option<Option<PeerId>>,
}

impl server::Service for Service {
    async fn call(&self, request: Box<Request<Body>>) -> Result<Response<Body>, Reason> {
        let started = Instant::now();
        let response = match self.admin.check(&request, self.local, self.peer, self.client.as_ref()) {
            Ok(stats) => {
                if let Some(stats) = &stats {
                    stats.request();
                }
                let response = answers::answer(&self.admin, *request, self.peer).await;
                if let Some(stats) = &stats {
                    let status = response.status();
                    stats.latency(status.as_u16(), started.elapsed());
                    stats.response(status.as_u16(), Classifier::new(false, status, None).end(None));
                }
                response
            }
            Err(error) => answers::denied(&error),
        };
        Ok(response.map(Body::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Control;
    use crate::control::testing;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn start(more: &[(&str, &str)]) -> (Admin, Control, SocketAddr) {
        let (config, control) = testing::control_without_plane(more);
        let admin = Admin::new(config, Registry::new(Duration::from_secs(600)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let addr = listener.local_addr().expect("bound");
        tokio::spawn(admin.clone().serve(listener));
        (admin, control, addr)
    }

    /// The whole answer, as text.
    async fn ask(addr: SocketAddr, head: &str) -> String {
        let mut tcp = TcpStream::connect(addr).await.expect("a listener");
        let request = format!("{head} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn says_what_probes_and_tools_expect() {
        let (admin, _, addr) = start(&[]).await;
        assert!(ask(addr, "GET /live").await.ends_with("\r\n\r\nlive\n"));
        let not_ready = ask(addr, "GET /ready").await;
        assert!(not_ready.starts_with("HTTP/1.1 503 ") && not_ready.ends_with("\r\n\r\nnot ready\n"));
        admin.set_ready();
        assert!(ask(addr, "GET /ready").await.ends_with("\r\n\r\nready\n"));
        assert!(ask(addr, "GET /metrics").await.ends_with("# EOF\n"));
        for (head, status) in [
            ("GET /x", 404),
            ("POST /live", 405),
            ("GET /shutdown", 405),
            ("POST /shutdown", 404),
            ("GET /proxy-log-level", 200),
            ("PUT /proxy-log-level", 204),
            ("GET /env.json?PATH", 200),
            ("GET /env.json?PATH=1", 400),
        ] {
            let answer = ask(addr, head).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
        }
    }

    #[tokio::test]
    async fn shuts_down_where_that_is_enabled() {
        let (admin, _, addr) = start(&[("SHUTDOWN_ENDPOINT_ENABLED", "true")]).await;
        let (answer, ()) = tokio::join!(ask(addr, "POST /shutdown"), admin.shutdown_requested());
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    #[tokio::test]
    async fn http2_is_spoken_too_and_the_rest_is_not_answered() {
        let (_, _, addr) = start(&[]).await;
        let tcp = TcpStream::connect(addr).await.expect("a listener");
        let (mut sender, connection) = h2::client::handshake(tcp).await.expect("HTTP/2");
        tokio::spawn(connection);
        let request = Request::get("http://admin/live").body(()).expect("a request");
        let (response, _) = sender.send_request(request, true).expect("sent");
        assert_eq!(response.await.expect("a response").status(), 200);

        let mut tcp = TcpStream::connect(addr).await.expect("a listener");
        tcp.write_all(b"\x00\x01\x02 nonsense, longer than a request line\r\n").await.expect("written");
        let mut answer = Vec::new();
        // A reset is as good as an end.
        let _ = tcp.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
    }

    #[tokio::test]
    async fn the_ports_policy_holds_but_never_for_the_pod_itself() {
        let (admin, control, _) = start(&[("INBOUND_DEFAULT_POLICY", "all-authenticated")]).await;
        let request = || Request::get("http://admin/metrics").body(Body::empty()).expect("a request");
        let local: SocketAddr = "10.0.0.1:4191".parse().expect("an address");
        let stranger: SocketAddr = "10.0.0.9:1".parse().expect("an address");
        let is_allowed = |peer, client: Option<&Option<PeerId>>| admin.check(&request(), local, peer, client).is_ok();
        assert!(is_allowed(stranger, None), "there is no policy before the mesh");
        admin.join_mesh(testing::identity(), &control);
        let client = PeerId::Dns("prometheus.ns.serviceaccount.identity.linkerd.cluster.local".into());
        assert!(!is_allowed(stranger, None));
        assert!(!is_allowed(stranger, Some(&None)));
        assert!(is_allowed(stranger, Some(&Some(client))));
        assert!(is_allowed(([127, 0, 0, 1], 1).into(), None));
    }
}
