//! A policy made ready for use: each route rule with its counters, each backend with its balancer, resolved when the
//! policy changes and not when a request comes.

use super::{
    backend::{BackendRef, BalancerKind},
    endpoint::{HttpEndpoint, TcpEndpoint},
    metrics::{RuleStats, route_families},
    metrics_profile::ProfileStats,
    mirror::Mirror,
    plan::Plan,
    target::Worker,
};
use crate::{
    balance::{Balancer, Member, Peer, PickError, Picked, random_below},
    control::model::{
        Endpoint, Meta,
        filter::{ConnectionFilter, Filter},
        outbound::{
            Backend, BackendKind, Distribution, FailureAccrual, Hash, Http, HttpPolicy, Load, Opaque, Policy, Protocol,
        },
        route::{Route, RouteIndex},
    },
    http::stats::StreamStats,
    metrics::Counter,
    transport::detect::HttpVersion,
};
use std::{
    borrow::Cow,
    future::{Future, poll_fn},
    net::SocketAddr,
    sync::{Arc, OnceLock},
    task::Poll,
    time::Instant,
};

pub struct Router {
    pub policy: Arc<Policy>,
    // Made on first use: most destinations speak one protocol.
    http1: OnceLock<Option<HttpRoutes>>,
    http2: OnceLock<Option<HttpRoutes>>,
    connections: OnceLock<Vec<ConnectionRules>>,
}

pub struct HttpRoutes {
    pub routes: Arc<[Route<HttpPolicy>]>,
    pub index: RouteIndex,
    /// By route, then by rule.
    pub rules: Vec<Vec<HttpRule>>,
    pub is_profile: bool,
}

pub struct HttpRule {
    pub backends: Choice<HttpBackend>,
    pub stats: RuleStats,
    /// Where the rule is one of a ServiceProfile.
    pub profile: Option<ProfileStats>,
    /// What only some rules ask for.
    pub plan: Option<Box<Plan>>,
}

pub struct HttpBackend {
    /// The same for the same backend in every proxy.
    pub id: u32,
    pub to: To<HttpEndpoint>,
    pub mirrors: Vec<Arc<Mirror>>,
    /// What requests are spread over endpoints by, if not by load.
    pub hash: Option<Arc<Hash>>,
    pub filters: Vec<Filter>,
    pub requests: Counter,
    pub stats: Arc<StreamStats>,
}

pub struct ConnectionRules {
    pub meta: Arc<Meta>,
    pub filters: Vec<ConnectionFilter>,
    pub backends: Choice<ConnectionBackend>,
}

pub struct ConnectionBackend {
    pub to: To<TcpEndpoint>,
    /// Connections from one address go to one endpoint.
    pub goes_by_source: bool,
    pub filters: Vec<ConnectionFilter>,
}

/// Where a backend leads.
pub enum To<P> {
    Balancer(Arc<Balancer<P>>),
    Forward(Arc<Member<P>>),
    /// The backend is of a kind that this proxy does not know.
    Nowhere,
}

/// How a rule chooses among its backends.
pub enum Choice<B> {
    None,
    First(Vec<B>),
    /// With the sum of the weights up to and including each.
    Random(Vec<(B, u64)>),
}

impl Router {
    pub fn new(policy: Arc<Policy>) -> Self {
        Self { policy, http1: OnceLock::new(), http2: OnceLock::new(), connections: OnceLock::new() }
    }

    /// The routes for requests of a version of HTTP. A connection may be older than a policy that names another protocol:
    /// its requests go by that one's routes, whatever they are of.
    pub fn http(&self, worker: &Arc<Worker>, version: HttpVersion) -> Option<&HttpRoutes> {
        let cell = if version == HttpVersion::Http1 { &self.http1 } else { &self.http2 };
        let made = cell.get_or_init(|| {
            let http = match (version, &self.policy.protocol) {
                (HttpVersion::Http1, Protocol::Detect { http1: http, .. })
                | (HttpVersion::Http2, Protocol::Detect { http2: http, .. })
                | (_, Protocol::Http1(http) | Protocol::Http2(http) | Protocol::Grpc(http)) => Cow::Borrowed(http),
                (_, Protocol::Opaque(opaque)) => Cow::Owned(opaque.to_http()),
                (_, Protocol::Tls(_) | Protocol::Invalid(_)) => return None,
            };
            Some(HttpRoutes::new(worker, &self.policy, &http))
        });
        made.as_ref()
    }

