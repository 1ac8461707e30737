//! What all inbound connections share, and what one worker keeps.

use super::{app::App, profiles::Profiles, rate_limit::RateLimiters};
use crate::{
    config::{self, Config},
    control::{Control, identity::Identity},
    http::limit::InFlight,
    idle_cache::IdleCache,
    metrics::Registry,
    outbound::{self, Named},
    transport::orig_dst::OriginalDst,
};
use std::{net::SocketAddr, sync::Arc};

/// One per process: limits hold for all workers together.
pub struct Context {
    pub config: Arc<Config>,
    pub control: Control,
    pub identity: Identity,
    pub metrics: Registry,
    pub orig_dst: Arc<dyn OriginalDst>,
    outbound: Arc<outbound::Context>,
    pub(super) in_flight: InFlight,
    pub(super) limiters: RateLimiters,
}

impl Context {
    /// `outbound` is where a gateway sends what comes in.
    pub fn new(outbound: &Arc<outbound::Context>) -> Arc<Self> {
        let config = outbound.config.clone();
        Arc::new(Self {
            control: outbound.control.clone(),
            identity: outbound.identity.clone(),
            metrics: outbound.metrics.clone(),
            orig_dst: outbound.orig_dst.clone(),
            outbound: outbound.clone(),
            in_flight: InFlight::new(config.inbound.common.max_in_flight),
            limiters: RateLimiters::default(),
            config,
        })
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
    /// The way out by name, where this proxy is a gateway.
    pub gateway: Option<Named>,
    pub profiles: Profiles,
    apps: Arc<IdleCache<SocketAddr, App>>,
}

impl Worker {
    pub fn new(context: Arc<Context>) -> Arc<Self> {
        let apps = IdleCache::new(context.direction().discovery_idle_timeout);
        let gateway = context.config.inbound.is_gateway().then(|| Named::new(context.outbound.clone()));
        let profiles = Profiles::new(context.direction().discovery_idle_timeout);
        Arc::new(Self { context, gateway, profiles, apps })
    }

    /// The application's listener at `addr`.
    pub fn app(&self, addr: SocketAddr) -> Arc<App> {
        match self.apps.get(&addr) {
            Some(app) => app,
            None => self.apps.get_or_insert(addr, || App::new(&self.context, addr)),
        }
    }
}
