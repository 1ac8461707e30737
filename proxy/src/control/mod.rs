//! What the control plane says: who we are, where traffic goes, who may come in. All of it is cached, shared, and kept
//! while the control plane is away.

mod addresses;
mod backoff;
pub mod client;
mod codec;
mod decode;
mod discovery;
mod endpoints;
pub mod identity;
mod inbound_profiles;
mod merge;
mod metrics;
pub mod model;
pub mod overlay;
mod server_policy;
mod service_metrics;
pub mod spire;
mod stream;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

pub use decode::inbound::server as decode_inbound;
pub use discovery::{Destination, DiscoveryError, OutboundTarget};
pub use endpoints::Endpoints;
pub use inbound_profiles::{InboundProfile, InboundProfileWatch};

use crate::config::{Config, ControlAddr};
use backoff::Attempts;
use client::{Client, Connector};
use discovery::{Lookup, State};
use linkerd2_proxy_api::destination::GetDestination;
use linkerd2_proxy_api::inbound::PortSpec;
use linkerd2_proxy_api::outbound::{TrafficSpec, traffic_spec::Target};
use model::inbound::ServerPolicy;
use model::outbound::Queue;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use stream::Follow;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tonic::{Code, Status};

/// How often idle entries are looked for while there are any.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The way in; clone it freely, use it from any thread.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    runtime: Handle,
    destination: Client,
    policy: Client,
    outbound: Cache<Destination, Arc<watch::Sender<State>>>,
    endpoints: Cache<Arc<str>, Endpoints>,
    inbound: Cache<u16, Arc<watch::Sender<Arc<ServerPolicy>>>>,
    inbound_profiles: Cache<Arc<str>, Arc<inbound_profiles::Publisher>>,
    is_sweeping: AtomicBool,
}

type Cache<K, V> = Mutex<HashMap<K, Entry<V>>>;

/// One cached look-up and the task that keeps it current; the task ends with it.
struct Entry<V> {
    value: V,
    task: AbortHandle,
    unheld_since: Option<Instant>,
}

impl<V> Drop for Entry<V> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Control {
    /// Must be called on the runtime that is to carry the control plane's streams.
    pub fn new(config: Arc<Config>, connector: Connector) -> Self {
        let client = |service, addr: &ControlAddr| Client::new(service, addr.clone(), connector.clone());
        Self(Arc::new(Inner {
            destination: client("destination", &config.control.destination),
            policy: client("policy", &config.control.policy),
            runtime: Handle::current(),
            outbound: Mutex::default(),
            endpoints: Mutex::default(),
            inbound: Mutex::default(),
            inbound_profiles: Mutex::default(),
            is_sweeping: AtomicBool::new(false),
            config,
        }))
    }

    /// What the control plane says of an original destination; waits for it without a limit.
    pub async fn outbound(&self, orig_dst: SocketAddr) -> Result<Arc<OutboundTarget>, DiscoveryError> {
        let addr = SocketAddr::new(orig_dst.ip().to_canonical(), orig_dst.port());
        self.look_up(Destination::Addr(addr)).await
    }

    /// The same for a destination that an application or gateway names, as `name:port`.
    pub async fn outbound_name(&self, authority: &str) -> Result<Arc<OutboundTarget>, DiscoveryError> {
        self.look_up(Destination::Name(authority.into())).await
    }

    /// The endpoints of `name:port`; `Pending` until the first answer.
    pub fn endpoints(&self, path: &str) -> Endpoints {
        let mut all = lock(&self.0.endpoints);
        if let Some(entry) = all.get_mut(path) {
            entry.unheld_since = None;
            return entry.value.clone();
        }
        let path: Arc<str> = path.into();
        let (publisher, set) = watch::channel(Arc::default());
        let value = Endpoints::new(path.clone(), set);
        let request = self.get_destination(path.to_string());
        let follow = self.follow(&self.0.destination, endpoints::GET, request, stream::is_refusal);
        let task = self.0.runtime.spawn(endpoints::run(follow, publisher)).abort_handle();
        all.insert(path, Entry { value: value.clone(), task, unheld_since: None });
        drop(all);
        self.sweep_later();
        value
    }

