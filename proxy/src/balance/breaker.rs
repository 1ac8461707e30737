//! Takes an endpoint out of its balancer when its responses say that it fails, lets one request try it after a while,
//! and takes it back when that one succeeds. One per endpoint, for all workers.

use super::success_rate::SuccessRate;
use crate::control::model::outbound::{AccrualKind, Backoff, FailureAccrual};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// What a request says about the endpoint that took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    /// It asks for fewer requests: no failure in a row of them, but none that counts as good.
    Limited,
    Failure,
}

pub struct Breaker {
    accrual: Arc<FailureAccrual>,
    /// Not closed. Read without the lock by everyone who chooses.
    is_out: AtomicBool,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    /// Counts the ejections, so that what began before one says nothing after it.
    epoch: u32,
    /// Ejections in a row: how often the wait has been doubled.
    in_row: u32,
    failures: u32,
    rate: Option<SuccessRate>,
    /// Until when the endpoint last asked to be spared.
    hint: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The endpoint takes requests, and they are judged.
    Closed,
    /// It takes none until then.
    Shut(Instant),
    /// One request is on its way that decides. When it has said nothing until then, it counts as failed, and the wait after
    /// that is over too.
    Probing(Instant),
}

/// Leave to send one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    epoch: u32,
    pub is_probe: bool,
}

/// What became of the breaker by a judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Unchanged,
    /// Has failed enough to be taken out; `eject` does it.
    Due,
    /// A probe succeeded, or failed.
    Moved,
}

impl Breaker {
    pub fn new(accrual: Arc<FailureAccrual>, now: Instant) -> Self {
        let mut state = State { phase: Phase::Closed, epoch: 0, in_row: 0, failures: 0, rate: None, hint: None };
        state.forget(&accrual, now);
        Self { accrual, is_out: AtomicBool::new(false), state: Mutex::new(state) }
    }

    #[inline]
    pub fn is_out(&self) -> bool {
        self.is_out.load(Relaxed)
    }

    /// Err: when the endpoint may be tried, unless a request is back before.
    pub fn is_open(&self, now: Instant) -> Result<(), Instant> {
        if !self.is_out() {
            return Ok(());
        }
        match self.lock().phase {
            Phase::Shut(until) | Phase::Probing(until) if until > now => Err(until),
            Phase::Closed | Phase::Shut(_) | Phase::Probing(_) => Ok(()),
        }
    }

    /// Leave to send a request now, if the endpoint takes one.
    pub fn admit(&self, now: Instant) -> Option<Ticket> {
        let mut state = self.lock();
        match state.phase {
            Phase::Closed => return Some(Ticket { epoch: state.epoch, is_probe: false }),
            Phase::Shut(until) | Phase::Probing(until) if until > now => return None,
            Phase::Shut(_) => {}
            // The one before has said nothing for too long.
            Phase::Probing(_) => self.shut(&mut state, now),
        }
        state.phase = Phase::Probing(now + self.backoff().max + self.backoff().delay(state.in_row));
        Some(Ticket { epoch: state.epoch, is_probe: true })
    }

    /// Takes note of a request's end. `hint` is how long the endpoint asked to be spared.
    pub fn judge(&self, ticket: Ticket, outcome: Outcome, hint: Option<Duration>, now: Instant) -> Verdict {
        let mut state = self.lock();
        if state.epoch != ticket.epoch {
            return Verdict::Unchanged;
        }
        if let Some(wait) = hint.filter(|_| outcome != Outcome::Success && self.backoff().respect_retry_after) {
            state.hint = Some(now + wait.min(self.backoff().max));
        }
        let phase = state.phase;
        match phase {
            Phase::Probing(_) if ticket.is_probe => {
                let is_success = match &self.accrual.kind {
                    AccrualKind::Consecutive { .. } => outcome != Outcome::Failure,
                    AccrualKind::Unified { .. } => outcome == Outcome::Success,
                };
                if is_success {
                    state.phase = Phase::Closed;
                    state.in_row = 0;
                    state.forget(&self.accrual, now);
                    self.is_out.store(false, Relaxed);
                } else {
                    self.shut(&mut state, now);
                }
                Verdict::Moved
            }
            Phase::Closed if state.is_due(&self.accrual.kind, outcome, now) => Verdict::Due,
            _ => Verdict::Unchanged,
        }
    }

    /// Takes the endpoint out, unless a judgement since has changed something.
    pub fn eject(&self, ticket: Ticket, now: Instant) -> bool {
        let mut state = self.lock();
        if state.epoch != ticket.epoch || state.phase != Phase::Closed {
            return false;
        }
        self.shut(&mut state, now);
        true
    }

    /// A probe has ended without saying anything: the next request is one.
    pub fn give_back(&self, ticket: Ticket, now: Instant) -> bool {
        let mut state = self.lock();
        let is_mine = ticket.is_probe && state.epoch == ticket.epoch && matches!(state.phase, Phase::Probing(_));
        if is_mine {
            state.phase = Phase::Shut(now);
        }
        is_mine
    }

