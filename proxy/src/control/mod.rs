//! What the control plane says: who we are, where traffic goes, who may come in. All of it is cached, shared, and kept
//! while the control plane is away.

pub mod identity;
pub mod model;

use crate::config::Config;
use crate::metrics::Registry;
use identity::Identity;
use model::endpoint::EndpointSet;
use model::{inbound, outbound};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// The way in; clone it freely, use it from any thread.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    _config: Arc<Config>,
    _identity: Identity,
    _metrics: Registry,
}

/// What is known of one original destination. Hold it as long as it is in use: it is forgotten after
/// OUTBOUND_DISCOVERY_IDLE_TIMEOUT without a holder.
pub struct OutboundTarget {
    pub orig_dst: SocketAddr,
    pub policy: watch::Receiver<Arc<outbound::Policy>>,
}

/// The endpoints of one `name:port`, shared by all that hold it.
#[derive(Clone)]
pub struct Endpoints(Arc<EndpointsInner>);

struct EndpointsInner {
    path: Arc<str>,
    set: watch::Receiver<Arc<EndpointSet>>,
}

/// The control plane refused to say anything about a destination; the connection must be closed.
#[derive(Clone, Debug)]
pub struct DiscoveryError(pub Arc<str>);

impl Control {
    pub fn new(config: Arc<Config>, identity: Identity, metrics: Registry) -> Self {
        Self(Arc::new(Inner { _config: config, _identity: identity, _metrics: metrics }))
    }

    /// Waits, without a limit, for what the control plane says of a destination.
    pub async fn outbound(&self, orig_dst: SocketAddr) -> Result<Arc<OutboundTarget>, DiscoveryError> {
        Err(DiscoveryError(format!("{orig_dst}: not yet").into()))
    }

    /// The endpoints of `name:port`; `Pending` until the first answer.
    pub fn endpoints(&self, path: &str) -> Endpoints {
        let (_, set) = watch::channel(Arc::default());
        Endpoints(Arc::new(EndpointsInner { path: path.into(), set }))
    }

    /// The policy of an inbound port: the default one until the control plane says otherwise.
    pub fn inbound(&self, _port: u16) -> watch::Receiver<Arc<inbound::ServerPolicy>> {
        unimplemented!("the default policies come next")
    }
}

impl Endpoints {
    pub fn path(&self) -> &Arc<str> {
        &self.0.path
    }

    pub fn watch(&self) -> watch::Receiver<Arc<EndpointSet>> {
        self.0.set.clone()
    }
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DiscoveryError {}

/// A random number from 0 to 1, for jitter; not for secrets.
pub fn random_unit() -> f32 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let bits = RandomState::new().build_hasher().finish();
    (bits >> 40) as f32 / (1u32 << 24) as f32
}
