//! One worker's view of the destinations in use: the policy as the control plane last sent it, its routes resolved to
//! balancers, and the connections behind these, kept for a while after the last user.

use super::{
    context::Context,
    endpoint::{HttpEndpoint, TcpEndpoint},
    metrics::{self, ErrorCounters},
    router::Router,
};
use crate::{
    balance::{Backoff, Balancer, Settings},
    control::{
        DiscoveryError, Endpoints, OutboundTarget,
        model::{
            Meta,
            outbound::{Load, Policy},
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
    targets: Arc<IdleCache<SocketAddr, Target>>,
    http: Mutex<HashMap<BalancerKey, Weak<Balancer<HttpEndpoint>>>>,
    tcp: Mutex<HashMap<BalancerKey, Weak<Balancer<TcpEndpoint>>>>,
}

/// Backends that differ in none of these share a balancer and its connections: parent, backend, path, load.
type BalancerKey = (Arc<Meta>, Arc<Meta>, Arc<str>, String);

pub struct Target {
    pub orig_dst: SocketAddr,
    pub accept_metrics: Arc<TransportMetrics>,
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
    pub async fn target(self: &Arc<Self>, orig_dst: SocketAddr) -> Result<Arc<Target>, DiscoveryError> {
        if let Some(target) = self.targets.get(&orig_dst) {
            return Ok(target);
        }
        let known = self.context.control.outbound(orig_dst).await?;
        let policy = known.policy.borrow().clone();
        Ok(self.targets.get_or_insert(orig_dst, || {
            Arc::new(Target {
                orig_dst,
                accept_metrics: metrics::accept(&self.context.metrics, orig_dst),
                router: Mutex::new(Arc::new(Router::new(policy))),
                known,
            })
        }))
    }
}

impl Worker {
    pub fn http_balancer(self: &Arc<Self>, backend: &BackendRef<'_>) -> Arc<Balancer<HttpEndpoint>> {
        let mut balancers = lock(&self.http);
        let context = self.context.clone();
        let authority = backend.path.clone();
        find_or_make(&mut balancers, backend, || {
            let settings = self.settings(backend, "http");
            Balancer::new(self.endpoints(backend), settings, move |endpoint| {
                HttpEndpoint::new(&context, endpoint, Some(&authority))
            })
        })
    }

    pub fn tcp_balancer(self: &Arc<Self>, backend: &BackendRef<'_>) -> Arc<Balancer<TcpEndpoint>> {
        let mut balancers = lock(&self.tcp);
        let context = self.context.clone();
        let authority = backend.path.clone();
        find_or_make(&mut balancers, backend, || {
            let settings = self.settings(backend, "tcp");
            Balancer::new(self.endpoints(backend), settings, move |endpoint| {
                TcpEndpoint::new(&context, endpoint, Some(&authority))
            })
        })
    }

    fn endpoints(&self, backend: &BackendRef<'_>) -> Endpoints {
        self.context.control.endpoints(backend.path)
    }

    /// How endpoints of a backend are balanced, or treated when there is only one place to go.
    pub fn settings(&self, backend: &BackendRef<'_>, kind: &str) -> Settings {
        let direction = self.context.direction();
        let queue = if kind == "tcp" { direction.tcp_queue } else { direction.http_queue };
        let (pending, ready) = metrics::balancer(&self.context.metrics, kind, backend);
        let backoff = &direction.connect_backoff;
        Settings {
            load: backend.load,
            backoff: Backoff { min: backoff.min, max: backoff.max, jitter: f64::from(backoff.jitter) },
            failfast: queue.failfast_timeout,
            waiting_max: queue.capacity,
            pending,
            ready,
        }
    }
}

/// A backend as its route names it.
pub struct BackendRef<'a> {
    pub parent: &'a Arc<Meta>,
    pub meta: &'a Arc<Meta>,
    /// `name:port`; empty when the backend is one fixed endpoint.
    pub path: &'a Arc<str>,
    pub load: Load,
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

fn find_or_make<P>(
    balancers: &mut HashMap<BalancerKey, Weak<Balancer<P>>>,
    backend: &BackendRef<'_>,
    make: impl FnOnce() -> Arc<Balancer<P>>,
) -> Arc<Balancer<P>> {
    let key = (backend.parent.clone(), backend.meta.clone(), backend.path.clone(), format!("{:?}", backend.load));
    if let Some(balancer) = balancers.get(&key).and_then(Weak::upgrade) {
        return balancer;
    }
    balancers.retain(|_, balancer| balancer.strong_count() > 0);
    let balancer = make();
    balancers.insert(key, Arc::downgrade(&balancer));
    balancer
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
