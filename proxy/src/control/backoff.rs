//! Waiting between attempts: doubling, jittered, capped.

use super::model::outbound::Backoff;
use std::time::Duration;

/// However long the control plane is away, its return is noticed within this time: it costs one connection attempt, and
/// what is not noticed are endpoints that have gone.
const STREAM_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct Attempts {
    backoff: Backoff,
    failed: u32,
}

impl Attempts {
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, failed: 0 }
    }

    /// For streams: outbound connections may wait longer than these.
    pub fn of_stream(backoff: Backoff) -> Self {
        Self::new(Backoff { max: backoff.max.min(STREAM_MAX), ..backoff })
    }

    /// After a success the next failure waits the minimum again.
    pub fn reset(&mut self) {
        self.failed = 0;
    }

    pub async fn wait(&mut self) {
        let delay = self.backoff.delay(self.failed);
        self.failed = self.failed.saturating_add(1);
        tokio::time::sleep(delay).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_maximum_whatever_the_numbers() {
        let second = Duration::from_secs(1);
        let backoff = Backoff { min: second, max: 10 * second, jitter: 0.5, respect_retry_after: false };
        for (n, low) in [(0, 1), (1, 2), (2, 4), (3, 8), (4, 10), (31, 10), (u32::MAX, 10)] {
            let delay = backoff.delay(n);
            assert!(delay >= low * second && delay <= 10 * second, "{n}: {delay:?}");
        }
        let huge = Backoff { min: Duration::MAX, max: Duration::MAX, jitter: 100.0, respect_retry_after: false };
        assert_eq!(huge.delay(7), Duration::MAX);
    }
}
