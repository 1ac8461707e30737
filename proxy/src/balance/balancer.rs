//! The endpoints of one service as one worker sees them. The choice is made in the task of the request that needs
//! it; there is no queue and no task between.

use super::{Backoff, Load, random_below};
use crate::control::{
    Endpoints,
    model::{self, endpoint::SetState, outbound},
};
use crate::metrics::Gauge;
use std::{
    collections::HashMap,
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Something that a balancer can choose.
pub trait Peer: Send + Sync + 'static {
    /// Whether a request can be sent at once, as far as is known.
    fn is_ready(&self) -> bool;

    /// Makes it ready in the background; true when that worked.
    fn prepare(self: Arc<Self>) -> impl Future<Output = bool> + Send;
}

pub struct Balancer<P> {
    members: Mutex<Arc<[Arc<Member<P>>]>>,
    waiting: AtomicUsize,
    health: Arc<Health>,
    settings: Settings,
    /// Keeps the endpoint set subscribed to; the task follows it.
    _endpoints: Endpoints,
    follower: Mutex<Option<tokio::task::AbortHandle>>,
}

/// What the members tell their balancer.
#[derive(Default)]
struct Health {
    /// No endpoint has been ready for the failfast time: fail at once until one is.
    is_failing: AtomicBool,
    /// An endpoint has become ready, or the set has changed.
    changed: Notify,
}

#[derive(Clone)]
pub struct Settings {
    pub load: outbound::Load,
    pub backoff: Backoff,
    pub failfast: Duration,
    /// How many requests may wait for an endpoint.
    pub waiting_max: usize,
    pub pending: Gauge,
    pub ready: Gauge,
}

pub struct Member<P> {
    pub peer: Arc<P>,
    pub load: Arc<Load>,
    backoff: Backoff,
    gate: Mutex<Gate>,
    health: Arc<Health>,
    pending: Gauge,
    ready: Gauge,
}

/// Shut for a while after each failure to connect.
#[derive(Default)]
struct Gate {
    failures: u32,
    retry_at: Option<Instant>,
    is_counted_ready: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PickError {
    FailFast,
    /// Too many requests wait already.
    Full,
}

impl<P: Peer> Balancer<P> {
    pub fn new(
        endpoints: Endpoints,
        settings: Settings,
        make: impl Fn(&Arc<model::Endpoint>) -> P + Send + 'static,
    ) -> Arc<Self> {
        let mut watch = endpoints.watch();
        let balancer = Arc::new(Self {
            members: Mutex::new(Arc::new([])),
            waiting: AtomicUsize::new(0),
            health: Arc::default(),
            settings,
            _endpoints: endpoints,
            follower: Mutex::new(None),
        });
        let follower = Arc::downgrade(&balancer);
        let mut known = HashMap::new();
        // What is known already is used at once.
        balancer.update(&watch.borrow_and_update().clone(), &mut known, &make);
        let task = tokio::spawn(async move {
            while watch.changed().await.is_ok() {
                let set = watch.borrow_and_update().clone();
                let Some(balancer) = Weak::upgrade(&follower) else { return };
                balancer.update(&set, &mut known, &make);
            }
        });
        *balancer.follower.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
        balancer
    }

    fn update(
        &self,
        set: &model::EndpointSet,
        known: &mut HashMap<SocketAddr, (Arc<model::Endpoint>, Arc<Member<P>>)>,
        make: &impl Fn(&Arc<model::Endpoint>) -> P,
    ) {
        if set.state == SetState::Pending {
            return;
        }
        known.retain(|addr, _| set.endpoints.contains_key(addr));
        for (addr, endpoint) in &set.endpoints {
            if known.get(addr).is_none_or(|(old, _)| old != endpoint) {
                let member = Member::new(make(endpoint), &self.settings, self.health.clone());
                known.insert(*addr, (endpoint.clone(), Arc::new(member)));
            }
        }
        *self.lock() = known.values().map(|(_, member)| member.clone()).collect();
        self.health.changed.notify_waiters();
    }

    /// Whether a request would find an endpoint, as far as is known.
    pub fn is_available(&self) -> bool {
        !self.health.is_failing.load(Relaxed)
    }

    /// Chooses an endpoint; waits until the failfast time after `since` if none can be tried.
    pub async fn pick(&self, since: Instant) -> Result<Arc<Member<P>>, PickError> {
        if let Some(member) = self.choose(since).ok().flatten() {
            return Ok(member);
        }
        // Boxed: what a wait needs should not make every request's task larger.
        Box::pin(self.wait(since)).await
    }

