//! The endpoints of one service as one worker sees them. The choice is made in the task of the request that needs
//! it; there is no queue and no task between.

use super::{
    Member, Peer, Picked, hash,
    pool::{Pool, Settings, is_same},
    random_below,
};
use crate::control::{
    Endpoints,
    model::{self, endpoint::SetState},
};
use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

/// How often a choice is made anew because other workers were quicker.
const RACES_MAX: usize = 4;
/// Requests have their turn after so many endpoints of a set that are new.
const MADE_AT_ONCE: usize = 32;

/// The endpoints of a worker in the order of their addresses, as a set has them.
type Known<P> = Vec<(Arc<model::Endpoint>, Arc<Member<P>>)>;

pub struct Balancer<P> {
    members: Mutex<Arc<[Arc<Member<P>>]>>,
    pool: Arc<Pool>,
    /// Keeps the endpoint set subscribed to; the task follows it.
    _endpoints: Endpoints,
    follower: Mutex<Option<tokio::task::AbortHandle>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PickError {
    FailFast,
    /// Too many requests wait already.
    Full,
}

impl<P: Peer> Balancer<P> {
    pub fn new(
        pool: Arc<Pool>,
        endpoints: Endpoints,
        make: impl Fn(&Arc<model::Endpoint>) -> P + Send + 'static,
    ) -> Arc<Self> {
        let mut watch = endpoints.watch();
        let balancer = Arc::new(Self {
            members: Mutex::new(Arc::new([])),
            pool,
            _endpoints: endpoints,
            follower: Mutex::new(None),
        });
        let (follower, pool) = (Arc::downgrade(&balancer), balancer.pool.clone());
        let make = move |of: &Arc<model::Endpoint>| Arc::new(Member::new(of.addr, Some(of), make(of), &pool));
        // What is known already is used at once.
        let set = watch.borrow_and_update().clone();
        let mut known = balancer.update(&set, Vec::new(), &make);
        let task = tokio::spawn(async move {
            while watch.changed().await.is_ok() {
                let set = watch.borrow_and_update().clone();
                let mut made = VecDeque::new();
                for (endpoint, _) in merge(&set, &known).filter(|(_, member)| member.is_none()) {
                    made.push_back(make(endpoint));
                    if made.len() % MADE_AT_ONCE == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                let Some(balancer) = Weak::upgrade(&follower) else { return };
                known = balancer.update(&set, known, |of| made.pop_front().unwrap_or_else(|| make(of)));
            }
        });
        *balancer.follower.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
        balancer
    }

    fn update(
        &self,
        set: &model::EndpointSet,
        known: Known<P>,
        mut make: impl FnMut(&Arc<model::Endpoint>) -> Arc<Member<P>>,
    ) -> Known<P> {
        if set.state == SetState::Pending {
            return known;
        }
        let next: Known<P> = merge(set, &known)
            .map(|(endpoint, member)| (endpoint.clone(), member.cloned().unwrap_or_else(|| make(endpoint))))
            .collect();
        *self.lock() = next.iter().map(|(_, member)| member.clone()).collect();
        self.pool.changed.notify_waiters();
        next
    }

    /// Whether a request would find an endpoint, as far as is known.
    pub fn is_available(&self) -> bool {
        let now = Instant::now();
        let members = self.lock().clone();
        if !self.pool.is_failing() {
            return members.iter().any(|m| m.is_open(now).is_ok());
        }
        // Whoever could go elsewhere would, so that this is how a backend comes back.
        members.iter().filter(|m| m.is_worth_trying(now)).count() > 0
    }

    /// Whether there are no endpoints and nobody has waited in vain for one.
    pub fn is_pending(&self) -> bool {
        !self.pool.is_failing() && self.lock().is_empty()
    }

    /// Waits until there is an endpoint, for as long as requests do.
    pub async fn wait_for_endpoints(&self) {
        let arrival = async {
            loop {
                let changed = self.pool.changed.notified();
                if self.is_available() {
                    return;
                }
                changed.await;
            }
        };
        let _ = tokio::time::timeout(self.settings().failfast, arrival).await;
    }

    /// Chooses an endpoint; waits until the failfast time after `since` if none can be tried. With a key, and where the
    /// balancer goes by keys, the same one for the same key.
    pub async fn pick(&self, key: Option<u64>, since: Instant) -> Result<Picked<P>, PickError> {
        if let Some(picked) = self.try_pick(key, since).ok().flatten() {
            if let Some(stats) = &self.settings().stats {
                stats.requests.incr();
                stats.latency.observe_none();
            }
            return Ok(picked);
        }
        // Boxed: what a wait needs should not make every request's task larger.
        Box::pin(self.wait(key, since)).await
    }

    async fn wait(&self, key: Option<u64>, since: Instant) -> Result<Picked<P>, PickError> {
        let _waiting = self.pool.wait().ok_or(PickError::Full)?;
        let deadline = since + self.settings().failfast;
        loop {
            let changed = self.pool.changed.notified();
            let now = Instant::now();
            let retry_at = match self.try_pick(key, now) {
                Ok(Some(picked)) => return Ok(picked),
                Ok(None) => deadline,
                Err(retry_at) => retry_at,
            };
            if now >= deadline || self.pool.is_failing() {
                self.pool.set_failing(true);
                return Err(PickError::FailFast);
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(retry_at.min(deadline).into()) => {}
            }
        }
    }

    /// The endpoint at an address, unless it is gone or takes no requests now.
    pub fn find(&self, addr: SocketAddr) -> Option<Picked<P>> {
        let (members, now) = (self.lock().clone(), Instant::now());
        members.iter().find(|m| m.addr == addr && m.is_open(now).is_ok())?.admit(now)
    }

    /// The better of two by chance of the ready endpoints that are not at this address; None where there is none.
    pub fn pick_other(&self, than: SocketAddr) -> Option<Picked<P>> {
        let (members, now) = (self.lock().clone(), Instant::now());
        let (n, first) = (members.len(), random_below(members.len()));
        let around = (0..n).filter_map(|i| members.get((first + i) % n));
        let two = around.filter(|m| m.addr != than && m.is_usable(now)).take(2);
        two.min_by(|a, b| a.load.cost(now).total_cmp(&b.load.cost(now)))?.admit(now)
    }

    /// Err: when the first endpoint may be tried again.
    fn try_pick(&self, key: Option<u64>, now: Instant) -> Result<Option<Picked<P>>, Instant> {
        for _ in 0..RACES_MAX {
            let Some(member) = self.choose(key, now)? else { return Ok(None) };
            if let Some(picked) = member.admit(now) {
                return Ok(Some(picked));
            }
        }
        Ok(None)
    }

    /// By the key, or the better of two by chance.
    fn choose(&self, key: Option<u64>, now: Instant) -> Result<Option<Arc<Member<P>>>, Instant> {
        let members = self.lock().clone();
        let n = members.len();
        if let [only] = &*members {
            return match only.is_open(now) {
                Ok(()) => Ok(Some(only.clone())),
                Err(retry_at) => Err(retry_at),
            };
        }
        if n == 0 {
            return Ok(None);
        }
        if let (Some(key), Some(load_factor)) = (key, self.settings().load_factor)
            && let Some(member) = hash::choose(&members, key, load_factor, now)
        {
            return Ok(Some(member.clone()));
        }
        let first = random_below(n);
        let second = (first + 1 + random_below(n - 1)) % n;
        if let (Some(a), Some(b)) = (members.get(first), members.get(second)) {
            let (a_ready, b_ready) = (a.is_usable(now), b.is_usable(now));
            if a_ready && b_ready {
                let better = if a.load.cost(now) <= b.load.cost(now) { a } else { b };
                return Ok(Some(better.clone()));
            }
        }
        // Some are not ready: the two best-placed of those that are, from a random start.
        let around = (0..n).filter_map(|i| members.get((first + i) % n));
        let mut ready = around.clone().filter(|m| m.is_usable(now));
        match (ready.next(), ready.next()) {
            (Some(a), Some(b)) => Ok(Some(if a.load.cost(now) <= b.load.cost(now) { a.clone() } else { b.clone() })),
            (Some(a), None) => Ok(Some(a.clone())),
            (None, _) => match around.clone().find(|m| m.is_open(now).is_ok()) {
                Some(member) => Ok(Some(member.clone())),
                None => around.filter_map(|m| m.is_open(now).err()).min().map_or(Ok(None), Err),
            },
        }
    }

    fn settings(&self) -> &Settings {
        &self.pool.settings
    }

    fn lock(&self) -> MutexGuard<'_, Arc<[Arc<Member<P>>]>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each endpoint of a set, with its member where it has not changed. One walk along both: sets may be large, and often
/// but one of them changes.
fn merge<'a, P>(
    set: &'a model::EndpointSet,
    known: &'a Known<P>,
) -> impl Iterator<Item = (&'a Arc<model::Endpoint>, Option<&'a Arc<Member<P>>>)> {
    let mut known = known.iter().peekable();
    set.endpoints.iter().map(move |(addr, endpoint)| {
        while known.next_if(|(old, _)| old.addr < *addr).is_some() {}
        let same = known.next_if(|(old, _)| old.addr == *addr).filter(|(old, _)| is_same(Some(old), Some(endpoint)));
        (endpoint, same.map(|(_, member)| member))
    })
}

impl<P> Drop for Balancer<P> {
    fn drop(&mut self) {
        if let Some(follower) = self.follower.get_mut().unwrap_or_else(PoisonError::into_inner) {
            follower.abort();
        }
    }
}
