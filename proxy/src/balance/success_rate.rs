//! How many of an endpoint's recent requests succeeded: counts in a ring of buckets that a window slides over.

use std::time::{Duration, Instant};

/// Fine enough that the window's end moves smoothly, and small enough to sum at every response.
const BUCKETS: usize = 10;

pub struct SuccessRate {
    /// Requests and successes, by the time that they ended.
    buckets: [(u32, u32); BUCKETS],
    width: Duration,
    /// Where the newest bucket is, and when it began.
    newest: usize,
    began: Instant,
}

impl SuccessRate {
    pub fn new(window: Duration, now: Instant) -> Self {
        let width = (window / BUCKETS as u32).max(Duration::from_nanos(1));
        Self { buckets: [(0, 0); BUCKETS], width, newest: 0, began: now }
    }

    pub fn record(&mut self, is_success: bool, now: Instant) {
        self.slide(now);
        let (requests, successes) = &mut self.buckets[self.newest];
        *requests = requests.saturating_add(1);
        *successes = successes.saturating_add(u32::from(is_success));
    }

    /// Requests and successes in the window that ends now.
    pub fn totals(&mut self, now: Instant) -> (u64, u64) {
        self.slide(now);
        self.buckets.iter().fold((0, 0), |(r, s), b| (r + u64::from(b.0), s + u64::from(b.1)))
    }

    fn slide(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.began).as_nanos() / self.width.as_nanos();
        if passed == 0 {
            return;
        }
        for _ in 0..passed.min(BUCKETS as u128) {
            self.newest = (self.newest + 1) % BUCKETS;
            self.buckets[self.newest] = (0, 0);
        }
        self.began = match u32::try_from(passed) {
            Ok(passed) => self.began + self.width * passed,
            Err(_) => now,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut rate = SuccessRate::new(Duration::from_secs(1), start);
        rate.record(false, at(0));
        rate.record(true, at(450));
        rate.record(true, at(940));
        assert_eq!(rate.totals(at(950)), (3, 2));
        assert_eq!(rate.totals(at(1050)), (2, 2));
        assert_eq!(rate.totals(at(1500)), (1, 1));
        assert_eq!(rate.totals(at(60_000)), (0, 0));
        rate.record(true, at(60_000));
        assert_eq!(rate.totals(at(60_001)), (1, 1));
    }
}
