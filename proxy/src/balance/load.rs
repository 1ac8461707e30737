//! An endpoint's load: peak EWMA of its latency times the requests that wait for it. A rise counts at once, a fall
//! by and by; an endpoint that is not used drifts back to being tried.

use crate::control::model::outbound;
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

pub struct Load {
    decay_ns: f64,
    penalty: Option<outbound::Penalty>,
    /// Bits of an f64, in nanoseconds.
    rtt: AtomicU64,
    /// When `rtt` was last set, in nanoseconds of the process's own clock.
    updated: AtomicU64,
    pending: AtomicU32,
    /// The same two for the latency that failures stand for.
    penalty_rtt: AtomicU64,
    penalized: AtomicU64,
}

impl Load {
    pub fn new(config: outbound::Load) -> Arc<Self> {
        Arc::new(Self {
            decay_ns: config.decay.as_nanos().max(1) as f64,
            penalty: config.penalty,
            rtt: AtomicU64::new((config.default_rtt.as_nanos() as f64).to_bits()),
            updated: AtomicU64::new(clock_ns(Instant::now())),
            pending: AtomicU32::new(0),
            penalty_rtt: AtomicU64::new(0f64.to_bits()),
            penalized: AtomicU64::new(0),
        })
    }

    /// Lower is better.
    pub fn cost(&self, now: Instant) -> f64 {
        let pending = f64::from(self.pending.load(Relaxed));
        // Even an endpoint that has drifted to nothing must not attract everything at once.
        self.decayed(now).max(self.penalty_left(now)).max(1.0) * (pending + 1.0)
    }

    /// Counts a request until its first data, or until it is given up.
    pub fn begin(self: &Arc<Self>, now: Instant) -> Pending {
        self.pending.fetch_add(1, Relaxed);
        Pending { load: self.clone(), started: now, is_complete: false }
    }

    pub fn pending(&self) -> u32 {
        self.pending.load(Relaxed)
    }

    /// Takes a failure as a latency of its own, where the policy says so: the penalty, or longer if the endpoint asked to
    /// be spared for longer.
    pub fn penalize(&self, retry_after: Option<Duration>, now: Instant) {
        let Some(penalty) = &self.penalty else { return };
        let wait = retry_after.unwrap_or_default().min(penalty.max_retry_after);
        let sample = penalty.penalty.max(wait).as_nanos() as f64;
        if sample > self.penalty_left(now) {
            self.penalty_rtt.store(sample.to_bits(), Relaxed);
            self.penalized.store(clock_ns(now), Relaxed);
        }
    }

    pub fn has_penalty(&self) -> bool {
        self.penalty.is_some()
    }

    /// What is left of the latest penalty.
    fn penalty_left(&self, now: Instant) -> f64 {
        let Some(penalty) = &self.penalty else { return 0.0 };
        let rtt = f64::from_bits(self.penalty_rtt.load(Relaxed));
        let elapsed = clock_ns(now).saturating_sub(self.penalized.load(Relaxed)) as f64;
        rtt * (-elapsed / penalty.decay.as_nanos().max(1) as f64).exp()
    }

    fn decayed(&self, now: Instant) -> f64 {
        let rtt = f64::from_bits(self.rtt.load(Relaxed));
        let elapsed = clock_ns(now).saturating_sub(self.updated.load(Relaxed)) as f64;
        rtt * (-elapsed / self.decay_ns).exp()
    }

    fn record(&self, sample: Duration, now: Instant) {
        let sample = sample.as_nanos() as f64;
        let rtt = f64::from_bits(self.rtt.load(Relaxed));
        let next = if sample > rtt {
            sample
        } else {
            let elapsed = clock_ns(now).saturating_sub(self.updated.load(Relaxed)) as f64;
            let weight = (-elapsed / self.decay_ns).exp();
            rtt * weight + sample * (1.0 - weight)
        };
        self.rtt.store(next.to_bits(), Relaxed);
        self.updated.store(clock_ns(now), Relaxed);
    }
}

/// A request that the endpoint has not answered yet.
pub struct Pending {
    load: Arc<Load>,
    started: Instant,
    is_complete: bool,
}

impl Pending {
    /// The first data has come: its time is the endpoint's latency.
    pub fn complete(mut self) {
        self.is_complete = true;
        let now = Instant::now();
        self.load.record(now - self.started, now);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.load.pending.fetch_sub(1, Relaxed);
        if self.is_complete {
            return;
        }
        // Given up: it would have taken at least so long. Quick failures say nothing about latency.
        let now = Instant::now();
        let waited = now - self.started;
        if waited.as_nanos() as f64 > self.load.decayed(now) {
            self.load.record(waited, now);
        }
    }
}

fn clock_ns(now: Instant) -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(|| now);
    u64::try_from(now.saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_at_once_and_falls_slowly() {
        let load = Load::new(outbound::Load::DEFAULT);
        let now = Instant::now();
        load.record(Duration::from_millis(500), now);
        assert!((load.cost(now) - 5e8).abs() < 1e3);
        load.record(Duration::from_millis(1), now + Duration::from_secs(1));
        let after = load.cost(now + Duration::from_secs(1));
        assert!((4.4e8..4.7e8).contains(&after), "{after}");
        let pending = load.begin(now);
        assert!(load.cost(now + Duration::from_secs(1)) > 1.9 * after);
        drop(pending);
        assert_eq!(load.pending(), 0);
    }

    #[test]
    fn a_penalty_outlasts_quick_answers_and_decays_by_its_own_time() {
        let second = Duration::from_secs(1);
        let penalty = outbound::Penalty { penalty: 5 * second, max_retry_after: 60 * second, decay: 10 * second };
        let load = Load::new(outbound::Load { penalty: Some(penalty), ..outbound::Load::DEFAULT });
        let now = Instant::now();
        load.penalize(None, now);
        load.record(Duration::from_millis(1), now);
        assert!((load.cost(now) - 5e9).abs() < 1e6);
        let later = load.cost(now + 10 * second);
        assert!((later - 5e9 / std::f64::consts::E).abs() < 1e6, "{later}");
        load.penalize(Some(20 * second), now);
        assert!((load.cost(now) - 20e9).abs() < 1e6);
        load.penalize(None, now);
        assert!((load.cost(now) - 20e9).abs() < 1e6, "a smaller one does not shorten a larger one");
        load.penalize(Some(3600 * second), now);
        assert!((load.cost(now) - 60e9).abs() < 1e6, "the hint has a cap");
        let plain = Load::new(outbound::Load::DEFAULT);
        plain.penalize(Some(20 * second), now);
        assert!(plain.cost(now) < 1e9);
    }
}
