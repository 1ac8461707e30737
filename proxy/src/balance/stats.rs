//! What is counted about one balancer of the proxy. The families belong to the direction that has the balancer.

use crate::metrics::{Counter, Family, Gauge, Histogram, Labels, Registry};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The families of one kind of balancer.
pub struct Families {
    pub endpoints: &'static Family,
    pub p2c_endpoints: &'static Family,
    pub p2c_updates: &'static Family,
    pub queue_length: &'static Family,
    pub queue_requests: &'static Family,
    pub queue_latency: &'static Family,
    pub gate_open: &'static Family,
    pub gate_shut: &'static Family,
    pub gate_open_time: &'static Family,
    pub gate_shut_time: &'static Family,
    pub gate_timeout: &'static Family,
}

#[derive(Clone)]
pub struct Stats {
    /// Endpoints that are not ready: never reached, unreachable now, or taken out.
    pub pending: Gauge,
    pub ready: Gauge,
    /// Endpoints that the control plane names.
    pub members: Gauge,
    pub resets: Counter,
    pub adds: Counter,
    pub removes: Counter,
    pub does_not_exist: Counter,
    /// Requests that wait for an endpoint.
    pub waiting: Gauge,
    pub requests: Counter,
    pub latency: Histogram,
    gate_open: Counter,
    gate_shut: Counter,
    gate_open_time: Gauge,
    gate_shut_time: Gauge,
    /// Set once; held, so that the series stays as long as the balancer.
    _gate_timeout: Gauge,
}

impl Stats {
    pub fn new(registry: &Registry, families: &Families, labels: &Labels, failfast: Duration) -> Self {
        let gauge = |family| registry.gauge(family, labels.clone());
        let endpoints = |state| registry.gauge(families.endpoints, labels.clone().with("endpoint_state", state));
        let updates = |op| registry.counter(families.p2c_updates, labels.clone().with("op", op));
        let gate_timeout = gauge(families.gate_timeout);
        gate_timeout.set_seconds(failfast);
        let stats = Self {
            pending: endpoints("pending"),
            ready: endpoints("ready"),
            members: gauge(families.p2c_endpoints),
            resets: updates("Reset"),
            adds: updates("Add"),
            removes: updates("Remove"),
            does_not_exist: updates("DoesNotExist"),
            waiting: gauge(families.queue_length),
            requests: registry.counter(families.queue_requests, labels.clone()),
            latency: registry.histogram(families.queue_latency, labels.clone()),
            gate_open: registry.counter(families.gate_open, labels.clone()),
            gate_shut: registry.counter(families.gate_shut, labels.clone()),
            gate_open_time: gauge(families.gate_open_time),
            gate_shut_time: gauge(families.gate_shut_time),
            _gate_timeout: gate_timeout,
        };
        stats.gate_opened();
        stats
    }

    /// Requests wait for an endpoint again instead of failing at once.
    pub fn gate_opened(&self) {
        self.gate_open.incr();
        self.gate_open_time.set_seconds(since_epoch());
    }

    pub fn gate_shut(&self) {
        self.gate_shut.incr();
        self.gate_shut_time.set_seconds(since_epoch());
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