    async fn wait(&self, since: Instant) -> Result<Arc<Member<P>>, PickError> {
        let _waiting = Waiting::new(&self.waiting, self.settings.waiting_max).ok_or(PickError::Full)?;
        let deadline = since + self.settings.failfast;
        loop {
            let changed = self.health.changed.notified();
            let now = Instant::now();
            let retry_at = match self.choose(now) {
                Ok(Some(member)) => return Ok(member),
                Ok(None) => deadline,
                Err(retry_at) => retry_at,
            };
            if now >= deadline || self.health.is_failing.load(Relaxed) {
                self.health.is_failing.store(true, Relaxed);
                return Err(PickError::FailFast);
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(retry_at.min(deadline).into()) => {}
            }
        }
    }

    /// The better of two by chance. Err: when the first endpoint may be tried again.
    fn choose(&self, now: Instant) -> Result<Option<Arc<Member<P>>>, Instant> {
        let members = self.lock().clone();
        let n = members.len();
        if let [only] = &*members {
            return if only.is_open(now) { Ok(Some(only.clone())) } else { Err(only.retry_at(now)) };
        }
        if n == 0 {
            return Ok(None);
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
            (None, _) => match around.clone().find(|m| m.is_open(now)) {
                Some(member) => Ok(Some(member.clone())),
                None => around.map(|m| m.retry_at(now)).min().map_or(Ok(None), Err),
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<[Arc<Member<P>>]>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P> Drop for Balancer<P> {
    fn drop(&mut self) {
        if let Some(follower) = self.follower.get_mut().unwrap_or_else(PoisonError::into_inner) {
            follower.abort();
        }
    }
}

impl<P: Peer> Member<P> {
    /// A member of no balancer: the only place that something may go.
    pub fn alone(peer: P, settings: &Settings) -> Self {
        Self::new(peer, settings, Arc::default())
    }

    fn new(peer: P, settings: &Settings, health: Arc<Health>) -> Self {
        settings.pending.incr();
        Self {
            health,
            peer: Arc::new(peer),
            load: Load::new(settings.load),
            backoff: settings.backoff,
            gate: Mutex::default(),
            pending: settings.pending.clone(),
            ready: settings.ready.clone(),
        }
    }

    fn is_open(&self, now: Instant) -> bool {
        self.gate().retry_at.is_none_or(|at| at <= now)
    }

    fn retry_at(&self, now: Instant) -> Instant {
        self.gate().retry_at.unwrap_or(now)
    }

    /// Ready, and not shut. One that is merely not ready yet is made so for the next request.
    fn is_usable(self: &Arc<Self>, now: Instant) -> bool {
        if !self.is_open(now) {
            return false;
        }
        let is_ready = self.peer.is_ready();
        if !is_ready {
            let member = self.clone();
            // Shut meanwhile, so that only one attempt is under way.
            member.gate().retry_at = Some(now + self.backoff.max);
            tokio::spawn(async move {
                match member.peer.clone().prepare().await {
                    true => member.connected(),
                    false => member.failed(),
                }
            });
        }
        is_ready
    }

    /// A connection was made or used.
    pub fn connected(&self) {
        let mut gate = self.gate();
        gate.failures = 0;
        gate.retry_at = None;
        if !gate.is_counted_ready {
            gate.is_counted_ready = true;
            self.pending.decr();
            self.ready.incr();
        }
        drop(gate);
        self.health.is_failing.store(false, Relaxed);
        self.health.changed.notify_waiters();
    }

    /// A connection could not be made: the endpoint is left alone for a while.
    pub fn failed(&self) {
        let mut gate = self.gate();
        gate.failures = gate.failures.saturating_add(1);
        gate.retry_at = Some(Instant::now() + self.backoff.delay(gate.failures));
        if gate.is_counted_ready {
            gate.is_counted_ready = false;
            self.ready.decr();
            self.pending.incr();
        }
        drop(gate);
        // Whoever waits must learn when to try again.
        self.health.changed.notify_waiters();
    }
}

impl<P> Member<P> {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P> Drop for Member<P> {
    fn drop(&mut self) {
        match self.gate().is_counted_ready {
            true => self.ready.decr(),
            false => self.pending.decr(),
        }
    }
}

/// One request that waits for an endpoint.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize, max: usize) -> Option<Self> {
        let waiting = Self(count);
        (count.fetch_add(1, Relaxed) < max).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