    /// The policy of an inbound port: the default one until the control plane says otherwise.
    pub fn inbound(&self, port: u16) -> watch::Receiver<Arc<ServerPolicy>> {
        let mut all = lock(&self.0.inbound);
        if let Some(entry) = all.get_mut(&port) {
            entry.unheld_since = None;
            return entry.value.subscribe();
        }
        let default = server_policy::default_policy(&self.0.config.inbound, port);
        let (value, policy) = watch::channel(Arc::new(default));
        let value = Arc::new(value);
        let request = PortSpec { workload: self.0.config.control.policy_workload.to_string(), port: port.into() };
        let follow = self.follow(&self.0.policy, server_policy::WATCH_PORT, request, stream::is_refusal);
        let task = self.0.runtime.spawn(server_policy::run(follow, value.clone())).abort_handle();
        all.insert(port, Entry { value, task, unheld_since: None });
        drop(all);
        if !self.0.is_eager(port) {
            self.sweep_later();
        }
        policy
    }

    /// The profile of a `name:port` that inbound requests are for; None where none is asked for.
    pub fn inbound_profile(&self, path: &Arc<str>) -> Option<InboundProfileWatch> {
        if !self.0.config.control.profile_suffixes.contains(model::route::without_port(path)) {
            return None;
        }
        let mut all = lock(&self.0.inbound_profiles);
        if let Some(entry) = all.get_mut(path) {
            entry.unheld_since = None;
            return Some(entry.value.subscribe());
        }
        if all.len() >= inbound_profiles::NAMES_MAX {
            return None;
        }
        let (value, profile) = watch::channel(None);
        let value = Arc::new(value);
        let request = self.get_destination(path.to_string());
        let follow = self.follow(&self.0.destination, discovery::GET_PROFILE, request, stream::is_refusal);
        let task = self.0.runtime.spawn(inbound_profiles::run(follow, value.clone())).abort_handle();
        all.insert(path.clone(), Entry { value, task, unheld_since: None });
        drop(all);
        self.sweep_later();
        Some(profile)
    }

    /// Begins to watch the ports that are watched from the start and for ever.
    pub fn watch_eager_ports(&self) {
        let inbound = &self.0.config.inbound;
        let gateway = inbound.common.listen.iter().map(|l| l.port()).filter(|_| inbound.is_gateway());
        for port in inbound.ports.iter().chain([self.0.config.admin.listen.port()]).chain(gateway) {
            drop(self.inbound(port));
        }
    }

    async fn look_up(&self, destination: Destination) -> Result<Arc<OutboundTarget>, DiscoveryError> {
        let mut state = self.lookup_state(&destination);
        let state = state.wait_for(|state| !matches!(state, State::Waiting)).await;
        match state.as_deref() {
            Ok(State::Known(target)) => Ok(target.clone()),
            Ok(State::Refused(error)) => {
                // The next connection asks anew.
                let mut all = lock(&self.0.outbound);
                if all.get(&destination).is_some_and(|e| matches!(*e.value.borrow(), State::Refused(_))) {
                    all.remove(&destination);
                }
                Err(error.clone())
            }
            Ok(State::Waiting) | Err(_) => Err(DiscoveryError("the look-up was given up".into())),
        }
    }

    fn lookup_state(&self, destination: &Destination) -> watch::Receiver<State> {
        let mut all = lock(&self.0.outbound);
        if let Some(entry) = all.get_mut(destination) {
            entry.unheld_since = None;
            return entry.value.subscribe();
        }
        let (value, state) = watch::channel(State::Waiting);
        let value = Arc::new(value);
        let task = self.0.runtime.spawn(self.lookup(destination.clone(), value.clone()).run()).abort_handle();
        all.insert(destination.clone(), Entry { value, task, unheld_since: None });
        drop(all);
        self.sweep_later();
        state
    }

