//! The accept loop of one worker, and what one connection goes through until its protocol is known.

use super::{
    app::App,
    client::{Client, Tls},
    context::{Context, Worker},
    direct,
    http::{HttpService, To},
    metrics::{self, Events},
    tcp,
};
use crate::{
    control::{
        identity::Identity,
        model::{PeerId, inbound::Protocol},
    },
    drain,
    http::server,
    transport::{
        Stream, accept_tls,
        detect::{Detected, DetectedTls, HttpVersion, detect_http, detect_http_buffered, detect_tls},
        failure::{self, Failure},
        listen,
        orig_dst::unmap,
    },
};
use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::{TcpListener, TcpStream};

/// Serves until the drain begins; connections go on until they are done.
pub async fn serve(listener: TcpListener, context: Arc<Context>, drain: drain::Watch) {
    let worker = Worker::new(context);
    let options = worker.context.direction().accept;
    loop {
        tokio::select! {
            biased;
            () = drain.signaled() => return,
            (tcp, peer) = listen::accept(&listener, options) => {
                let (worker, drain) = (worker.clone(), drain.clone());
                tokio::spawn(async move {
                    if let Err((error, target)) = connection(&worker, tcp, unmap(peer), drain).await {
                        metrics::connection_error(&worker.context.metrics, failure::label(&error), target);
                    }
                });
            }
        }
    }
}

/// A connection of which it is known whether it is mesh TLS.
pub struct MeshAccepted {
    pub stream: Stream,
    /// `Some` when the connection is mesh TLS; then with the client's identity, if it showed one.
    pub mesh: Option<Option<PeerId>>,
}

/// Takes mesh TLS when the client begins it, and leaves the connection as it is otherwise: for listeners of the proxy
/// itself, such as the admin server.
pub async fn accept_mesh(tcp: TcpStream, identity: &Identity, timeout: Duration) -> io::Result<MeshAccepted> {
    match detect_tls(&tcp, identity.server_name(), timeout).await? {
        DetectedTls::ForUs => {
            let credentials = identity.credentials().ok_or(io::ErrorKind::NotConnected)?;
            let accepted = accept_tls::accept(tcp, credentials.server.clone(), timeout).await?;
            Ok(MeshAccepted { stream: accepted.stream, mesh: Some(accepted.client_id) })
        }
        DetectedTls::TimedOut => Err(io::ErrorKind::TimedOut.into()),
        DetectedTls::Foreign(_) | DetectedTls::None => Ok(MeshAccepted { stream: Stream::plain(tcp), mesh: None }),
    }
}

type Failed = (io::Error, Option<SocketAddr>);

async fn connection(worker: &Arc<Worker>, tcp: TcpStream, peer: SocketAddr, drain: drain::Watch) -> Result<(), Failed> {
    let context = &worker.context;
    let addr = context.orig_dst.original_dst(&tcp, peer).map_err(|error| (error, None))?;
    let of = |error: io::Error| (error, Some(addr));
    let ips = &context.config.inbound.ips;
    if !ips.is_empty() && !ips.contains(&addr.ip()) {
        return Err(of(io::Error::other("not an address of this pod")));
    }
    if context.is_own_port(addr.port()) {
        return direct::serve(worker, tcp, peer, addr, drain).await.map_err(of);
    }
    let app = worker.app(addr);
    let policy = app.policy();
    if matches!(policy.protocol, Protocol::Opaque) {
        let client = Client { addr: peer, tls: Tls::PortSkipped };
        return tcp::forward(worker, &app, Stream::plain(tcp), client).await.map_err(of);
    }
    let timeout = context.direction().detect_timeout;
    let name = context.identity.server_name();
    let (stream, tls) = match detect_tls(&tcp, name, timeout).await.map_err(of)? {
        DetectedTls::ForUs => {
            let credentials = context.identity.credentials().ok_or_else(|| of(io::ErrorKind::NotConnected.into()))?;
            let accepted = accept_tls::accept(tcp, credentials.server.clone(), timeout).await.map_err(of)?;
            (accepted.stream, Tls::Mesh(accepted.client_id))
        }
        DetectedTls::Foreign(name) => (Stream::plain(tcp), Tls::Foreign(name.map(Arc::from))),
        DetectedTls::None => (Stream::plain(tcp), Tls::None),
        DetectedTls::TimedOut => return Err(of(Failure::TlsDetectTimeout.into())),
    };
    let client = Client { addr: peer, tls };
    recognise(worker, app, stream, client, timeout, drain).await.map_err(of)
}

/// Finds out what is spoken inside, as far as the policy leaves it open.
async fn recognise(
    worker: &Arc<Worker>,
    app: Arc<App>,
    mut stream: Stream,
    client: Client,
    timeout: Duration,
    drain: drain::Watch,
) -> io::Result<()> {
    let policy = app.policy();
    let is_meshed = matches!(client.tls, Tls::Mesh(_));
    let version = match &policy.protocol {
        _ if matches!(client.tls, Tls::Foreign(_)) => None,
        Protocol::Opaque | Protocol::Tls => None,
        Protocol::Http2(_) | Protocol::Grpc(_) => Some(HttpVersion::Http2),
        Protocol::Http1(_) if !is_meshed => Some(HttpVersion::Http1),
        Protocol::Http1(_) => match detected(worker, &app, &mut stream, timeout).await? {
            Detected::Http(version) => Some(version),
            Detected::TimedOut => Some(HttpVersion::Http1),
            Detected::NotHttp => None,
        },
        Protocol::Detect { timeout, .. } => match detected(worker, &app, &mut stream, *timeout).await? {
            Detected::Http(version) => Some(version),
            Detected::TimedOut | Detected::NotHttp => None,
        },
        // HTTP clients are told; the others are cut.
        Protocol::Invalid(_) => match detected(worker, &app, &mut stream, timeout).await? {
            Detected::Http(version) => Some(version),
            Detected::TimedOut | Detected::NotHttp => None,
        },
    };
    drop(policy);
    match version {
        Some(version) => http(worker, app, stream, client, To::App, version, drain).await,
        None => tcp::forward(worker, &app, stream, client).await,
    }
}

async fn detected(worker: &Worker, app: &App, stream: &mut Stream, timeout: Duration) -> io::Result<Detected> {
    let started = Instant::now();
    let outcome = match stream.as_plain() {
        Some(tcp) => detect_http(tcp, timeout).await,
        None => detect_http_buffered(stream, timeout).await,
    };
    let policy = app.policy();
    Events { registry: &worker.context.metrics, addr: app.addr, policy: &policy }.detected(&outcome, started.elapsed());
    outcome
}

pub(super) async fn http(
    worker: &Arc<Worker>,
    app: Arc<App>,
    mut stream: Stream,
    client: Client,
    to: To,
    version: HttpVersion,
    drain: drain::Watch,
) -> io::Result<()> {
    stream.set_sensor(app.class(&client.tls).transport.open());
    let service = Arc::new(HttpService::new(worker.clone(), app, client, to, version, drain.clone()));
    // The client may go when it likes; that is nobody's error.
    let _ = match version {
        HttpVersion::Http1 => server::serve_http1(stream, service, drain).await,
        HttpVersion::Http2 => {
            let settings = worker.context.direction().http2_server;
            server::serve_http2(stream, service, &settings, drain).await
        }
    };
    Ok(())
}
