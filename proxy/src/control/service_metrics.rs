//! What is counted about reaching a control-plane service: its name's resolutions, and what stock proxies count about their
//! balancer of it, of which ours is one connection to one of the addresses.

use crate::metrics::{Counter, Family, Gauge, Labels, Registry};
use std::{net::SocketAddr, sync::Arc};

static RESOLUTIONS: Family =
    Family::counter("control_dns_resolutions_total", "Resolutions of the control plane's names.");

struct Families {
    endpoints: &'static Family,
    p2c_endpoints: &'static Family,
    p2c_updates: &'static Family,
    queue_length: &'static Family,
    queue_requests: &'static Family,
}

macro_rules! families {
    ($prefix:literal) => {{
        static ENDPOINTS: Family = Family::gauge(
            concat!($prefix, "_balancer_endpoints"),
            "The service's addresses, by whether one is in use.",
        );
        static P2C_ENDPOINTS: Family =
            Family::gauge(concat!($prefix, "_balancer_p2c_endpoints"), "The addresses that are chosen among.");
        static P2C_UPDATES: Family =
            Family::counter(concat!($prefix, "_balancer_p2c_updates_total"), "Changes of the service's addresses.");
        static LENGTH: Family =
            Family::gauge(concat!($prefix, "_balancer_queue_length"), "Requests that wait for a connection.");
        static REQUESTS: Family = Family::counter(
            concat!($prefix, "_balancer_queue_requests_total"),
            "Requests that asked for a connection.",
        );
        static ALL: Families = Families {
            endpoints: &ENDPOINTS,
            p2c_endpoints: &P2C_ENDPOINTS,
            p2c_updates: &P2C_UPDATES,
            queue_length: &LENGTH,
            queue_requests: &REQUESTS,
        };
        &ALL
    }};
}

pub struct ServiceMetrics {
    registry: Registry,
    client: &'static str,
    ready: Gauge,
    pending: Gauge,
    addresses: Gauge,
    reset: Counter,
    added: Counter,
    removed: Counter,
    waiting: Gauge,
    requests: Counter,
}

/// An open connection, or a request that waits for one: counted until it is dropped.
pub struct Held(Arc<ServiceMetrics>, fn(&ServiceMetrics));

impl ServiceMetrics {
    /// `client` is `identity`, `destination` or `policy`; `addr` is the service's `name:port`.
    pub fn new(registry: &Registry, client: &'static str, addr: &str) -> Arc<Self> {
        let families = match client {
            "identity" => families!("control_identity"),
            "destination" => families!("control_destination"),
            _ => families!("control_policy"),
        };
        let labels = Labels::new().with("addr", addr);
        let endpoints = |state| registry.gauge(families.endpoints, labels.clone().with("endpoint_state", state));
        let updates = |op| registry.counter(families.p2c_updates, labels.clone().with("op", op));
        Arc::new(Self {
            ready: endpoints("ready"),
            pending: endpoints("pending"),
            addresses: registry.gauge(families.p2c_endpoints, labels.clone()),
            reset: updates("Reset"),
            added: updates("Add"),
            removed: updates("Remove"),
            waiting: registry.gauge(families.queue_length, labels.clone()),
            requests: registry.counter(families.queue_requests, labels.clone()),
            registry: registry.clone(),
            client,
        })
    }

    pub fn resolved(&self, lookups: &[(&str, bool)]) {
        for (record_type, is_ok) in lookups {
            let result = if *is_ok { "ok" } else { "not_found" };
            let labels = Labels::new().with("client", self.client).with("record_type", record_type);
            self.registry.counter(&RESOLUTIONS, labels.with("result", result)).incr();
        }
    }

    pub fn changed(&self, before: &[SocketAddr], after: &[SocketAddr]) {
        if before.is_empty() {
            self.reset.incr();
        } else {
            self.added.add(after.iter().filter(|addr| !before.contains(addr)).count() as u64);
            self.removed.add(before.iter().filter(|addr| !after.contains(addr)).count() as u64);
        }
        let count = i64::try_from(after.len()).unwrap_or(i64::MAX);
        self.addresses.set(count);
        self.pending.set((count - self.ready.value()).max(0));
    }

    pub fn opened(self: &Arc<Self>) -> Held {
        self.ready.incr();
        self.pending.set((self.addresses.value() - self.ready.value()).max(0));
        Held(self.clone(), |metrics| {
            metrics.ready.decr();
            metrics.pending.set((metrics.addresses.value() - metrics.ready.value()).max(0));
        })
    }

    pub fn waits(self: &Arc<Self>) -> Held {
        self.requests.incr();
        self.waiting.incr();
        Held(self.clone(), |metrics| metrics.waiting.decr())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.1)(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn resolutions_are_counted_by_record_and_result() {
        let registry = Registry::new(Duration::from_secs(60));
        let metrics = ServiceMetrics::new(&registry, "policy", "linkerd-policy:8090");
        metrics.resolved(&[("SRV", false), ("A/AAAA", true)]);
        let addr = |n: u8| SocketAddr::from(([10, 0, 0, n], 8090));
        metrics.changed(&[], &[addr(1), addr(2)]);
        metrics.changed(&[addr(1), addr(2)], &[addr(2), addr(3)]);
        let held = metrics.opened();
        let text = registry.encode();
        for line in [
            r#"control_dns_resolutions_total{client="policy",record_type="SRV",result="not_found"} 1"#,
            r#"control_dns_resolutions_total{client="policy",record_type="A/AAAA",result="ok"} 1"#,
            r#"control_policy_balancer_p2c_updates_total{addr="linkerd-policy:8090",op="Reset"} 1"#,
            r#"control_policy_balancer_p2c_updates_total{addr="linkerd-policy:8090",op="Add"} 1"#,
            r#"control_policy_balancer_p2c_updates_total{addr="linkerd-policy:8090",op="Remove"} 1"#,
            r#"control_policy_balancer_endpoints{addr="linkerd-policy:8090",endpoint_state="ready"} 1"#,
            r#"control_policy_balancer_endpoints{addr="linkerd-policy:8090",endpoint_state="pending"} 1"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        drop(held);
        assert!(registry.encode().contains("endpoint_state=\"pending\"} 2"));
    }
}
