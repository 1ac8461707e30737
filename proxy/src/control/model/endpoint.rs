//! Endpoints of a balancer, and who they must be.

use crate::metrics::Labels;
use rustls::pki_types::ServerName;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// One version of a balancer's endpoints.
#[derive(Clone, Debug, Default)]
pub struct EndpointSet {
    pub state: SetState,
    /// How often the set has been said anew instead of changed.
    pub resets: u32,
    pub endpoints: BTreeMap<SocketAddr, Arc<Endpoint>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetState {
    /// No answer yet.
    #[default]
    Pending,
    /// The service exists, with these endpoints, maybe none.
    Exists,
    /// The service does not exist, or the control plane refused the name for good.
    DoesNotExist,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    pub addr: SocketAddr,
    /// Present when the endpoint must be reached over mesh TLS.
    pub identity: Option<PeerIdentity>,
    pub hint: ProtocolHint,
    /// The proxy port that takes a transport header, when the connection must be sent there.
    pub opaque_transport: Option<u16>,
    pub authority_override: Option<http::uri::Authority>,
    pub http2: Http2Params,
    pub weight: u32,
    pub zone_locality: ZoneLocality,
    /// The address's and its set's labels, sorted by name.
    pub metric_labels: Arc<BTreeMap<String, String>>,
    /// The same as `dst_NAME="value"`.
    pub labels: Labels,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProtocolHint {
    #[default]
    Unknown,
    Http2,
    Opaque,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZoneLocality {
    Local,
    Remote,
    #[default]
    Unknown,
}

/// HTTP/2 settings of one endpoint; what is `None` is the proxy's own default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http2Params {
    pub flow_control: Option<FlowControl>,
    pub keep_alive: Option<KeepAlive>,
    pub max_concurrent_reset_streams: Option<u32>,
    pub max_frame_size: Option<u32>,
    pub max_send_buf_size: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowControl {
    Adaptive,
    Fixed { connection_window: u32, stream_window: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    pub interval: Duration,
    pub timeout: Duration,
    pub while_idle: bool,
}

/// The TLS name to ask for, and the identity that the answer must prove.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    pub server_name: ServerName<'static>,
    pub id: PeerId,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerId {
    Dns(Arc<str>),
    Uri(Arc<str>),
}

impl PeerId {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Dns(name) | Self::Uri(name) => name,
        }
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ZoneLocality {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
            Self::Unknown => "unknown",
        }
    }
}

impl PeerId {
    pub fn parse(text: &Arc<str>) -> Self {
        if text.contains("://") { Self::Uri(text.clone()) } else { Self::Dns(text.clone()) }
    }
}

impl Endpoint {
    /// An address of which nothing is known.
    pub fn unknown(addr: SocketAddr) -> Self {
        Self {
            addr,
            identity: None,
            hint: ProtocolHint::Unknown,
            opaque_transport: None,
            authority_override: None,
            http2: Http2Params::default(),
            weight: 1,
            zone_locality: ZoneLocality::Unknown,
            metric_labels: Arc::default(),
            labels: Labels::new(),
        }
    }
}
