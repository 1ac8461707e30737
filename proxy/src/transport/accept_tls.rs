//! Takes a client's mesh TLS: the certificate is optional here, what it allows is the policy's.

use super::stream::Stream;
use crate::{control::model::PeerId, tls};
use rustls::ServerConfig;
use std::{io, sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// A connection whose handshake is done.
pub struct Accepted {
    pub stream: Stream,
    pub client_id: Option<PeerId>,
    /// The client asked for a transport header to be read.
    pub has_transport_header: bool,
}

pub async fn accept(tcp: TcpStream, config: Arc<ServerConfig>, timeout: Duration) -> io::Result<Accepted> {
    // Boxed: the handshake's state is large and soon gone.
    let handshake = Box::pin(tokio::time::timeout(timeout, TlsAcceptor::from(config).accept(tcp)));
    let tls = handshake.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    let session = tls.get_ref().1;
    let client_id = tls::client_id(session);
    let has_transport_header = session.alpn_protocol() == Some(tls::TRANSPORT_ALPN);
    Ok(Accepted { stream: Stream::server(tls), client_id, has_transport_header })
}
