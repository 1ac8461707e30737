//! Where a control-plane service is: its name resolved, kept for the answer's TTL (within DNS_MIN_TTL and DNS_MAX_TTL), and
//! counted.

use super::service_metrics::ServiceMetrics;
use crate::{
    config,
    dns::{Error, Resolver, Source},
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// However short a TTL is, a name is not asked for more often by the task that watches it.
const WATCH_EVERY_MIN: Duration = Duration::from_secs(1);

pub struct Addresses {
    host: Arc<str>,
    port: u16,
    resolver: Resolver,
    limits: config::Dns,
    known: Mutex<Option<(Arc<[SocketAddr]>, Instant)>>,
    metrics: Arc<ServiceMetrics>,
}

impl Addresses {
    pub fn new(
        host: Arc<str>,
        port: u16,
        resolver: Resolver,
        limits: config::Dns,
        metrics: Arc<ServiceMetrics>,
    ) -> Self {
        Self { host, port, resolver, limits, known: Mutex::default(), metrics }
    }

    /// The addresses, and until when they hold.
    pub async fn get(&self) -> Result<(Arc<[SocketAddr]>, Instant), Error> {
        if let Some(known) = self.lock().clone().filter(|(_, until)| Instant::now() < *until) {
            return Ok(known);
        }
        let resolved = self.resolver.resolve_srv_or_a(&self.host, self.port).await;
        self.metrics.resolved(match &resolved {
            Ok(resolved) => match resolved.source {
                Source::Services => &[("SRV", true)],
                Source::Addresses => &[("SRV", false), ("A/AAAA", true)],
                Source::Machine => &[],
            },
            Err(_) => &[("SRV", false), ("A/AAAA", false)],
        });
        if matches!(resolved, Err(Error::NotFound(_))) {
            self.metrics.not_found();
        }
        let resolved = resolved?;
        let ttl = clamp(resolved.ttl, self.limits);
        let found: (Arc<[SocketAddr]>, _) = (resolved.addrs.into(), Instant::now() + ttl);
        let before = self.lock().replace(found.clone());
        self.metrics.changed(before.as_ref().map_or(&[], |(addrs, _)| addrs), &found.0);
        Ok(found)
    }

    /// Asks anew the next time: none of the addresses was any good.
    pub fn forget(&self) {
        if let Some((_, until)) = &mut *self.lock() {
            *until = Instant::now();
        }
    }

    /// Resolves once the name no longer leads to `addr`. A name that cannot be resolved says nothing about it.
    pub async fn moved_from(&self, addr: SocketAddr) {
        let mut until = Instant::now();
        loop {
            tokio::time::sleep_until(until.max(Instant::now() + WATCH_EVERY_MIN)).await;
            match self.get().await {
                Ok((addrs, _)) if !addrs.contains(&addr) => return,
                Ok((_, holds_until)) => until = holds_until,
                Err(error) => log::debug!(target: "control", "{error}"),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Arc<[SocketAddr]>, Instant)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The longest that a name is believed, whatever its record says; also keeps times from overflowing.
const TTL_MAX: Duration = Duration::from_secs(86_400);

fn clamp(ttl: Duration, limits: config::Dns) -> Duration {
    let ttl = ttl.max(limits.min_ttl.unwrap_or_default());
    ttl.min(limits.max_ttl.unwrap_or(TTL_MAX)).min(TTL_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Dns, metrics::Registry};

    #[test]
    fn ttls_are_kept_within_their_limits() {
        let seconds = Duration::from_secs;
        let limits = Dns { min_ttl: Some(seconds(5)), max_ttl: Some(seconds(30)) };
        assert_eq!([1, 10, 60].map(|ttl| clamp(seconds(ttl), limits)), [5, 10, 30].map(seconds));
        assert_eq!(clamp(Duration::MAX, Dns::default()), TTL_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_asked_for_again_when_their_time_is_over() {
        let metrics = ServiceMetrics::new(&Registry::new(Duration::ZERO), "policy", "localhost:1");
        let limits = Dns { min_ttl: Some(Duration::from_secs(60)), max_ttl: None };
        let addresses = Addresses::new("localhost.".into(), 1, Resolver::default(), limits, metrics);
        let (first, until) = addresses.get().await.expect("loopback");
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(Arc::ptr_eq(&addresses.get().await.expect("the same").0, &first));
        tokio::time::advance(Duration::from_secs(2)).await;
        let (again, later) = addresses.get().await.expect("loopback");
        assert!(later > until && !Arc::ptr_eq(&again, &first));
        addresses.forget();
        assert!(!Arc::ptr_eq(&addresses.get().await.expect("loopback").0, &again));
        // An address that the name has never led to.
        addresses.moved_from(([192, 0, 2, 1], 1).into()).await;
    }
}
