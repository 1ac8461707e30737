//! The environment, parsed once into one `Config`. Names are Linkerd's, because injectors and controllers write and read
//! them. Every bad value is reported, none is replaced by a default.

mod environment;
mod parse;
mod read;

pub use environment::{Environment, Problems};
pub use parse::{Ports, parse_duration};

use crate::control::model::outbound::Backoff;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Config {
    pub outbound: Outbound,
    pub inbound: Inbound,
    pub admin: Admin,
    /// Where tap is served, when it is on.
    pub tap: Option<Tap>,
    pub identity: Identity,
    pub control: ControlPlane,
    pub dns: Dns,
    pub cores: Cores,
    pub log: Log,
    pub access_log: Option<AccessLog>,
    pub metrics_retain_idle: Duration,
    pub shutdown_grace_period: Duration,
    /// Packet mark of the proxy's own connections, where the pod's redirect knows them by it (see `init --proxy-mark`).
    pub mark: Option<NonZeroU32>,
}

/// What both directions have.
#[derive(Clone, Debug)]
pub struct Direction {
    pub listen: Vec<SocketAddr>,
    pub accept: SocketOptions,
    pub connect: SocketOptions,
    pub connect_timeout: Duration,
    pub connect_backoff: Backoff,
    pub detect_timeout: Duration,
    pub http_queue: Queue,
    pub tcp_queue: Queue,
    /// Requests in flight in the whole proxy.
    pub max_in_flight: usize,
    pub max_idle_connections: usize,
    pub http1_idle_timeout: Duration,
    pub http2_server: Http2Server,
    pub discovery_idle_timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct Outbound {
    pub common: Direction,
    pub is_ingress: bool,
    /// Answers to the application carry no `l5d-proxy-error`.
    pub hides_informational_headers: bool,
    pub has_hostname_labels: bool,
}

#[derive(Clone, Debug)]
pub struct Inbound {
    pub common: Direction,
    /// This pod's addresses; empty: any original destination is taken.
    pub ips: Vec<IpAddr>,
    /// Ports whose policy is watched from the start.
    pub ports: Ports,
    pub default_policy: DefaultPolicy,
    pub cluster_networks: Vec<IpNet>,
    /// Ports that are opaque until the control plane says otherwise.
    pub opaque_ports: Ports,
    pub gateway_suffixes: Suffixes,
    pub has_authority_labels: bool,
    pub profile_timeout: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct SocketOptions {
    /// TCP_KEEPIDLE.
    pub keepalive: Option<Duration>,
    /// TCP_USER_TIMEOUT.
    pub user_timeout: Option<Duration>,
    pub backlog: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub struct Queue {
    pub capacity: usize,
    pub failfast_timeout: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct Http2Server {
    pub stream_window: u32,
    pub connection_window: u32,
    pub is_adaptive: bool,
    pub keep_alive: Option<(Duration, Duration)>,
    pub max_concurrent_streams: Option<u32>,
    pub max_frame_size: Option<u32>,
    pub max_header_list_size: Option<u32>,
    pub max_pending_accept_reset_streams: Option<u32>,
    pub max_send_buf_size: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub struct Http2Client {
    pub stream_window: u32,
    pub connection_window: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultPolicy {
    Deny,
    AllAuthenticated,
    AllUnauthenticated,
    ClusterAuthenticated,
    ClusterUnauthenticated,
    Audit,
}

#[derive(Clone, Debug)]
pub struct Admin {
    pub listen: SocketAddr,
    pub is_shutdown_enabled: bool,
}

#[derive(Clone, Debug)]
pub struct Tap {
    pub listen: SocketAddr,
    pub server_name: Arc<str>,
}

#[derive(Clone, Debug)]
pub struct Identity {
    /// What this proxy is certified for; also its TLS server name unless `server_name` differs.
    pub local_id: Arc<str>,
    pub server_name: Arc<str>,
    pub trust_anchors_pem: Arc<str>,
    pub certifier: Certifier,
}

/// Who certifies this proxy.
#[derive(Clone, Debug)]
pub enum Certifier {
    Service(IdentityService),
    Spire(Spire),
}

/// The mesh's own identity service.
#[derive(Clone, Debug)]
pub struct IdentityService {
    pub addr: ControlAddr,
    /// `key.p8` and `csr.der` are used when they are there.
    pub dir: PathBuf,
    pub token_file: PathBuf,
    pub min_refresh: Duration,
    pub max_refresh: Duration,
}

/// A SPIRE agent's Workload API.
#[derive(Clone, Debug)]
pub struct Spire {
    pub socket: PathBuf,
    pub backoff: Backoff,
}

#[derive(Clone, Debug)]
pub struct ControlPlane {
    pub destination: ControlAddr,
    pub policy: ControlAddr,
    pub destination_context: Arc<str>,
    pub policy_workload: Arc<str>,
    pub profile_suffixes: Suffixes,
    pub profile_networks: Vec<IpNet>,
    pub stream: StreamLimits,
    pub http2_client: Http2Client,
    pub connect: SocketOptions,
    pub connect_timeout: Duration,
    pub backoff: Backoff,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct StreamLimits {
    pub initial: Option<Duration>,
    pub idle: Option<Duration>,
    pub lifetime: Option<Duration>,
}

/// A control-plane service: where it is and who it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlAddr {
    pub host: Arc<str>,
    pub port: u16,
    /// `None` when the host is this machine: plaintext, no stream limits.
    pub identity: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Dns {
    pub min_ttl: Option<Duration>,
    pub max_ttl: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
pub struct Cores {
    pub workers: usize,
}

#[derive(Clone, Debug)]
pub struct Log {
    pub filter: String,
    pub is_json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    Apache,
    Json,
}

/// DNS suffixes; the root (`.`) fits every name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suffixes(pub(crate) Vec<Box<str>>);

impl Inbound {
    /// Whether connections may name Services of this cluster to be forwarded to.
    pub fn is_gateway(&self) -> bool {
        !self.gateway_suffixes.is_empty()
    }
}

impl Suffixes {
    /// Whether a host name (without port) ends in one of the suffixes at a label boundary.
    pub fn contains(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.');
        self.0.iter().any(|suffix| {
            suffix.is_empty()
                || name
                    .len()
                    .checked_sub(suffix.len())
                    .filter(|at| name.is_char_boundary(*at) && name[*at..].eq_ignore_ascii_case(suffix))
                    .is_some_and(|at| at == 0 || name[..at].ends_with('.'))
        })
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Config {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, Problems> {
        Self::read(Environment::of_process())
    }
}
