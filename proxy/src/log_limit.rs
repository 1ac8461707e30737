//! Keeps lines that traffic causes from flooding the log: some in each second are written, the others only counted.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const WINDOW: Duration = Duration::from_secs(1);

/// The limit of one kind of line.
pub struct LogLimit {
    lines_max: u32,
    state: Mutex<State>,
}

struct State {
    since: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl LogLimit {
    pub const fn per_second(lines_max: u32) -> Self {
        Self { lines_max, state: Mutex::new(State { since: None, written: 0, left_out: 0 }) }
    }

    /// Whether to write a line now; then how many were left out since the last one.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.since.is_none_or(|since| now.duration_since(since) >= WINDOW) {
            state.since = Some(now);
            state.written = 0;
        }
        if state.written >= self.lines_max {
            state.left_out += 1;
            return None;
        }
        state.written += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_by_its_number() {
        let limit = LogLimit::per_second(10);
        let now = Instant::now();
        let written = (0..100).filter(|_| limit.admit(now) == Some(0)).count();
        assert_eq!(written, 10);
        assert_eq!(limit.admit(now + WINDOW), Some(90));
        assert_eq!(limit.admit(now + WINDOW), Some(0));
    }
}
