//! Makes connections: TCP with a time limit, mesh TLS by the peer's server name, and the transport header where the
//! peer takes one.

use super::{
    header::{Session, TransportHeader},
    listen,
    sensor::TransportMetrics,
    stream::Stream,
};
use crate::{
    config::SocketOptions,
    control::{identity::Identity, model::PeerIdentity},
    dial, tls,
};
use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A handshake takes the peer a signature and two round trips; a peer that accepts and then says nothing is given up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// How one peer is reached.
pub struct Connector {
    /// The address to dial.
    pub addr: SocketAddr,
    pub timeout: Duration,
    pub options: SocketOptions,
    pub tls: Option<ConnectTls>,
    /// The peer takes the port for opaque: what is spoken is not said in the header.
    pub hides_session: bool,
    pub metrics: Arc<TransportMetrics>,
}

pub struct ConnectTls {
    pub peer: PeerIdentity,
    /// Ours.
    pub identity: Identity,
    /// Offered by ALPN, and sent when the peer takes it.
    pub header: Option<TransportHeader>,
}

#[derive(Debug)]
pub enum ConnectError {
    TimedOut,
    /// The address is the proxy's own.
    Loop,
    Io(io::Error),
    Tls(io::Error),
    Identity(tls::ServerIdMismatch),
    /// There is no certificate yet.
    NoCredentials,
    /// Another request's attempt failed.
    Shared(Arc<ConnectError>),
}

impl Connector {
    /// Connects; `session` says what will be spoken where the peer does not detect it.
    pub async fn connect(&self, session: Option<Session>) -> Result<Stream, ConnectError> {
        let tcp = match tokio::time::timeout(self.timeout, dial::connect(self.addr)).await {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(error)) => return Err(ConnectError::Io(error)),
            Err(_) => return Err(ConnectError::TimedOut),
        };
        listen::apply(&tcp, self.options);
        let session = session.filter(|_| !self.hides_session);
        let mut stream = match &self.tls {
            None => Stream::plain(tcp),
            // Boxed: the handshake's state is large and soon gone, the connection's is neither.
            Some(tls) => Box::pin(tokio::time::timeout(HANDSHAKE_TIMEOUT.max(self.timeout), tls.secure(tcp, session)))
                .await
                .unwrap_or(Err(ConnectError::TimedOut))?,
        };
        stream.set_sensor(self.metrics.open());
        Ok(stream)
    }
}

impl ConnectTls {
    async fn secure(&self, tcp: TcpStream, session: Option<Session>) -> Result<Stream, ConnectError> {
        let credentials = self.identity.credentials().ok_or(ConnectError::NoCredentials)?;
        let config = if self.header.is_some() { &credentials.client_alpn } else { &credentials.client };
        let tls = TlsConnector::from(config.clone())
            .connect(self.peer.server_name.clone(), tcp)
            .await
            .map_err(ConnectError::Tls)?;
        let session_state = tls.get_ref().1;
        tls::verify_server_id(session_state, &self.peer).map_err(ConnectError::Identity)?;
        let takes_header = session_state.alpn_protocol() == Some(tls::TRANSPORT_ALPN);
        let mut stream = Stream::client(tls);
        if takes_header && let Some(header) = &self.header {
            stream.set_preamble(TransportHeader { session, ..header.clone() }.encode());
        }
        Ok(stream)
    }
}

impl ConnectError {
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::TimedOut => true,
            Self::Io(error) => error.kind() == io::ErrorKind::TimedOut,
            Self::Shared(error) => error.is_timeout(),
            _ => false,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("connect timed out"),
            Self::Loop => f.write_str("the destination is this proxy"),
            Self::Io(error) => write!(f, "connect: {error}"),
            Self::Tls(error) => write!(f, "mutual TLS: {error}"),
            Self::Identity(mismatch) => write!(f, "mutual TLS: {mismatch}"),
            Self::NoCredentials => f.write_str("mutual TLS: no certificate yet"),
            Self::Shared(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {}