    /// The rules for connections, in the order of the policy's routes.
    pub fn connections(&self, worker: &Arc<Worker>) -> &[ConnectionRules] {
        self.connections.get_or_init(|| {
            let parent = &self.policy.parent;
            let (kind, routes) = match &self.policy.protocol {
                Protocol::Detect { opaque: Opaque { routes }, .. } | Protocol::Opaque(Opaque { routes }) => {
                    (BalancerKind::Tcp, routes)
                }
                Protocol::Tls(tls) => (BalancerKind::Tls, &tls.routes),
                Protocol::Http1(_) | Protocol::Http2(_) | Protocol::Grpc(_) | Protocol::Invalid(_) => {
                    return Vec::new();
                }
            };
            let rules = routes.iter().map(|route| ConnectionRules {
                meta: route.meta.clone(),
                filters: route.filters.clone(),
                backends: Choice::new(&route.distribution, |backend| ConnectionBackend {
                    to: To::tcp(worker, kind, parent, &backend.backend),
                    goes_by_source: backend.backend.hash().is_some(),
                    filters: backend.filters.clone(),
                }),
            });
            rules.collect()
        })
    }
}

impl HttpRoutes {
    fn new(worker: &Arc<Worker>, Policy { parent, logical, .. }: &Policy, http: &Http) -> Self {
        let logical = logical.as_ref();
        let rules_of = |route: &Route<HttpPolicy>| {
            let accrual = http.failure_accrual.as_ref();
            let rule = |policy: &HttpPolicy| {
                let mut rule = HttpRule::new(worker, parent, &route.meta, policy, accrual, logical);
                let logical = logical.filter(|_| http.is_profile);
                rule.profile =
                    logical.map(|l| ProfileStats::new(&worker.context.metrics, l, policy.profile.as_deref()));
                rule
            };
            route.rules.iter().map(|r| rule(&r.policy)).collect()
        };
        Self {
            rules: http.routes.iter().map(rules_of).collect(),
            index: RouteIndex::new(&http.routes),
            routes: http.routes.clone(),
            is_profile: http.is_profile,
        }
    }
}

impl HttpRule {
    fn new(
        worker: &Arc<Worker>,
        parent: &Arc<Meta>,
        route: &Arc<Meta>,
        policy: &HttpPolicy,
        accrual: Option<&Arc<FailureAccrual>>,
        logical: Option<&Arc<str>>,
    ) -> Self {
        let registry = &worker.context.metrics;
        let families = route_families(policy.is_grpc);
        let backends = Choice::new(&policy.distribution, |backend| {
            let labels =
                parent.parent_labels().join(&route.route_labels()).join(&backend.backend.meta.backend_labels());
            HttpBackend {
                id: backend_id(&backend.backend),
                mirrors: Mirror::all(worker, parent, route, policy.is_grpc, &backend.mirrors),
                to: To::http(worker, parent, &backend.backend, accrual),
                hash: backend.backend.hash().cloned(),
                filters: backend.filters.clone(),
                requests: registry.counter(families.backend_requests, labels.clone()),
                stats: StreamStats::new(registry, labels, policy.is_grpc, &families.backend_response),
            }
        });
        let stats = RuleStats::new(&worker.context, parent, route, policy.is_grpc);
        let has_mirrors = backends.iter().any(|backend| !backend.mirrors.is_empty());
        let plan = Plan::new(worker, parent, route, policy, logical, has_mirrors);
        Self { backends, stats, profile: None, plan }
    }

    pub fn watches_progress(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.watches_progress())
    }
}

impl HttpBackend {
    /// Whether a request would find an endpoint, as far as is known.
    pub fn can_be_tried(&self) -> bool {
        self.to.is_available()
    }
}