    fn shut(&self, state: &mut State, now: Instant) {
        let until = now + self.backoff().delay(state.in_row);
        state.phase = Phase::Shut(until.max(state.hint.unwrap_or(until)));
        state.epoch = state.epoch.wrapping_add(1);
        state.in_row = state.in_row.saturating_add(1);
        state.forget(&self.accrual, now);
        self.is_out.store(true, Relaxed);
    }

    fn backoff(&self) -> &Backoff {
        match &self.accrual.kind {
            AccrualKind::Consecutive { backoff, .. } | AccrualKind::Unified { backoff, .. } => backoff,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, accrual: &FailureAccrual, now: Instant) {
        self.failures = 0;
        self.hint = None;
        self.rate = match &accrual.kind {
            AccrualKind::Consecutive { .. } => None,
            AccrualKind::Unified { window, .. } => Some(SuccessRate::new(*window, now)),
        };
    }

    fn is_due(&mut self, kind: &AccrualKind, outcome: Outcome, now: Instant) -> bool {
        self.failures = if outcome == Outcome::Failure { self.failures.saturating_add(1) } else { 0 };
        let is_row_over = |max: u32| max > 0 && self.failures >= max;
        match kind {
            AccrualKind::Consecutive { max_failures, .. } => is_row_over(*max_failures),
            AccrualKind::Unified { success_rate_threshold, min_requests, max_consecutive_failures, .. } => {
                let is_row_over = is_row_over(*max_consecutive_failures);
                let Some(rate) = &mut self.rate else { return is_row_over };
                rate.record(outcome == Outcome::Success, now);
                let (requests, successes) = rate.totals(now);
                let is_rate_low = requests >= u64::from(*min_requests).max(1)
                    && (successes as f64) < success_rate_threshold * requests as f64;
                is_row_over || is_rate_low
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn backoff(respect_retry_after: bool) -> Backoff {
        Backoff { min: SECOND, max: 60 * SECOND, jitter: 0.0, respect_retry_after }
    }

    fn consecutive(max_failures: u32) -> AccrualKind {
        AccrualKind::Consecutive { max_failures, backoff: backoff(true) }
    }

    fn unified(success_rate_threshold: f64, min_requests: u32, max_consecutive_failures: u32) -> AccrualKind {
        AccrualKind::Unified {
            success_rate_threshold,
            window: 10 * SECOND,
            min_requests,
            max_consecutive_failures,
            backoff: backoff(false),
        }
    }

    struct Clock {
        breaker: Breaker,
        now: Instant,
    }

    impl Clock {
        fn new(kind: AccrualKind) -> Self {
            let now = Instant::now();
            Self { breaker: Breaker::new(Arc::new(FailureAccrual { kind, min_ready_endpoints: 0 }), now), now }
        }

        /// One request that ends so, and whether the endpoint is out then. None when it does not take one.
        fn request(&self, outcome: Outcome, hint: Option<Duration>) -> Option<bool> {
            let ticket = self.breaker.admit(self.now)?;
            if self.breaker.judge(ticket, outcome, hint, self.now) == Verdict::Due {
                assert!(self.breaker.eject(ticket, self.now));
            }
            Some(self.breaker.is_out())
        }

        fn outcomes(&self, outcomes: &[Outcome]) -> Vec<bool> {
            outcomes.iter().map(|o| self.request(*o, None).expect("taken")).collect()
        }
    }

    use Outcome::{Failure, Limited, Success};

    #[test]
    fn only_failures_in_a_row_eject() {
        let clock = Clock::new(consecutive(3));
        let seen = clock.outcomes(&[Failure, Failure, Success, Failure, Failure, Limited, Failure, Failure]);
        assert!(seen.iter().all(|out| !out), "{seen:?}");
        assert_eq!(clock.request(Failure, None), Some(true));
        assert_eq!(clock.request(Success, None), None);
        assert_eq!(clock.breaker.is_open(clock.now), Err(clock.now + SECOND));
    }

    #[test]
    fn one_probe_at_a_time_decides_and_each_failed_one_doubles_the_wait() {
        let mut clock = Clock::new(consecutive(1));
        assert_eq!(clock.request(Failure, None), Some(true));
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            clock.now += wait * SECOND - Duration::from_millis(1);
            assert_eq!(clock.request(Failure, None), None, "{wait}");
            clock.now += Duration::from_millis(1);
            let probe = clock.breaker.admit(clock.now).expect("a probe");
            assert!(probe.is_probe && clock.breaker.admit(clock.now).is_none());
            assert_eq!(clock.breaker.judge(probe, Failure, None, clock.now), Verdict::Moved);
        }
        clock.now += 60 * SECOND;
        assert_eq!(clock.request(Success, None), Some(false));
        assert_eq!(clock.request(Failure, None), Some(true));
        assert_eq!(clock.breaker.is_open(clock.now), Err(clock.now + SECOND), "the wait begins anew");
    }

    #[test]
    fn a_probe_that_says_nothing_leaves_its_place_to_the_next() {
        let mut clock = Clock::new(consecutive(1));
        assert_eq!(clock.request(Failure, None), Some(true));
        clock.now += SECOND;
        let probe = clock.breaker.admit(clock.now).expect("a probe");
        assert!(clock.breaker.give_back(probe, clock.now));
        assert_eq!(clock.request(Success, None), Some(false));
    }

    #[test]
    fn a_probe_that_goes_on_and_on_has_failed_unless_it_succeeds_before_the_next() {
        let mut clock = Clock::new(consecutive(1));
        assert_eq!(clock.request(Failure, None), Some(true));
        clock.now += SECOND;
        let first = clock.breaker.admit(clock.now).expect("a probe");
        // The maximum, and the second wait.
        clock.now += 62 * SECOND - Duration::from_millis(1);
        assert_eq!(clock.breaker.admit(clock.now), None);
        clock.now += Duration::from_millis(1);
        let second = clock.breaker.admit(clock.now).expect("another probe");
        assert!(second.is_probe && clock.breaker.admit(clock.now).is_none());
        assert_eq!(clock.breaker.judge(first, Success, None, clock.now), Verdict::Unchanged);
        assert_eq!(clock.breaker.is_open(clock.now), Err(clock.now + 64 * SECOND));
        assert_eq!(clock.breaker.judge(second, Success, None, clock.now), Verdict::Moved);
        assert_eq!(clock.outcomes(&[Success]), [false]);
    }

    #[test]
    fn the_latest_wish_counts() {
        let clock = Clock::new(consecutive(2));
        clock.request(Failure, Some(30 * SECOND));
        clock.request(Failure, Some(5 * SECOND));
        assert_eq!(clock.breaker.is_open(clock.now), Err(clock.now + 5 * SECOND));
    }

    #[test]
    fn what_began_before_an_ejection_says_nothing_after_it() {
        let mut clock = Clock::new(consecutive(1));
        let early = clock.breaker.admit(clock.now).expect("taken");
        assert_eq!(clock.request(Failure, None), Some(true));
        clock.now += SECOND;
        assert_eq!(clock.request(Success, None), Some(false));
        assert_eq!(clock.breaker.judge(early, Failure, None, clock.now), Verdict::Unchanged);
        assert!(!clock.breaker.is_out());
    }

    #[test]
    fn a_low_success_rate_ejects_once_there_are_enough_requests() {
        let clock = Clock::new(unified(0.8, 5, 0));
        assert_eq!(clock.outcomes(&[Failure, Failure, Failure, Failure]), [false; 4]);
        assert_eq!(clock.request(Success, None), Some(true));
        let clock = Clock::new(unified(0.5, 4, 0));
        let seen = clock.outcomes(&[Success, Success, Limited, Limited, Limited]);
        assert_eq!(seen, [false, false, false, false, true], "limited requests count against the rate");
        let clock = Clock::new(unified(0.0, 1, 0));
        assert_eq!(clock.outcomes(&[Failure; 20]), [false; 20], "0 switches both off");
    }

    #[test]
    fn old_failures_leave_the_window() {
        let mut clock = Clock::new(unified(0.8, 5, 0));
        clock.outcomes(&[Failure, Failure, Failure, Failure]);
        clock.now += 11 * SECOND;
        assert_eq!(clock.outcomes(&[Success; 10]), [false; 10]);
    }

    #[test]
    fn unified_counts_failures_in_a_row_beside_the_rate_and_wants_a_good_probe() {
        let mut clock = Clock::new(unified(0.1, 1_000, 3));
        assert_eq!(clock.outcomes(&[Failure, Failure, Limited, Failure, Failure]), [false; 5]);
        assert_eq!(clock.request(Failure, None), Some(true));
        clock.now += SECOND;
        assert_eq!(clock.request(Limited, None), Some(true));
        clock.now += 2 * SECOND;
        assert_eq!(clock.request(Success, None), Some(false));
    }

    #[test]
    fn an_endpoint_that_asks_to_be_spared_is_up_to_the_maximum() {
        for (hint, wait) in [(5, 5), (0, 1), (3600, 60)] {
            let clock = Clock::new(consecutive(1));
            clock.request(Failure, Some(hint * SECOND));
            assert_eq!(clock.breaker.is_open(clock.now), Err(clock.now + wait * SECOND), "{hint}");
        }
        let clock = Clock::new(unified(0.0, 1, 1));
        clock.request(Failure, Some(5 * SECOND));
        assert_eq!(clock.breaker.is_open(clock.now), Err(clock.now + SECOND), "unless the policy says no");
    }
}
