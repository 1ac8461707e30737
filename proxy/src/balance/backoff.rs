//! How long an endpoint that could not be reached is left alone.

use super::random_below;
use std::time::Duration;

/// Doubles from `min` to `max` with every failure in a row, with up to `jitter` of itself added.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub min: Duration,
    pub max: Duration,
    pub jitter: f64,
}

impl Backoff {
    pub fn delay(&self, failures: u32) -> Duration {
        let base = self.min.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        let random = random_below(1000) as f64 / 1000.0;
        base.min(self.max).mul_f64(1.0 + self.jitter.clamp(0.0, 1.0) * random)
    }
}
