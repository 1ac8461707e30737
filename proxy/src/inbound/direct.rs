//! Connections to the proxy's own port: a transport header says where in this pod they are to go, or, for a gateway, to
//! which Service of the cluster.

use super::{
    client::{Client, Tls},
    context::Worker,
    gateway,
    http::To,
    metrics,
    serve::http,
    tcp,
};
use crate::{
    drain,
    transport::{
        accept_tls,
        detect::{DetectedTls, HttpVersion, detect_tls},
        failure::Failure,
        header::{self, Session},
    },
};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;

/// `addr` is the proxy's own address, as the client reached it.
pub async fn serve(
    worker: &Arc<Worker>,
    tcp: TcpStream,
    peer: SocketAddr,
    addr: SocketAddr,
    drain: drain::Watch,
) -> io::Result<()> {
    let context = &worker.context;
    let timeout = context.direction().detect_timeout;
    match detect_tls(&tcp, context.identity.server_name(), timeout).await? {
        DetectedTls::ForUs => {}
        DetectedTls::TimedOut => return Err(Failure::TlsDetectTimeout.into()),
        _ => return refuse("direct connections need mesh TLS"),
    }
    let credentials = context.identity.credentials().ok_or(io::ErrorKind::NotConnected)?;
    let mut accepted = accept_tls::accept(tcp, credentials.server_alpn.clone(), timeout).await?;
    if !accepted.has_transport_header {
        return refuse("direct connections need a transport header");
    }
    if accepted.client_id.is_none() {
        return refuse("direct connections need a client identity");
    }
    let header = header::read(&mut accepted.stream, timeout).await?;
    let client = Client { addr: peer, tls: Tls::Mesh(accepted.client_id) };
    metrics::transport_header(&context.metrics, &header, &client);
    let version = header.session.map(|session| match session {
        Session::Http1 => HttpVersion::Http1,
        Session::Http2 => HttpVersion::Http2,
    });
    if let Some(name) = header.name {
        let gateway = worker.app(addr);
        return gateway::serve(worker, gateway, accepted.stream, client, (&name, header.port), version, drain).await;
    }
    if context.is_own_port(header.port) {
        return refuse("the transport header leads back here");
    }
    let app = worker.app(SocketAddr::new(addr.ip(), header.port));
    match version {
        Some(version) => http(worker, app, accepted.stream, client, To::App, version, drain).await,
        None => tcp::forward(worker, &app, accepted.stream, client).await,
    }
}

fn refuse(why: &'static str) -> io::Result<()> {
    Err(io::Error::other(why))
}