    fn lookup(&self, destination: Destination, state: Arc<watch::Sender<State>>) -> Lookup {
        let control = &self.0.config.control;
        let is_profiled = match &destination {
            Destination::Addr(addr) => control.profile_networks.iter().any(|net| net.contains(&addr.ip())),
            Destination::Name(name) => control.profile_suffixes.contains(model::route::without_port(name)),
        };
        let (path, target) = match &destination {
            Destination::Addr(addr) => (addr.to_string(), Target::Addr((*addr).into())),
            Destination::Name(name) => (name.to_string(), Target::Authority(name.to_string())),
        };
        let profile = is_profiled.then(|| {
            let request = self.get_destination(path);
            self.follow(&self.0.destination, discovery::GET_PROFILE, request, stream::is_refusal)
        });
        let request = TrafficSpec { source_workload: control.policy_workload.to_string(), target: Some(target) };
        let policy = self.follow(&self.0.policy, discovery::WATCH, request, stream::is_refusal_or_absence);
        let queue = self.0.config.outbound.common.http_queue;
        let queue = Queue { capacity: queue.capacity, failfast_timeout: queue.failfast_timeout };
        Lookup { destination, profile, policy, queue, state }
    }

    fn get_destination(&self, path: String) -> GetDestination {
        let context_token = self.0.config.control.destination_context.to_string();
        GetDestination { path, context_token, scheme: String::new() }
    }

    fn follow<Q>(&self, client: &Client, path: &'static str, request: Q, is_final: fn(Code) -> bool) -> Follow<Q> {
        Follow {
            attempts: Attempts::of_stream(self.0.config.control.backoff),
            client: client.clone(),
            metrics: client.requests().clone(),
            limits: self.0.config.control.stream,
            path,
            request,
            is_final,
        }
    }

    /// Starts the task that forgets idle entries, unless it runs.
    fn sweep_later(&self) {
        if self.0.is_sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = Arc::downgrade(&self.0);
        self.0.runtime.spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                let Some(inner) = Weak::upgrade(&inner) else { return };
                // Cleared first, so that an entry made meanwhile starts the task anew.
                inner.is_sweeping.store(false, Ordering::Release);
                if !inner.sweep(Instant::now()) || inner.is_sweeping.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
        });
    }
}

impl Inner {
    fn is_eager(&self, port: u16) -> bool {
        let inbound = &self.config.inbound;
        let is_gateway = || inbound.is_gateway() && inbound.common.listen.iter().any(|l| l.port() == port);
        inbound.ports.contains(port) || port == self.config.admin.listen.port() || is_gateway()
    }

    /// Forgets what nobody has held for its time. Whether anything is left that may have to be forgotten.
    fn sweep(&self, now: Instant) -> bool {
        let idle = self.config.outbound.common.discovery_idle_timeout;
        let outbound = sweep(&self.outbound, now, idle, |_, state| match &*state.borrow() {
            State::Waiting => state.receiver_count() > 0,
            State::Known(target) => Arc::strong_count(target) > 1,
            State::Refused(_) => false,
        });
        let endpoints = sweep(&self.endpoints, now, idle, |_, endpoints| endpoints.is_held());
        let idle = self.config.inbound.common.discovery_idle_timeout;
        let inbound =
            sweep(&self.inbound, now, idle, |port, policy| self.is_eager(*port) || policy.receiver_count() > 0);
        let profiles = sweep(&self.inbound_profiles, now, idle, |_, profile| profile.receiver_count() > 0);
        outbound + endpoints + inbound + profiles > self.eager_count()
    }

    fn eager_count(&self) -> usize {
        lock(&self.inbound).keys().filter(|port| self.is_eager(**port)).count()
    }
}

fn sweep<K: Eq + Hash, V>(all: &Cache<K, V>, now: Instant, idle: Duration, is_held: impl Fn(&K, &V) -> bool) -> usize {
    let mut all = lock(all);
    all.retain(|key, entry| {
        if is_held(key, &entry.value) {
            entry.unheld_since = None;
            return true;
        }
        now.duration_since(*entry.unheld_since.get_or_insert(now)) < idle
    });
    all.len()
}

/// A panic elsewhere cannot leave these maps half-changed, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A status and what caused it, on one line.
fn describe(status: &Status) -> String {
    let mut text = format!("{:?}: {}", status.code(), status.message());
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

/// A random number from 0 to 1, for jitter; not for secrets.
pub fn random_unit() -> f32 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let bits = RandomState::new().build_hasher().finish();
    (bits >> 40) as f32 / (1u32 << 24) as f32
}
