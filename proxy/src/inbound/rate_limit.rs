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
    /// The position among the overrides of every identity that has one.
    overridden: HashMap<Box<str>, usize>,
    state: Mutex<State>,
}

/// When the allowance of a second is whole again, each.
#[derive(Default)]
struct State {
    total: Option<Instant>,
    overrides: Vec<Option<Instant>>,
    by_identity: HashMap<Box<str>, Instant>,
}

/// Which of the limits a request went beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Total,
    Identity,
    Override,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Identity => "identity",
            Self::Override => "override",
        }
    }
}

impl RateLimiter {
    fn new(limit: Arc<RateLimit>) -> Self {
        let mut overridden = HashMap::new();
        for (at, (_, clients)) in limit.overrides.iter().enumerate() {
            for client in clients {
                overridden.entry(client.clone()).or_insert(at);
            }
        }
        let state = State { overrides: vec![None; limit.overrides.len()], ..State::default() };
        Self { limit, overridden, state: Mutex::new(state) }
    }

    pub fn is_for(&self, limit: &Arc<RateLimit>) -> bool {
        Arc::ptr_eq(&self.limit, limit) || self.limit == *limit
    }

    /// Lets one more request of this client pass now, or says which limit forbids it. Clients without an identity share
    /// one allowance, and so do the clients of an override.
    pub fn admit(&self, client: Option<&PeerId>, now: Instant) -> Result<(), Scope> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        if let Some(rps) = self.limit.total
            && !passes(state.total.get_or_insert(now), rps, now)
        {
            return Err(Scope::Total);
        }
        let at = client.and_then(|id| self.overridden.get(id.as_str()).copied());
        if let Some(at) = at
            && let (Some((rps, _)), Some(next)) = (self.limit.overrides.get(at), state.overrides.get_mut(at))
        {
            return if passes(next.get_or_insert(now), *rps, now) { Ok(()) } else { Err(Scope::Override) };
        }
        let Some(rps) = self.limit.identity else { return Ok(()) };
        let id = client.map_or("", PeerId::as_str);
        let next = match state.by_identity.get_mut(id) {
            Some(next) => next,
            None => {
                if state.by_identity.len() >= IDENTITIES_MAX {
                    state.by_identity.retain(|_, next| *next > now);
                }
                state.by_identity.entry(id.into()).or_insert(now)
            }
        };
        if passes(next, rps, now) { Ok(()) } else { Err(Scope::Identity) }
    }
}

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

    fn limiter(total: Option<u32>, identity: Option<u32>, overrides: Vec<(u32, Vec<Box<str>>)>) -> RateLimiter {
        let meta = Arc::new(Meta::default_named("limit"));
        RateLimiter::new(Arc::new(RateLimit { meta, total, identity, overrides }))
    }

    fn passed(limiter: &RateLimiter, id: Option<&PeerId>, n: usize, now: Instant) -> usize {
        (0..n).filter(|_| limiter.admit(id, now).is_ok()).count()
    }

    #[test]
    fn lets_a_seconds_worth_through_and_recovers() {
        let limiter = limiter(None, Some(5), vec![]);
        let web = PeerId::Dns("web".into());
        let now = Instant::now();
        assert_eq!(passed(&limiter, Some(&web), 20, now), 5);
        assert_eq!(passed(&limiter, Some(&web), 20, now + Duration::from_millis(410)), 2);
        // Those without an identity are one client.
        assert_eq!(passed(&limiter, None, 3, now) + passed(&limiter, None, 20, now), 5);
        assert_eq!(limiter.admit(None, now), Err(Scope::Identity));
    }

    #[test]
    fn an_override_replaces_the_identitys_limit_and_is_shared_by_its_clients() {
        let limiter = limiter(None, Some(5), vec![(2, vec!["slow".into(), "slower".into()])]);
        let (slow, slower) = (PeerId::Dns("slow".into()), PeerId::Dns("slower".into()));
        let now = Instant::now();
        assert_eq!(passed(&limiter, Some(&slow), 1, now) + passed(&limiter, Some(&slower), 20, now), 2);
        assert_eq!(limiter.admit(Some(&slow), now), Err(Scope::Override));
    }

    #[test]
    fn the_total_counts_first() {
        let limiter = limiter(Some(3), Some(2), vec![]);
        let web = PeerId::Dns("web".into());
        let now = Instant::now();
        assert_eq!(passed(&limiter, Some(&web), 3, now), 2);
        assert_eq!(limiter.admit(None, now), Err(Scope::Total));
    }
}
