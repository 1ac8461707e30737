//! What is counted about reaching a control-plane service: its name's resolutions, and what stock proxies count about their
//! balancer of it, of which ours is one connection to one of the addresses.

use crate::metrics::{BalancerStats, Counter, Family, Labels, Registry, balancer_families};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A service out of reach for this long counts as away: as long as stock proxies have requests wait for it.
const FAILFAST: Duration = Duration::from_secs(30);

static RESOLUTIONS: Family =
    Family::counter("control_dns_resolutions_total", "Resolutions of the control plane's names.");

pub struct ServiceMetrics {
    registry: Registry,
    client: &'static str,
    stats: BalancerStats,
    absence: Mutex<Absence>,
}

/// Since when no connection could be made.
#[derive(Default)]
struct Absence {
    since: Option<Instant>,
    is_counted: bool,
}

/// An open connection, or a request that waits for one: counted until it is dropped.
pub struct Held(Arc<ServiceMetrics>, fn(&ServiceMetrics, Instant), Instant);

impl ServiceMetrics {
    /// `client` is `identity`, `destination` or `policy`; `addr` is the service's `name:port`.
    pub fn new(registry: &Registry, client: &'static str, addr: &str) -> Arc<Self> {
        let families = match client {
            "identity" => balancer_families!("control_identity_balancer", "a connection"),
            "destination" => balancer_families!("control_destination_balancer", "a connection"),
            _ => balancer_families!("control_policy_balancer", "a connection"),
        };
        let stats = BalancerStats::new(registry, families, &Labels::new().with("addr", addr), FAILFAST);
        Arc::new(Self { registry: registry.clone(), client, stats, absence: Mutex::default() })
    }

    pub fn resolved(&self, lookups: &[(&str, bool)]) {
        for (record_type, is_ok) in lookups {
            let result = if *is_ok { "ok" } else { "not_found" };
            let labels = Labels::new().with("client", self.client).with("record_type", record_type);
            self.registry.counter(&RESOLUTIONS, labels.with("result", result)).incr();
        }
    }

    /// The name leads to nothing.
    pub fn not_found(&self) {
        self.stats.does_not_exist.incr();
    }

    pub fn changed(&self, before: &[SocketAddr], after: &[SocketAddr]) {
        let count = |counter: &Counter, of: &[SocketAddr], without: &[SocketAddr]| {
            counter.add(of.iter().filter(|addr| !without.contains(addr)).count() as u64);
        };
        if before.is_empty() {
            self.stats.resets.incr();
        } else {
            count(&self.stats.adds, after, before);
            count(&self.stats.removes, before, after);
        }
        self.stats.members.set(i64::try_from(after.len()).unwrap_or(i64::MAX));
        self.count_pending();
    }

    pub fn opened(self: &Arc<Self>) -> Held {
        let absence = std::mem::take(&mut *self.absence.lock().unwrap_or_else(PoisonError::into_inner));
        if absence.is_counted {
            self.stats.gate_opened();
        }
        self.stats.ready.incr();
        self.count_pending();
        Held(
            self.clone(),
            |metrics, _| {
                metrics.stats.ready.decr();
                metrics.count_pending();
            },
            Instant::now(),
        )
    }

    /// No connection could be made.
    pub fn failed(&self) {
        let mut absence = self.absence.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_away = now - *absence.since.get_or_insert(now) >= FAILFAST;
        if is_away && !std::mem::replace(&mut absence.is_counted, true) {
            self.stats.gate_shut();
        }
    }

    pub fn waits(self: &Arc<Self>) -> Held {
        self.stats.requests.incr();
        self.stats.waiting.incr();
        Held(
            self.clone(),
            |metrics, since| {
                metrics.stats.waiting.decr();
                metrics.stats.latency.observe_time(since.elapsed());
            },
            Instant::now(),
        )
    }

    fn count_pending(&self) {
        self.stats.pending.set((self.stats.members.value() - self.stats.ready.value()).max(0));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.1)(&self.0, self.2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[tokio::test(start_paused = true)]
    async fn a_service_that_is_out_of_reach_for_long_shuts_the_gate_until_it_is_back() {
        let registry = Registry::new(Duration::from_secs(60));
        let metrics = ServiceMetrics::new(&registry, "destination", "dst:8086");
        let value = |family: &str| {
            let text = registry.encode();
            let name = format!("control_destination_balancer_queue_{family}{{addr=\"dst:8086\"}} ");
            let value = text.lines().find_map(|line| line.strip_prefix(&name)).expect(family);
            value.parse::<f64>().expect(family)
        };
        let gate = || ["open_total", "shut_total"].map(|family| value(&format!("gate_{family}")));
        assert_eq!(value("gate_timeout_seconds"), 30.0);
        let request = metrics.waits();
        assert_eq!(value("length"), 1.0);
        tokio::time::advance(Duration::from_secs(2)).await;
        drop(request);
        assert_eq!(["length", "latency_seconds_count", "latency_seconds_sum"].map(value), [0.0, 1.0, 2.0]);
        metrics.failed();
        tokio::time::advance(FAILFAST - Duration::from_secs(1)).await;
        metrics.failed();
        assert_eq!(gate(), [1.0, 0.0]);
        assert!(value("gate_open_time_seconds") > 1e9 && value("gate_shut_time_seconds") == 0.0);
        tokio::time::advance(Duration::from_secs(1)).await;
        metrics.failed();
        metrics.failed();
        assert_eq!(gate(), [1.0, 1.0]);
        assert!(value("gate_open_time_seconds") == 0.0 && value("gate_shut_time_seconds") > 1e9);
        drop(metrics.opened());
        assert_eq!(gate(), [2.0, 1.0]);
        drop(metrics.opened());
        assert_eq!(gate(), [2.0, 1.0]);
    }
}
