//! The accept loop of one worker, and what one connection goes through.

use super::{
    context::Context,
    http::HttpService,
    metrics::ConnectionCounters,
    opaque,
    target::{Target, Worker},
};
use crate::{
    control::{Destination, model::outbound::Protocol},
    drain,
    http::{BodyError, server},
    transport::{
        Stream,
        detect::{Detected, HttpVersion, detect_http},
        listen,
    },
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
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
                    if let Err(error) = connection(&worker, tcp, peer, drain).await {
                        worker.counters.connection(&error, None);
                    }
                });
            }
        }
    }
}

async fn connection(worker: &Arc<Worker>, tcp: TcpStream, peer: SocketAddr, drain: drain::Watch) -> io::Result<()> {
    let orig_dst = worker.context.orig_dst.original_dst(&tcp, peer)?;
    if worker.context.is_self(orig_dst) {
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the destination is this proxy"));
    }
    let target =
        worker.target(Destination::Addr(orig_dst)).await.map_err(|error| io::Error::other(error.0.to_string()))?;
    let policy = target.policy();
    let counters = ConnectionCounters::new(&worker.context.metrics, &policy.parent);
    counters.protocol(&policy.protocol);
    let version = match &policy.protocol {
        Protocol::Http1(_) => Some(HttpVersion::Http1),
        Protocol::Http2(_) | Protocol::Grpc(_) => Some(HttpVersion::Http2),
        Protocol::Opaque(_) | Protocol::Tls(_) => None,
        Protocol::Detect { timeout, .. } => detected(&counters, &tcp, *timeout).await?,
        Protocol::Invalid(_) => {
            let timeout = worker.context.direction().detect_timeout;
            detected(&counters, &tcp, timeout).await?
        }
    };
    drop(policy);
    let mut stream = Stream::plain(tcp);
    if let Some(metrics) = &target.accept_metrics {
        stream.set_sensor(metrics.open());
    }
    match version {
        Some(version) => http(worker, target, stream, version, peer.ip(), drain).await,
        None => opaque::forward(worker, &target, stream, drain).await,
    }
}

async fn http(
    worker: &Arc<Worker>,
    target: Arc<Target>,
    stream: Stream,
    version: HttpVersion,
    client: IpAddr,
    drain: drain::Watch,
) -> io::Result<()> {
    let service = Arc::new(HttpService::new(worker.clone(), target, version, client, drain.clone()));
    let served = match version {
        HttpVersion::Http1 => server::serve_http1(stream, service, drain).await,
        HttpVersion::Http2 => {
            let settings = worker.context.direction().http2_server;
            server::serve_http2(stream, service, &settings, drain).await
        }
    };
    // The application may go when it likes; that is nobody's error.
    served.or_else(|error| match error {
        BodyError::Other(error) => Err(io::Error::other(error)),
        BodyError::H2(_) | BodyError::Hyper(_) | BodyError::TimedOut(_) | BodyError::Revoked(_) => Ok(()),
    })
}

async fn detected(
    counters: &ConnectionCounters<'_>,
    tcp: &TcpStream,
    timeout: Duration,
) -> io::Result<Option<HttpVersion>> {
    let started = Instant::now();
    let outcome = detect_http(tcp, timeout).await;
    counters.detected(&outcome, started.elapsed());
    Ok(match outcome? {
        Detected::Http(version) => Some(version),
        Detected::NotHttp | Detected::TimedOut => None,
    })
}
