//! Local rate limits by GCRA: a limit of n requests per second lets n through at once and then one each 1/n second.
//! One limiter per address of the application and limit, for all workers.

use crate::control::model::{PeerId, inbound::RateLimit};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

/// Identities that are remembered; beyond it, the ones that have recovered fully are forgotten first.
const IDENTITIES_MAX: usize = 10_000;

/// The limiters in use.
#[derive(Clone, Default)]
pub struct RateLimiters(Arc<Mutex<HashMap<SocketAddr, Weak<RateLimiter>>>>);

impl RateLimiters {
    /// The limiter for requests to `addr`. It keeps its state as long as the limit stays the same.
    pub fn get(&self, addr: SocketAddr, limit: &Arc<RateLimit>) -> Arc<RateLimiter> {
        let mut limiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(limiter) = limiters.get(&addr).and_then(Weak::upgrade).filter(|l| l.is_for(limit)) {
            return limiter;
        }
        limiters.retain(|_, limiter| limiter.strong_count() > 0);
        let limiter = Arc::new(RateLimiter::new(limit.clone()));
        limiters.insert(addr, Arc::downgrade(&limiter));
        limiter
    }
}

pub struct RateLimiter {
    limit: Arc<RateLimit>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    total: Option<Instant>,
    by_identity: HashMap<Box<str>, Instant>,
}

impl RateLimiter {
    pub fn new(limit: Arc<RateLimit>) -> Self {
        Self { limit, state: Mutex::default() }
    }

    pub fn is_for(&self, limit: &Arc<RateLimit>) -> bool {
        Arc::ptr_eq(&self.limit, limit) || self.limit == *limit
    }

    /// Whether one more request of this client may pass now.
    pub fn allows(&self, client: Option<&PeerId>, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rps) = self.limit.total
            && !passes(state.total.get_or_insert(now), rps, now)
        {
            return false;
        }
        let id = client.map_or("", PeerId::as_str);
        let of_client = self.limit.overrides.iter().find(|(_, ids)| ids.iter().any(|i| **i == *id));
        let Some(rps) = of_client.map(|(rps, _)| *rps).or(self.limit.identity) else { return true };
        if !state.by_identity.contains_key(id) && state.by_identity.len() >= IDENTITIES_MAX {
            state.by_identity.retain(|_, next| *next > now);
        }
        passes(state.by_identity.entry(id.into()).or_insert(now), rps, now)
    }
}

/// `next` is when the allowance of a second is whole again.
fn passes(next: &mut Instant, rps: u32, now: Instant) -> bool {
    let Some(interval) = Duration::from_secs(1).checked_div(rps) else { return false };
    let at = (*next).max(now) + interval;
    if at > now + Duration::from_secs(1) + interval / 2 {
        return false;
    }
    *next = at;
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::model::Meta;

    #[test]
    fn lets_a_seconds_worth_through_and_recovers() {
        let limit = RateLimit {
            meta: Arc::new(Meta::default_named("limit")),
            total: None,
            identity: Some(5),
            overrides: vec![(2, vec!["slow".into()])],
        };
        let limiter = RateLimiter::new(Arc::new(limit));
        let (web, slow) = (PeerId::Dns("web".into()), PeerId::Dns("slow".into()));
        let now = Instant::now();
        let passed = |id, n, now| (0..n).filter(|_| limiter.allows(Some(id), now)).count();
        assert_eq!(passed(&web, 20, now), 5);
        assert_eq!(passed(&slow, 20, now), 2);
        assert_eq!(passed(&web, 20, now + Duration::from_millis(410)), 2);
    }
}
