//! What is counted about a balancer: of the application's traffic, or of the proxy's own requests to a service of the
//! control plane.

use super::{Counter, Family, Gauge, Histogram, Labels, Registry};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The families of one kind of balancer.
pub struct BalancerFamilies {
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

/// Declares `$prefix_endpoints` and all others; `$it` is what requests wait for.
macro_rules! balancer_families {
    ($prefix:literal, $it:literal) => {{
        use $crate::metrics::{BalancerFamilies, Family, QUEUE_LATENCY};
        static ENDPOINTS: Family =
            Family::gauge(concat!($prefix, "_endpoints"), "The number of endpoints in the load balancer.");
        static P2C_ENDPOINTS: Family = Family::gauge(
            concat!($prefix, "_p2c_endpoints"),
            "The number of endpoints that the load balancer chooses among.",
        );
        static P2C_UPDATES: Family =
            Family::counter(concat!($prefix, "_p2c_updates_total"), "Changes of the load balancer's endpoints.");
        static LENGTH: Family = Family::gauge(
            concat!($prefix, "_queue_length"),
            concat!("The number of requests that wait for ", $it, "."),
        );
        static REQUESTS: Family = Family::counter(
            concat!($prefix, "_queue_requests_total"),
            concat!("Requests that have asked for ", $it, "."),
        );
        static LATENCY: Family = Family::histogram(
            concat!($prefix, "_queue_latency_seconds"),
            concat!("How long requests waited for ", $it, "."),
            QUEUE_LATENCY,
        );
        static GATE_OPEN: Family = Family::counter(
            concat!($prefix, "_queue_gate_open_total"),
            "How often the load balancer began to take requests.",
        );
        static GATE_SHUT: Family = Family::counter(
            concat!($prefix, "_queue_gate_shut_total"),
            "How often the load balancer began to fail requests at once.",
        );
        static GATE_OPEN_TIME: Family = Family::gauge_seconds(
            concat!($prefix, "_queue_gate_open_time_seconds"),
            "When the load balancer began to take requests; 0 while it does not.",
        );
        static GATE_SHUT_TIME: Family = Family::gauge_seconds(
            concat!($prefix, "_queue_gate_shut_time_seconds"),
            "When the load balancer began to fail requests at once; 0 while it does not.",
        );
        static GATE_TIMEOUT: Family = Family::gauge_seconds(
            concat!($prefix, "_queue_gate_timeout_seconds"),
            concat!("After how long without ", $it, " requests fail at once."),
        );
        static ALL: BalancerFamilies = BalancerFamilies {
            endpoints: &ENDPOINTS,
            p2c_endpoints: &P2C_ENDPOINTS,
            p2c_updates: &P2C_UPDATES,
            queue_length: &LENGTH,
            queue_requests: &REQUESTS,
            queue_latency: &LATENCY,
            gate_open: &GATE_OPEN,
            gate_shut: &GATE_SHUT,
            gate_open_time: &GATE_OPEN_TIME,
            gate_shut_time: &GATE_SHUT_TIME,
            gate_timeout: &GATE_TIMEOUT,
        };
        &ALL
    }};
}
pub(crate) use balancer_families;

#[derive(Clone)]
pub struct BalancerStats {
    /// Endpoints that are not ready: never reached, unreachable now, or taken out.
    pub pending: Gauge,
    pub ready: Gauge,
    /// Endpoints that are named.
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

impl BalancerStats {
    pub fn new(registry: &Registry, families: &BalancerFamilies, labels: &Labels, failfast: Duration) -> Self {
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
        self.gate_shut_time.set_seconds(Duration::ZERO);
    }

    pub fn gate_shut(&self) {
        self.gate_shut.incr();
        self.gate_shut_time.set_seconds(since_epoch());
        self.gate_open_time.set_seconds(Duration::ZERO);
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
