//! What all inbound connections share, and what one worker keeps.

use super::{app::App, rate_limit::RateLimiters};
use crate::{
    config::{self, Config},
    control::{Control, identity::Identity},
    http::limit::InFlight,
    idle_cache::IdleCache,
    metrics::Registry,
    transport::orig_dst::{FromKernel, OriginalDst},
};
use std::{net::SocketAddr, sync::Arc};

/// One per process: limits hold for all workers together.
pub struct Context {
    pub config: Arc<Config>,
    pub control: Control,
    pub identity: Identity,
    pub metrics: Registry,
    pub orig_dst: Arc<dyn OriginalDst>,
    pub(super) in_flight: InFlight,
    pub(super) limiters: RateLimiters,
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
        let in_flight = InFlight::new(config.inbound.common.max_in_flight);
        Arc::new(Self { config, control, identity, metrics, orig_dst, in_flight, limiters: RateLimiters::default() })
    }

    pub(super) fn direction(&self) -> &config::Direction {
        &self.config.inbound.common
    }

    /// Whether a port is the inbound proxy's own.
    pub(super) fn is_own_port(&self, port: u16) -> bool {
        self.direction().listen.iter().any(|l| l.port() == port && port != 0)
    }
}

pub struct Worker {
    pub context: Arc<Context>,
    apps: Arc<IdleCache<SocketAddr, App>>,
}

impl Worker {
    pub fn new(context: Arc<Context>) -> Arc<Self> {
        let apps = IdleCache::new(context.direction().discovery_idle_timeout);
        Arc::new(Self { context, apps })
    }

    /// The application's listener at `addr`.
    pub fn app(&self, addr: SocketAddr) -> Arc<App> {
        match self.apps.get(&addr) {
            Some(app) => app,
            None => self.apps.get_or_insert(addr, || App::new(&self.context, addr)),
        }
    }
}
