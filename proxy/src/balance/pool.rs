//! What all workers know together of one balancer: which endpoints are taken out, who waits, whether requests fail at
//! once, and what is counted. Connections and the choice are each worker's own.

use super::{
    breaker::{Breaker, Outcome, Ticket, Verdict},
    load::Load,
};
use crate::{
    control::{
        Endpoints,
        model::{
            Endpoint,
            endpoint::{EndpointSet, SetState},
            outbound::{self, Backoff, FailureAccrual},
        },
    },
    metrics::BalancerStats,
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Balancers with fewer endpoints than this are not worth cleaning.
const CLEAN_MIN: usize = 64;
/// How long it is not counted again whether enough endpoints are left: counting goes over all of them.
const KEEP: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub struct Settings {
    pub load: outbound::Load,
    /// Between attempts to connect to an endpoint that could not be reached.
    pub backoff: Backoff,
    pub failfast: Duration,
    /// How many requests may wait for an endpoint.
    pub waiting_max: usize,
    pub accrual: Option<Arc<FailureAccrual>>,
    /// Present where requests choose their endpoint by a key: how much more than its share one may take.
    pub load_factor: Option<f64>,
    /// Absent where there is only one place to go.
    pub stats: Option<BalancerStats>,
}

pub struct Pool {
    pub settings: Settings,
    /// The endpoints that any worker has.
    standings: Mutex<Standings>,
    /// No endpoint has been ready for the failfast time: fail at once until one is.
    is_failing: AtomicBool,
    waiting: AtomicUsize,
    /// An endpoint has become ready or unready, or the set has changed.
    pub changed: Notify,
    counter: Mutex<Option<tokio::task::AbortHandle>>,
}

#[derive(Default)]
struct Standings {
    by_addr: HashMap<SocketAddr, Weak<Standing>>,
    /// How many there are when those that are gone are looked for.
    clean_at: usize,
    /// Too few endpoints were left; until then that is taken to be so still.
    kept_until: Option<Instant>,
}

/// One endpoint as all workers see it.
pub struct Standing {
    pool: Arc<Pool>,
    /// What the control plane says of it; none where it is not of the control plane's.
    of: Option<Arc<Endpoint>>,
    breaker: Option<Breaker>,
    /// Shared where the load of all workers decides.
    load: Option<Arc<Load>>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Workers that can send requests to it, and workers that could not connect.
    ready: u32,
    failing: u32,
    is_counted_ready: bool,
}

/// A request that the breaker has let through. Dropped without a word, it says nothing about the endpoint.
pub struct Permit {
    standing: Arc<Standing>,
    ticket: Option<Ticket>,
}

impl Pool {
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            standings: Mutex::default(),
            is_failing: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            changed: Notify::new(),
            counter: Mutex::default(),
        })
    }

    /// Counts the endpoint set and its changes from now on.
    pub fn count(&self, endpoints: &Endpoints) {
        let Some(stats) = self.settings.stats.clone() else { return };
        let mut watch = endpoints.watch();
        let task = tokio::spawn(async move {
            let mut known = None;
            loop {
                let set = watch.borrow_and_update().clone();
                count_update(&stats, known.as_deref(), &set);
                known = (set.state != SetState::Pending).then_some(set);
                if watch.changed().await.is_err() {
                    return;
                }
            }
        });
        *lock(&self.counter) = Some(task.abort_handle());
    }

    /// How an endpoint stands. Another one at the same address begins anew.
    pub fn standing(self: &Arc<Self>, addr: SocketAddr, of: Option<&Arc<Endpoint>>) -> Arc<Standing> {
        let mut standings = lock(&self.standings);
        let Standings { by_addr, clean_at, .. } = &mut *standings;
        if let Some(standing) = by_addr.get(&addr).and_then(Weak::upgrade)
            && is_same(standing.of.as_ref(), of)
        {
            return standing;
        }
        if by_addr.len() >= *clean_at {
            by_addr.retain(|_, standing| standing.strong_count() > 0);
            *clean_at = (2 * by_addr.len()).max(CLEAN_MIN);
        }
        let standing = Standing::new(self.clone(), of.cloned());
        by_addr.insert(addr, Arc::downgrade(&standing));
        standing
    }

    #[inline]
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Relaxed)
    }

    pub fn set_failing(&self, is_failing: bool) {
        if self.is_failing.swap(is_failing, Relaxed) == is_failing {
            return;
        }
        match (&self.settings.stats, is_failing) {
            (Some(stats), true) => stats.gate_shut(),
            (Some(stats), false) => stats.gate_opened(),
            (None, _) => {}
        }
    }

    /// A place among the requests that wait for an endpoint, if there is one.
    pub fn wait(&self) -> Option<Waiting<'_>> {
        if self.waiting.fetch_add(1, Relaxed) >= self.settings.waiting_max {
            self.waiting.fetch_sub(1, Relaxed);
            return None;
        }
        if let Some(stats) = &self.settings.stats {
            stats.requests.incr();
            stats.waiting.incr();
        }
        Some(Waiting { pool: self, began: Instant::now() })
    }

    /// Takes an endpoint out, unless too few would be left.
    fn eject(&self, standing: &Standing, breaker: &Breaker, ticket: Ticket, now: Instant) -> bool {
        let min = self.settings.accrual.as_ref().map_or(0, |accrual| accrual.min_ready_endpoints) as usize;
        if min == 0 {
            return breaker.eject(ticket, now);
        }
        // One at a time, or two could each leave just enough.
        let mut standings = lock(&self.standings);
        if standings.kept_until.is_some_and(|until| now < until) {
            return false;
        }
        let others = standings.by_addr.values().filter_map(Weak::upgrade);
        let left = others.filter(|other| !std::ptr::eq(&**other, standing) && other.is_usable()).take(min).count();
        if left < min {
            standings.kept_until = Some(now + KEEP);
            return false;
        }
        breaker.eject(ticket, now)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(counter) = self.counter.get_mut().unwrap_or_else(PoisonError::into_inner) {
            counter.abort();
        }
    }
}