/// FNV-1a over what names a backend.
fn backend_id(backend: &Backend) -> u32 {
    let Meta { group, kind, namespace, name, port, .. } = &*backend.meta;
    let name = format!("{group}/{kind}/{namespace}/{name}:{port}");
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

impl To<HttpEndpoint> {
    fn http(
        worker: &Arc<Worker>,
        parent: &Arc<Meta>,
        backend: &Backend,
        accrual: Option<&Arc<FailureAccrual>>,
    ) -> Self {
        Self::new(
            BackendRef { kind: BalancerKind::Http, parent, backend, accrual },
            |r| worker.http_balancer(r),
            |endpoint| HttpEndpoint::new(&worker.context, endpoint, None),
            worker,
        )
    }
}

impl To<TcpEndpoint> {
    fn tcp(worker: &Arc<Worker>, kind: BalancerKind, parent: &Arc<Meta>, backend: &Backend) -> Self {
        Self::new(
            BackendRef { kind, parent, backend, accrual: None },
            |r| worker.tcp_balancer(r),
            |endpoint| TcpEndpoint::new(&worker.context, endpoint, None),
            worker,
        )
    }
}

impl<P: Peer> To<P> {
    fn new(
        backend: BackendRef<'_>,
        balancer: impl FnOnce(&BackendRef<'_>) -> Arc<Balancer<P>>,
        forward: impl FnOnce(&Arc<Endpoint>) -> P,
        worker: &Worker,
    ) -> Self {
        match &backend.backend.kind {
            BackendKind::Balancer { .. } => Self::Balancer(balancer(&backend)),
            BackendKind::Forward(endpoint) => {
                let settings = worker.context.settings(backend.kind, Load::DEFAULT);
                Self::Forward(Arc::new(Member::alone(endpoint.addr, forward(endpoint), settings)))
            }
            BackendKind::Fail => Self::Nowhere,
        }
    }

    fn is_available(&self) -> bool {
        match self {
            Self::Balancer(balancer) => balancer.is_available(),
            Self::Forward(_) => true,
            Self::Nowhere => false,
        }
    }

    /// The endpoint for a request with this key that came at `since`; `Ok(None)` where there is no backend.
    pub async fn pick(&self, key: Option<u64>, since: Instant) -> Result<Option<Picked<P>>, PickError> {
        match self {
            Self::Balancer(balancer) => balancer.pick(key, since).await.map(Some),
            Self::Forward(member) => Ok(Some(Picked::only(member.clone()))),
            Self::Nowhere => Ok(None),
        }
    }

    /// The endpoint at an address, if it is there and takes requests.
    pub fn find(&self, addr: SocketAddr) -> Option<Picked<P>> {
        match self {
            Self::Balancer(balancer) => balancer.find(addr),
            Self::Forward(member) => (member.addr == addr).then(|| Picked::only(member.clone())),
            Self::Nowhere => None,
        }
    }

    /// Whether it may yet turn out to have endpoints.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Balancer(balancer) if balancer.is_pending())
    }

    /// A ready endpoint at another address.
    pub fn pick_other(&self, than: SocketAddr) -> Option<Picked<P>> {
        match self {
            Self::Balancer(balancer) => balancer.pick_other(than),
            Self::Forward(_) | Self::Nowhere => None,
        }
    }

    pub fn is_balanced(&self) -> bool {
        matches!(self, Self::Balancer(_))
    }
}

/// A backend that a rule can choose.
pub trait Available {
    fn is_available(&self) -> bool;
}

impl Available for HttpBackend {
    fn is_available(&self) -> bool {
        self.to.is_available()
    }
}

impl Available for ConnectionBackend {
    fn is_available(&self) -> bool {
        self.to.is_available()
    }
}

impl Choice<HttpBackend> {
    /// Waits until one of the backends has an endpoint, for as long as requests wait for endpoints.
    pub async fn wait(&self) {
        let mut waits: Vec<_> = self
            .iter()
            .filter_map(|backend| match &backend.to {
                To::Balancer(balancer) => Some(Box::pin(balancer.wait_for_endpoints())),
                To::Forward(_) | To::Nowhere => None,
            })
            .collect();
        poll_fn(|cx| match waits.iter_mut().any(|wait| wait.as_mut().poll(cx).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

impl<B> Choice<B> {
    pub fn is_single(&self) -> bool {
        match self {
            Self::None => true,
            Self::First(list) => list.len() == 1,
            Self::Random(list) => list.len() == 1,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &B> {
        let (first, random): (&[B], &[(B, u64)]) = match self {
            Self::None => (&[], &[]),
            Self::First(list) => (list, &[]),
            Self::Random(list) => (&[], list),
        };
        first.iter().chain(random.iter().map(|(backend, _)| backend))
    }
}

impl<B: Available> Choice<B> {
    fn new<T>(distribution: &Distribution<T>, make: impl Fn(&T) -> B) -> Self {
        match distribution {
            Distribution::Empty => Self::None,
            Distribution::FirstAvailable(list) => Self::First(list.iter().map(make).collect()),
            Distribution::RandomAvailable(list) => {
                let mut sum = 0;
                let weighted = list.iter().filter(|(_, weight)| *weight > 0).map(|(backend, weight)| {
                    sum += u64::from(*weight);
                    (make(backend), sum)
                });
                Self::Random(weighted.collect())
            }
        }
    }

    /// A backend with ready endpoints if there is one; otherwise one whose failfast decides.
    pub fn choose(&self) -> Option<&B> {
        match self {
            Self::None => None,
            // The usual one has no other to give way to.
            Self::First(list) if list.len() == 1 => list.first(),
            Self::First(list) => list.iter().find(|b| b.is_available()).or_else(|| list.first()),
            Self::Random(list) if list.len() == 1 => list.first().map(|(backend, _)| backend),
            Self::Random(list) => {
                let total = list.last()?.1;
                let at = random_below(usize::try_from(total).unwrap_or(usize::MAX)) as u64;
                let chosen = list.iter().position(|(_, sum)| at < *sum)?;
                let around = (0..list.len()).filter_map(|i| list.get((chosen + i) % list.len()));
                around.map(|(b, _)| b).find(|b| b.is_available()).or_else(|| list.get(chosen).map(|(b, _)| b))
            }
        }
    }
}
