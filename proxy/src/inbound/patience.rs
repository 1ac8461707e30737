//! How long requests wait for an application that does not listen: a moment while it starts, not at all once it has been
//! away for longer than that.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

pub struct Patience {
    limit: Duration,
    is_lost: AtomicBool,
    /// When it was first not there.
    lost: Mutex<Option<Instant>>,
}

impl Patience {
    pub fn new(limit: Duration) -> Self {
        Self { limit, is_lost: AtomicBool::new(false), lost: Mutex::default() }
    }

    /// It is there.
    #[inline]
    pub fn found(&self) {
        if self.is_lost.load(Relaxed) {
            self.is_lost.store(false, Relaxed);
            *self.lock() = None;
        }
    }

    /// It is not there; says whether to wait for it.
    pub fn waits(&self, now: Instant) -> bool {
        self.is_lost.store(true, Relaxed);
        let lost = *self.lock().get_or_insert(now);
        now.duration_since(lost) < self.limit
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_a_while_and_again_after_it_was_there() {
        let second = Duration::from_secs(1);
        let (patience, now) = (Patience::new(second), Instant::now());
        assert_eq!([0, 1, 2].map(|n| patience.waits(now + n * second / 2)), [true, true, false]);
        patience.found();
        assert_eq!([9, 10, 11].map(|n| patience.waits(now + n * second / 2)), [true, true, false]);
    }
}
