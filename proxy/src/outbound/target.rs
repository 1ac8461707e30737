//! One worker's view of the destinations in use: the policy as the control plane last sent it, its routes resolved to
//! balancers, and the connections behind these, kept for a while after the last user.

use super::{
    backend::{BackendRef, BalancerKey, BalancerKind},
    context::Context,
    endpoint::{HttpEndpoint, TcpEndpoint},
    metrics::{self, ErrorCounters},
    router::Router,
};
use crate::{
    balance::{Balancer, Peer, Pool},
    control::{
        Destination, DiscoveryError, OutboundTarget,
        model::{
            Endpoint, Meta,
            outbound::{Backend, Policy},
        },
    },
    idle_cache::IdleCache,
    transport::sensor::TransportMetrics,
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

pub struct Worker {
    pub context: Arc<Context>,
    pub counters: ErrorCounters,
    targets: Arc<IdleCache<Destination, Target>>,
    http: Mutex<HashMap<BalancerKey, Weak<Balancer<HttpEndpoint>>>>,
    tcp: Mutex<HashMap<BalancerKey, Weak<Balancer<TcpEndpoint>>>>,
}

pub struct Target {
    /// What an application connected to; None for what it, or the client of a gateway, named.
    pub orig_dst: Option<SocketAddr>,
    /// Of the connections to `orig_dst`.
    pub accept_metrics: Option<Arc<TransportMetrics>>,
    known: Arc<OutboundTarget>,
    router: Mutex<Arc<Router>>,
}

impl Worker {
    pub fn new(context: Arc<Context>) -> Arc<Self> {
        let counters = ErrorCounters::new(&context.metrics);
        let targets = IdleCache::new(context.direction().discovery_idle_timeout);
        Arc::new(Self { context, counters, targets, http: Mutex::default(), tcp: Mutex::default() })
    }

    /// Waits, without a limit, until the destination is known.
    pub async fn target(self: &Arc<Self>, destination: Destination) -> Result<Arc<Target>, DiscoveryError> {
        if let Some(target) = self.targets.get(&destination) {
            return Ok(target);
        }
        let (known, orig_dst) = match &destination {
            Destination::Addr(addr) => (self.context.control.outbound(*addr).await?, Some(*addr)),
            Destination::Name(name) => (self.context.control.outbound_name(name).await?, None),
        };
        let policy = known.policy.borrow().clone();
        Ok(self.targets.get_or_insert(destination, || {
            Arc::new(Target {
                orig_dst,
                accept_metrics: orig_dst.map(|addr| metrics::accept(&self.context.metrics, addr)),
                router: Mutex::new(Arc::new(Router::new(policy))),
                known,
            })
        }))
    }
}

impl Worker {
    pub fn http_balancer(self: &Arc<Self>, backend: &BackendRef<'_>) -> Arc<Balancer<HttpEndpoint>> {
        let context = self.context.clone();
        let authority = backend.path();
        self.balancer(&self.http, backend, move |endpoint| HttpEndpoint::new(&context, endpoint, Some(&authority)))
    }

    /// The balancer of a backend that no route has as its own.
    pub fn http_balancer_of(self: &Arc<Self>, parent: &Arc<Meta>, backend: &Backend) -> Arc<Balancer<HttpEndpoint>> {
        self.http_balancer(&BackendRef { kind: BalancerKind::Http, parent, backend, accrual: None })
    }

    pub fn tcp_balancer(self: &Arc<Self>, backend: &BackendRef<'_>) -> Arc<Balancer<TcpEndpoint>> {
        let context = self.context.clone();
        let authority = backend.path();
        self.balancer(&self.tcp, backend, move |endpoint| TcpEndpoint::new(&context, endpoint, Some(&authority)))
    }

    fn balancer<P: Peer>(
        &self,
        balancers: &Mutex<HashMap<BalancerKey, Weak<Balancer<P>>>>,
        backend: &BackendRef<'_>,
        make: impl Fn(&Arc<Endpoint>) -> P + Send + 'static,
    ) -> Arc<Balancer<P>> {
        let mut balancers = lock(balancers);
        let key = backend.key();
        if let Some(balancer) = balancers.get(&key).and_then(Weak::upgrade) {
            return balancer;
        }
        balancers.retain(|_, balancer| balancer.strong_count() > 0);
        let endpoints = self.context.control.endpoints(&backend.path());
        let pool = self.context.pools.get(&key, || {
            let pool = Pool::new(self.context.balancer_settings(backend));
            pool.count(&endpoints);
            pool
        });
        let balancer = Balancer::new(pool, endpoints, make);
        balancers.insert(key, Arc::downgrade(&balancer));
        balancer
    }
}

impl Target {
    pub fn policy(&self) -> Arc<Policy> {
        self.known.policy.borrow().clone()
    }

    /// The routes as the control plane last sent them.
    pub fn router(&self) -> Arc<Router> {
        let mut router = lock(&self.router);
        let policy = self.known.policy.borrow();
        if !Arc::ptr_eq(&router.policy, &policy) {
            *router = Arc::new(Router::new(policy.clone()));
        }
        router.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
