//! A backend as its route names it: by what it is known to balancers, and how it is balanced.

use super::{context::Context, metrics_balancer};
use crate::{
    balance::{Pool, Settings},
    control::model::{
        Meta,
        outbound::{Backend, BackendKind, FailureAccrual, Load},
    },
    metrics::BalancerStats,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

pub use metrics_balancer::BalancerKind;

pub struct BackendRef<'a> {
    pub kind: BalancerKind,
    pub parent: &'a Arc<Meta>,
    pub backend: &'a Backend,
    pub accrual: Option<&'a Arc<FailureAccrual>>,
}

/// Backends that differ in none of these share a balancer and its connections: kind, parent, backend, path, and how it
/// is balanced.
pub type BalancerKey = (BalancerKind, Arc<Meta>, Arc<Meta>, Arc<str>, String);

/// The proxy's balancers, as far as workers share them.
#[derive(Default)]
pub struct Pools(Mutex<HashMap<BalancerKey, Weak<Pool>>>);

impl BackendRef<'_> {
    /// `name:port`; empty when the backend is one fixed endpoint.
    pub fn path(&self) -> Arc<str> {
        match &self.backend.kind {
            BackendKind::Balancer { path, .. } => path.clone(),
            BackendKind::Forward(_) | BackendKind::Fail => Arc::from(""),
        }
    }

    pub fn key(&self) -> BalancerKey {
        // Settings that read the same are the same.
        let how = format!("{:?} {:?} {:?}", self.load(), self.accrual, self.backend.hash());
        (self.kind, self.parent.clone(), self.backend.meta.clone(), self.path(), how)
    }

    fn load(&self) -> Load {
        match &self.backend.kind {
            BackendKind::Balancer { load, .. } => *load,
            BackendKind::Forward(_) | BackendKind::Fail => Load::DEFAULT,
        }
    }
}

impl Pools {
    pub fn get(&self, key: &BalancerKey, make: impl FnOnce() -> Arc<Pool>) -> Arc<Pool> {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(key).and_then(Weak::upgrade) {
            return pool;
        }
        pools.retain(|_, pool| pool.strong_count() > 0);
        let pool = make();
        pools.insert(key.clone(), Arc::downgrade(&pool));
        pool
    }
}

impl Context {
    /// For one fixed endpoint, or as the basis of a balancer's.
    pub(super) fn settings(&self, kind: BalancerKind, load: Load) -> Settings {
        let direction = self.direction();
        let queue = if kind == BalancerKind::Http { direction.http_queue } else { direction.tcp_queue };
        Settings {
            load,
            backoff: direction.connect_backoff,
            failfast: queue.failfast_timeout,
            waiting_max: queue.capacity,
            accrual: None,
            load_factor: None,
            stats: None,
        }
    }

    pub(super) fn balancer_settings(&self, backend: &BackendRef<'_>) -> Settings {
        let settings = self.settings(backend.kind, backend.load());
        let labels = metrics_balancer::labels(backend);
        let stats = BalancerStats::new(&self.metrics, backend.kind.families(), &labels, settings.failfast);
        Settings {
            accrual: backend.accrual.filter(|accrual| accrual.can_eject()).cloned(),
            load_factor: backend.backend.hash().map(|hash| hash.load_factor),
            stats: Some(stats),
            ..settings
        }
    }
}
