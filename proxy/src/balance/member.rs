//! One endpoint of a balancer as one worker has it: its connections, and whether it can be chosen.

use super::{
    Load, Settings,
    hash::hash_addr,
    pool::{Permit, Pool, Standing},
};
use crate::control::model::{Endpoint, outbound::Backoff};
use std::{
    future::Future,
    net::SocketAddr,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

/// Something that a balancer can choose.
pub trait Peer: Send + Sync + 'static {
    /// Whether `prepare` finds out if it can be reached, so that no request need be risked for that.
    const CAN_PREPARE: bool;

    /// Whether a request can be sent at once, as far as is known.
    fn is_ready(&self) -> bool;

    /// Makes it ready in the background; true when that worked.
    fn prepare(self: Arc<Self>) -> impl Future<Output = bool> + Send;
}

pub struct Member<P> {
    pub peer: Arc<P>,
    pub load: Arc<Load>,
    pub addr: SocketAddr,
    /// Its place among the endpoints that a key is looked up in.
    pub(super) place: u64,
    backoff: Backoff,
    /// It has been reached and nothing has gone wrong since: the usual case, read without the lock.
    is_steady: AtomicBool,
    gate: Mutex<Gate>,
    pool: Arc<Pool>,
    standing: Arc<Standing>,
}

/// Shut for a while after each failure to connect.
#[derive(Default)]
struct Gate {
    failures: u32,
    retry_at: Option<Instant>,
    is_counted_ready: bool,
    is_counted_failing: bool,
}

/// A member that has been chosen, and leave to send it one request.
pub struct Picked<P> {
    pub member: Arc<Member<P>>,
    /// Where the endpoint has a breaker; to be ended with what became of the request.
    pub permit: Option<Permit>,
}

impl<P: Peer> Member<P> {
    /// A member of no balancer: the only place that something may go.
    pub fn alone(addr: SocketAddr, peer: P, settings: Settings) -> Self {
        let settings = Settings { accrual: None, load_factor: None, stats: None, ..settings };
        Self::new(addr, None, peer, &Pool::new(settings))
    }

    pub(super) fn new(addr: SocketAddr, of: Option<&Arc<Endpoint>>, peer: P, pool: &Arc<Pool>) -> Self {
        let standing = pool.standing(addr, of);
        Self {
            addr,
            peer: Arc::new(peer),
            load: standing.load(),
            place: hash_addr(addr),
            backoff: pool.settings.backoff,
            is_steady: AtomicBool::new(false),
            gate: Mutex::default(),
            pool: pool.clone(),
            standing,
        }
    }

    /// Err: when it may be tried, unless another request is back before.
    pub(super) fn is_open(&self, now: Instant) -> Result<(), Instant> {
        if !self.is_steady.load(Relaxed)
            && let Some(at) = self.gate().retry_at
            && at > now
        {
            return Err(at);
        }
        self.standing.is_open(now)
    }

    /// Ready, and not shut. One that is merely not ready yet is made so for the next request.
    pub(super) fn is_usable(self: &Arc<Self>, now: Instant) -> bool {
        if self.is_open(now).is_err() {
            return false;
        }
        let is_ready = self.peer.is_ready();
        if !is_ready {
            self.prepare(now);
        }
        is_ready
    }

    /// Whether a request may go here while no endpoint is known to be ready.
    pub(super) fn is_worth_trying(self: &Arc<Self>, now: Instant) -> bool {
        if self.is_open(now).is_err() {
            return false;
        }
        if P::CAN_PREPARE && self.gate().failures > 0 {
            self.prepare(now);
            return false;
        }
        true
    }

    fn prepare(self: &Arc<Self>, now: Instant) {
        let member = self.clone();
        // Shut meanwhile, so that only one attempt is under way.
        self.is_steady.store(false, Relaxed);
        self.gate().retry_at = Some(now + self.backoff.max);
        tokio::spawn(async move {
            match member.peer.clone().prepare().await {
                true => member.connected(),
                false => member.failed(),
            }
        });
    }

    /// Whether a key's request may go here: even if it must connect first, unless that has failed before.
    pub(super) fn takes_by_key(self: &Arc<Self>, now: Instant) -> bool {
        let is_untried = || self.gate().failures == 0;
        self.is_open(now).is_ok() && (self.is_steady.load(Relaxed) || is_untried() || self.is_usable(now))
    }

    pub(super) fn admit(self: &Arc<Self>, now: Instant) -> Option<Picked<P>> {
        let permit = self.standing.admit(now).ok()?;
        Some(Picked { member: self.clone(), permit })
    }

    /// A connection was made or used.
    #[inline]
    pub fn connected(&self) {
        if !self.is_steady.load(Relaxed) || self.pool.is_failing() {
            self.recovered();
        }
    }

    #[cold]
    fn recovered(&self) {
        let mut gate = self.gate();
        gate.failures = 0;
        gate.retry_at = None;
        gate.count(&self.standing, true, false);
        self.is_steady.store(true, Relaxed);
        drop(gate);
        if self.standing.is_open(Instant::now()).is_ok() {
            self.pool.set_failing(false);
        }
        self.pool.changed.notify_waiters();
    }

    /// A connection could not be made: the endpoint is left alone for a while.
    pub fn failed(&self) {
        let mut gate = self.gate();
        gate.retry_at = Some(Instant::now() + self.backoff.delay(gate.failures));
        gate.failures = gate.failures.saturating_add(1);
        gate.count(&self.standing, false, true);
        self.is_steady.store(false, Relaxed);
        drop(gate);
        // Whoever waits must learn when to try again.
        self.pool.changed.notify_waiters();
    }
}

impl<P> Member<P> {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    fn count(&mut self, standing: &Standing, is_ready: bool, is_failing: bool) {
        let shift = |old: &mut bool, new: bool| i32::from(new) - i32::from(std::mem::replace(old, new));
        let (ready, failing) =
            (shift(&mut self.is_counted_ready, is_ready), shift(&mut self.is_counted_failing, is_failing));
        if (ready, failing) != (0, 0) {
            standing.shift(ready, failing);
        }
    }
}

impl<P> Drop for Member<P> {
    fn drop(&mut self) {
        let gate = self.gate.get_mut().unwrap_or_else(PoisonError::into_inner);
        gate.count(&self.standing, false, false);
    }
}

impl<P> Picked<P> {
    pub fn has_breaker(&self) -> bool {
        self.member.standing.has_breaker()
    }

    /// Where there is no choice.
    pub fn only(member: Arc<Member<P>>) -> Self {
        Self { member, permit: None }
    }
}

impl<P> Deref for Picked<P> {
    type Target = Member<P>;

    fn deref(&self) -> &Member<P> {
        &self.member
    }
}
