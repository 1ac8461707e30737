//! The endpoints of balancers, by `name:port`, shared by all who hold them.

use super::decode;
use super::model::endpoint::{EndpointSet, SetState};
use super::overlay;
use super::stream::{Follow, Heard};
use linkerd2_proxy_api::destination::{GetDestination, Update, update};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

pub const GET: &str = "/io.linkerd.proxy.destination.Destination/Get";

/// A holder of one `name:port`; cheap to clone.
#[derive(Clone)]
pub struct Endpoints(Arc<Held>);

struct Held {
    path: Arc<str>,
    set: watch::Receiver<Arc<EndpointSet>>,
}

impl Endpoints {
    pub(super) fn new(path: Arc<str>, set: watch::Receiver<Arc<EndpointSet>>) -> Self {
        Self(Arc::new(Held { path, set }))
    }

    pub fn path(&self) -> &Arc<str> {
        &self.0.path
    }

    /// The latest set, and word of every later one.
    pub fn watch(&self) -> watch::Receiver<Arc<EndpointSet>> {
        self.0.set.clone()
    }

    pub(super) fn is_held(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

pub(super) async fn run(follow: Follow<GetDestination>, set: watch::Sender<Arc<EndpointSet>>) {
    let path = follow.request.path.clone();
    let mut is_reset = false;
    let status = follow
        .run(|heard: Heard<Update, overlay::DestinationUpdate>| {
            is_reset &= !heard.is_first;
            // In a statement of its own: the borrow must be over before the set is replaced.
            let next = apply(&set.borrow(), heard.message, &mut is_reset);
            if let Some(next) = next {
                set.send_replace(Arc::new(next));
            }
        })
        .await;
    log::warn!(target: "destination", "endpoints of {path}: {}", super::describe(&status));
    set.send_replace(Arc::new(EndpointSet { state: SetState::DoesNotExist, ..EndpointSet::default() }));
    set.closed().await;
}

/// The set after an update. The old set counts only once this stream has said a whole one: `is_reset`.
fn apply(old: &EndpointSet, update: Update, is_reset: &mut bool) -> Option<EndpointSet> {
    let was_reset = *is_reset;
    match update.update? {
        update::Update::Add(set) => {
            *is_reset = true;
            let resets = old.resets.wrapping_add(u32::from(!was_reset));
            let mut endpoints = if was_reset { old.endpoints.clone() } else { BTreeMap::new() };
            endpoints.extend(decode::endpoints(set).map(|endpoint| {
                // An endpoint that did not change stays the same value, so that its connections stay too.
                match old.endpoints.get(&endpoint.addr) {
                    Some(known) if **known == *endpoint => (known.addr, known.clone()),
                    _ => (endpoint.addr, endpoint),
                }
            }));
            Some(EndpointSet { state: SetState::Exists, resets, endpoints })
        }
        update::Update::Remove(set) if was_reset => {
            let mut endpoints = old.endpoints.clone();
            for addr in set.addrs.into_iter().filter_map(|a| decode::socket_addr(a).ok()) {
                endpoints.remove(&addr);
            }
            Some(EndpointSet { state: SetState::Exists, resets: old.resets, endpoints })
        }
        update::Update::Remove(_) => None,
        update::Update::NoEndpoints(none) => {
            *is_reset = true;
            let state = if none.exists { SetState::Exists } else { SetState::DoesNotExist };
            Some(EndpointSet { state, resets: old.resets.wrapping_add(1), endpoints: BTreeMap::new() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linkerd2_proxy_api::destination::{AddrSet, NoEndpoints, WeightedAddr, WeightedAddrSet};
    use linkerd2_proxy_api::net::TcpAddress;

    fn tcp(n: u8) -> TcpAddress {
        std::net::SocketAddr::from(([10, 0, 0, n], 80)).into()
    }

    fn add(ns: &[u8]) -> Update {
        let addrs = ns.iter().map(|n| WeightedAddr { addr: Some(tcp(*n)), ..WeightedAddr::default() }).collect();
        Update { update: Some(update::Update::Add(WeightedAddrSet { addrs, ..WeightedAddrSet::default() })) }
    }

    fn remove(n: u8) -> Update {
        Update { update: Some(update::Update::Remove(AddrSet { addrs: vec![tcp(n)] })) }
    }

    fn run(updates: Vec<Update>, old: EndpointSet) -> (SetState, Vec<u8>) {
        let mut is_reset = false;
        let set = updates.into_iter().fold(old, |set, u| apply(&set, u, &mut is_reset).unwrap_or(set));
        let last = set.endpoints.keys().map(|addr| match addr.ip() {
            std::net::IpAddr::V4(ip) => ip.octets()[3],
            std::net::IpAddr::V6(_) => 0,
        });
        (set.state, last.collect())
    }

    #[test]
    fn adds_and_removes_build_on_each_other() {
        let (state, set) = run(vec![add(&[1, 2]), add(&[3]), remove(1)], EndpointSet::default());
        assert_eq!((state, set), (SetState::Exists, vec![2, 3]));
    }

    #[test]
    fn a_new_stream_replaces_the_stale_set_at_its_first_add() {
        let mut is_reset = false;
        let stale = apply(&EndpointSet::default(), add(&[1, 2]), &mut is_reset).expect("a set");
        assert_eq!(run(vec![remove(1)], stale.clone()).1, [1, 2], "a leading removal is ignored");
        assert_eq!(run(vec![add(&[3]), add(&[4])], stale.clone()).1, [3, 4]);
        let none = |exists| Update { update: Some(update::Update::NoEndpoints(NoEndpoints { exists })) };
        assert_eq!(run(vec![none(true)], stale.clone()), (SetState::Exists, vec![]));
        assert_eq!(run(vec![none(false)], stale), (SetState::DoesNotExist, vec![]));
    }

    #[test]
    fn an_unchanged_endpoint_stays_the_same_value() {
        let mut is_reset = false;
        let old = apply(&EndpointSet::default(), add(&[1]), &mut is_reset).expect("a set");
        is_reset = false;
        let new = apply(&old, add(&[1, 2]), &mut is_reset).expect("a set");
        let (a, b) = (old.endpoints.values().next(), new.endpoints.values().next());
        assert!(Arc::ptr_eq(a.expect("one"), b.expect("one")));
    }
}
