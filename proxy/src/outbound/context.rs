//! What all outbound connections share.

use super::{backend::Pools, budget::Budgets, mirror, session::SessionKey};
use crate::{
    config::{self, Config},
    control::{Control, identity::Identity},
    http::limit::InFlight,
    metrics::Registry,
    transport::orig_dst::{FromKernel, OriginalDst},
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// One per process: the in-flight limit holds for all workers together.
pub struct Context {
    pub config: Arc<Config>,
    pub control: Control,
    pub identity: Identity,
    pub metrics: Registry,
    pub orig_dst: Arc<dyn OriginalDst>,
    pub(super) in_flight: InFlight,
    pub(super) pools: Pools,
    pub(super) budgets: Budgets,
    /// Copies of requests.
    pub(super) mirrors: InFlight,
    pub(super) session_key: SessionKey,
}

impl Context {
    pub fn new(config: Arc<Config>, control: Control, identity: Identity, metrics: Registry) -> Arc<Self> {
        Self::with_orig_dst(config, control, identity, metrics, Arc::new(FromKernel))
    }

    /// With another source of original destinations than the kernel.
    pub fn with_orig_dst(
        config: Arc<Config>,
        control: Control,
        identity: Identity,
        metrics: Registry,
        orig_dst: Arc<dyn OriginalDst>,
    ) -> Arc<Self> {
        let in_flight = InFlight::new(config.outbound.common.max_in_flight);
        Arc::new(Self {
            session_key: SessionKey::of(&config.identity.trust_anchors_pem),
            config,
            control,
            identity,
            metrics,
            orig_dst,
            in_flight,
            pools: Pools::default(),
            budgets: Budgets::default(),
            mirrors: InFlight::new(mirror::IN_FLIGHT_MAX),
        })
    }

    pub(super) fn direction(&self) -> &config::Direction {
        &self.config.outbound.common
    }

    /// One of this pod's own addresses: reached without TLS and in the application's own protocol.
    pub(super) fn is_local(&self, ip: IpAddr) -> bool {
        self.config.inbound.ips.contains(&ip)
    }

    /// An address at which this proxy itself listens: connecting to it would never end.
    pub(super) fn is_self(&self, addr: SocketAddr) -> bool {
        let is_own_ip = addr.ip().is_loopback() || self.is_local(addr.ip());
        let listens = |listen: &[SocketAddr]| listen.iter().any(|l| l.port() == addr.port() && l.port() != 0);
        is_own_ip && (listens(&self.config.outbound.common.listen) || listens(&self.config.inbound.common.listen))
    }
}