fn count_update(stats: &BalancerStats, known: Option<&EndpointSet>, set: &EndpointSet) {
    match (set.state, known) {
        (SetState::Pending, _) => return,
        (SetState::DoesNotExist, _) => stats.does_not_exist.incr(),
        (SetState::Exists, None) => stats.resets.incr(),
        (SetState::Exists, Some(known)) => {
            let (added, removed) = changes(known, set);
            if set.resets == known.resets {
                stats.adds.add(added as u64);
                stats.removes.add(removed as u64);
            } else if added + removed > 0 {
                stats.resets.incr();
            }
        }
    }
    stats.members.set(i64::try_from(set.endpoints.len()).unwrap_or(i64::MAX));
}

/// How many endpoints are new or others, and how many are gone: one walk along both.
fn changes(known: &EndpointSet, set: &EndpointSet) -> (usize, usize) {
    let mut old = known.endpoints.iter().peekable();
    let (mut added, mut kept) = (0, 0);
    for (addr, endpoint) in &set.endpoints {
        while old.next_if(|(known, _)| *known < addr).is_some() {}
        let before = old.next_if(|(known, _)| *known == addr).map(|(_, before)| before);
        kept += usize::from(before.is_some());
        added += usize::from(!is_same(before, Some(endpoint)));
    }
    (added, known.endpoints.len() - kept)
}

/// An endpoint that has not changed stays the same value.
pub fn is_same(a: Option<&Arc<Endpoint>>, b: Option<&Arc<Endpoint>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

impl Standing {
    fn new(pool: Arc<Pool>, of: Option<Arc<Endpoint>>) -> Arc<Self> {
        let Settings { accrual, load_factor, load, stats, .. } = &pool.settings;
        if let Some(stats) = stats {
            stats.pending.incr();
        }
        Arc::new(Self {
            breaker: accrual.clone().map(|accrual| Breaker::new(accrual, Instant::now())),
            load: load_factor.is_some().then(|| Load::new(*load)),
            counts: Mutex::default(),
            pool,
            of,
        })
    }

    pub fn load(&self) -> Arc<Load> {
        self.load.clone().unwrap_or_else(|| Load::new(self.pool.settings.load))
    }

    /// Err: when the endpoint may be tried, unless another request is back before.
    #[inline]
    pub fn is_open(&self, now: Instant) -> Result<(), Instant> {
        self.breaker.as_ref().map_or(Ok(()), |breaker| breaker.is_open(now))
    }

    pub fn has_breaker(&self) -> bool {
        self.breaker.is_some()
    }

    /// Leave to send a request. Err: the endpoint takes none now.
    pub fn admit(self: &Arc<Self>, now: Instant) -> Result<Option<Permit>, ()> {
        let Some(breaker) = &self.breaker else { return Ok(None) };
        let ticket = breaker.admit(now).ok_or(())?;
        Ok(Some(Permit { standing: self.clone(), ticket: Some(ticket) }))
    }

    /// One worker's view has changed: by so much each, ready and failing.
    pub fn shift(&self, ready: i32, failing: i32) {
        let mut counts = lock(&self.counts);
        counts.ready = counts.ready.saturating_add_signed(ready);
        counts.failing = counts.failing.saturating_add_signed(failing);
        self.count(&mut counts);
    }

    fn count(&self, counts: &mut Counts) {
        let is_ready = counts.ready > 0 && !self.is_out();
        if std::mem::replace(&mut counts.is_counted_ready, is_ready) == is_ready {
            return;
        }
        let Some(stats) = &self.pool.settings.stats else { return };
        let (more, less) = if is_ready { (&stats.ready, &stats.pending) } else { (&stats.pending, &stats.ready) };
        more.incr();
        less.decr();
    }

    fn is_out(&self) -> bool {
        self.breaker.as_ref().is_some_and(Breaker::is_out)
    }

    /// In, and not known to be out of reach.
    fn is_usable(&self) -> bool {
        let counts = lock(&self.counts);
        !self.is_out() && (counts.ready > 0 || counts.failing == 0)
    }

    /// The breaker has moved: whoever waits must look again.
    fn moved(&self) {
        let is_out = self.is_out();
        self.count(&mut lock(&self.counts));
        if !is_out {
            self.pool.set_failing(false);
        }
        self.pool.changed.notify_waiters();
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if let Some(stats) = &self.pool.settings.stats {
            let counts = self.counts.get_mut().unwrap_or_else(PoisonError::into_inner);
            if counts.is_counted_ready { stats.ready.decr() } else { stats.pending.decr() }
        }
    }
}

impl Permit {
    /// Whether the endpoint's return depends on this request.
    pub fn is_probe(&self) -> bool {
        self.ticket.is_some_and(|ticket| ticket.is_probe)
    }

    /// What the request says about the endpoint; `hint` is how long it asked to be spared.
    pub fn end(mut self, outcome: Outcome, hint: Option<Duration>) {
        let (Some(ticket), Some(breaker)) = (self.ticket.take(), &self.standing.breaker) else { return };
        let now = Instant::now();
        match breaker.judge(ticket, outcome, hint, now) {
            Verdict::Unchanged => {}
            Verdict::Moved => self.standing.moved(),
            Verdict::Due => {
                if self.standing.pool.eject(&self.standing, breaker, ticket, now) {
                    self.standing.moved();
                }
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let (Some(ticket), Some(breaker)) = (self.ticket, &self.standing.breaker)
            && breaker.give_back(ticket, Instant::now())
        {
            self.standing.moved();
        }
    }
}

/// One request that waits for an endpoint.
pub struct Waiting<'a> {
    pool: &'a Pool,
    began: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pool.waiting.fetch_sub(1, Relaxed);
        if let Some(stats) = &self.pool.settings.stats {
            stats.waiting.decr();
            stats.latency.observe_time(self.began.elapsed());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::model::outbound::AccrualKind;

    fn endpoint(n: u8) -> Arc<Endpoint> {
        Arc::new(Endpoint::unknown(([10, 0, 0, n], 80).into()))
    }

    fn set(endpoints: &[&Arc<Endpoint>]) -> EndpointSet {
        let endpoints = endpoints.iter().map(|endpoint| (endpoint.addr, (*endpoint).clone())).collect();
        EndpointSet { state: SetState::Exists, resets: 1, endpoints }
    }

    #[test]
    fn counts_what_is_new_changed_and_gone() {
        let (one, two, three, other) = (endpoint(1), endpoint(2), endpoint(3), endpoint(2));
        let known = set(&[&one, &two]);
        for (next, expected) in [
            (set(&[&one, &two]), (0, 0)),
            (set(&[&one, &two, &three]), (1, 0)),
            (set(&[&one, &other]), (1, 0)),
            (set(&[&two, &three]), (1, 1)),
            (set(&[]), (0, 2)),
        ] {
            assert_eq!(changes(&known, &next), expected, "{:?}", next.endpoints.keys());
        }
        assert_eq!(changes(&set(&[]), &known), (2, 0));
    }

    #[test]
    fn an_endpoint_that_is_out_stays_out_for_all_until_it_is_another() {
        let second = Duration::from_secs(1);
        let backoff = Backoff { min: 60 * second, max: 60 * second, jitter: 0.0, respect_retry_after: false };
        let kind = AccrualKind::Consecutive { max_failures: 1, backoff };
        let accrual = Some(Arc::new(FailureAccrual { kind, min_ready_endpoints: 0 }));
        let load = outbound::Load::DEFAULT;
        let settings =
            Settings { load, backoff, failfast: second, waiting_max: 1, accrual, load_factor: None, stats: None };
        let (pool, of, now) = (Pool::new(settings), endpoint(1), Instant::now());
        let standing = pool.standing(of.addr, Some(&of));
        standing.admit(now).expect("taken").expect("a permit").end(Outcome::Failure, None);
        assert!(standing.is_open(now).is_err());
        // Another worker's, and this one's after an update that says the same.
        assert!(Arc::ptr_eq(&pool.standing(of.addr, Some(&of)), &standing));
        // Another pod at the same address, while the old one's last requests are still under way.
        let other = pool.standing(of.addr, Some(&endpoint(1)));
        assert!(other.is_open(now).is_ok() && standing.is_open(now).is_err());
        drop((standing, other));
        assert!(pool.standing(of.addr, Some(&of)).is_open(now).is_ok(), "removed and added again");
    }
}
