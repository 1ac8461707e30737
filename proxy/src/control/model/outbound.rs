//! Where traffic to one destination goes, and how: the outbound policy and the ServiceProfile merged into one model.

use super::endpoint::Endpoint;
use super::filter::{ConnectionFilter, Filter, Ratio};
use super::meta::Meta;
use super::profile::{ProfileRoute, RetryBudget};
use super::route::{HostMatch, Route, Rule};
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Policy {
    pub parent: Arc<Meta>,
    pub protocol: Protocol,
    /// The ServiceProfile's `name:port`, when there is one; sent as `l5d-dst-canonical` where its routes are in force.
    pub logical: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
pub enum Protocol {
    Detect {
        timeout: Duration,
        http1: Http,
        http2: Http,
        opaque: Opaque,
    },
    Http1(Http),
    Http2(Http),
    Grpc(Http),
    Opaque(Opaque),
    Tls(Tls),
    /// The control plane sent something that cannot be obeyed: every request fails with 500, every connection is closed.
    Invalid(Arc<str>),
}

#[derive(Clone, Debug)]
pub struct Http {
    pub routes: Arc<[Route<HttpPolicy>]>,
    pub failure_accrual: Option<Arc<FailureAccrual>>,
    /// The routes are a ServiceProfile's.
    pub is_profile: bool,
}

/// How the requests of one route rule are handled.
#[derive(Clone, Debug)]
pub struct HttpPolicy {
    pub filters: Vec<Filter>,
    pub distribution: Distribution<HttpBackend>,
    pub timeouts: Timeouts,
    pub retry: Option<Retry>,
    pub allow_l5d_request_headers: bool,
    /// The rule is one of a GRPCRoute.
    pub is_grpc: bool,
    /// The rule is one of a ServiceProfile.
    pub profile: Option<Arc<ProfileRoute>>,
    pub mirrors: Vec<Mirror>,
    pub session: Option<Arc<SessionPersistence>>,
}

/// A service that gets a copy of requests; its responses are thrown away.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    pub meta: Arc<Meta>,
    /// `name:port`, as of a balancer.
    pub path: Arc<str>,
    /// The share of requests that is copied.
    pub ratio: Ratio,
}

/// Requests of a session go to the endpoint that answered its first.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionPersistence {
    pub kind: SessionKind,
    /// After the session's beginning.
    pub absolute_timeout: Option<Duration>,
    /// After its last request.
    pub idle_timeout: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SessionKind {
    /// A permanent cookie is sent with Max-Age.
    Cookie {
        name: Box<str>,
        is_permanent: bool,
    },
    Header(http::HeaderName),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From the end of the request to the end of the response.
    pub response: Option<Duration>,
    /// The whole stream.
    pub request: Option<Duration>,
    /// Without progress in either direction.
    pub idle: Option<Duration>,
    /// From the beginning of the request, whatever its attempts, to the response's headers: a ServiceProfile's.
    pub profile: Option<Duration>,
}

#[derive(Clone, Debug)]
pub enum Retry {
    Policy(PolicyRetry),
    Profile(Arc<RetryBudget>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct PolicyRetry {
    pub max_retries: u32,
    pub max_request_bytes: usize,
    /// Until the response's headers, for each attempt.
    pub timeout: Option<Duration>,
    pub backoff: Option<Backoff>,
    pub http_statuses: Vec<std::ops::RangeInclusive<u16>>,
    /// gRPC codes: 1, 4, 8, 13, 14 are possible.
    pub grpc_codes: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    pub min: Duration,
    pub max: Duration,
    pub jitter: f32,
    pub respect_retry_after: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FailureAccrual {
    pub kind: AccrualKind,
    /// Breakers leave at least this many endpoints in.
    pub min_ready_endpoints: u32,
}

impl FailureAccrual {
    /// Whether any failures at all take an endpoint out.
    pub fn can_eject(&self) -> bool {
        match self.kind {
            AccrualKind::Consecutive { max_failures, .. } => max_failures > 0,
            AccrualKind::Unified { success_rate_threshold, max_consecutive_failures, .. } => {
                max_consecutive_failures > 0 || success_rate_threshold > 0.0
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum AccrualKind {
    Consecutive {
        max_failures: u32,
        backoff: Backoff,
    },
    Unified {
        success_rate_threshold: f64,
        window: Duration,
        min_requests: u32,
        max_consecutive_failures: u32,
        backoff: Backoff,
    },
}

#[derive(Clone, Debug)]
pub enum Distribution<B> {
    /// No backend: requests fail.
    Empty,
    FirstAvailable(Arc<[B]>),
    /// Weights beside their backends; a weight of 0 is never chosen.
    RandomAvailable(Arc<[(B, u32)]>),
}

#[derive(Clone, Debug)]
pub struct HttpBackend {
    pub backend: Arc<Backend>,
    pub filters: Vec<Filter>,
    pub mirrors: Vec<Mirror>,
}

#[derive(Clone, Debug)]
pub struct ConnectionBackend {
    pub backend: Arc<Backend>,
    pub filters: Vec<ConnectionFilter>,
}

#[derive(Clone, Debug)]
pub struct Backend {
    pub meta: Arc<Meta>,
    pub kind: BackendKind,
    pub queue: Queue,
}

#[derive(Clone, Debug)]
pub enum BackendKind {
    Forward(Arc<Endpoint>),
    /// `path` is what `Control::endpoints` takes: `name:port`.
    Balancer {
        path: Arc<str>,
        load: Load,
        /// Requests with the same key go to the same endpoint.
        hash: Option<Arc<Hash>>,
    },
    /// A kind that this proxy does not know: requests fail with 502.
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    pub default_rtt: Duration,
    pub decay: Duration,
    pub penalty: Option<Penalty>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Penalty {
    pub penalty: Duration,
    pub max_retry_after: Duration,
    pub decay: Duration,
}

/// How a balancer goes by what requests say.
#[derive(Clone, Debug, PartialEq)]
pub struct Hash {
    pub source: HashSource,
    /// No endpoint takes more than this many times the mean of the requests in flight.
    pub load_factor: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum HashSource {
    Header(http::HeaderName),
    Cookie(Box<str>),
    Query(Box<str>),
    /// The address of the application's client.
    SourceAddress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    pub capacity: usize,
    pub failfast_timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct Opaque {
    /// The first route's first rule takes every connection.
    pub routes: Arc<[ConnectionRoute]>,
}

#[derive(Clone, Debug)]
pub struct Tls {
    pub routes: Arc<[ConnectionRoute]>,
}

#[derive(Clone, Debug)]
pub struct ConnectionRoute {
    pub meta: Arc<Meta>,
    /// TLS server names; empty: any.
    pub snis: Vec<HostMatch>,
    pub filters: Vec<ConnectionFilter>,
    pub distribution: Distribution<ConnectionBackend>,
}

impl Opaque {
    /// Routes that send requests where the connections of this go, and refuse what it refuses.
    pub fn to_http(&self) -> Http {
        let filters = |filters: &[ConnectionFilter]| filters.iter().map(ConnectionFilter::to_http).collect::<Vec<_>>();
        let backend = |backend: &ConnectionBackend| HttpBackend {
            filters: filters(&backend.filters),
            ..HttpBackend::plain(backend.backend.clone())
        };
        let route = |route: &ConnectionRoute| {
            let distribution = match &route.distribution {
                Distribution::Empty => Distribution::Empty,
                Distribution::FirstAvailable(list) => Distribution::FirstAvailable(list.iter().map(backend).collect()),
                Distribution::RandomAvailable(list) => {
                    Distribution::RandomAvailable(list.iter().map(|(b, weight)| (backend(b), *weight)).collect())
                }
            };
            let policy = HttpPolicy { filters: filters(&route.filters), ..HttpPolicy::to(distribution) };
            Route { meta: route.meta.clone(), hosts: Vec::new(), rules: vec![Rule { matches: Vec::new(), policy }] }
        };
        Http { routes: self.routes.iter().take(1).map(route).collect(), failure_accrual: None, is_profile: false }
    }
}

impl ConnectionFilter {
    fn to_http(&self) -> Filter {
        let (status, message) = match self {
            Self::Forbidden => (http::StatusCode::FORBIDDEN, "traffic not allowed".into()),
            Self::Invalid(message) => (http::StatusCode::INTERNAL_SERVER_ERROR, message.clone()),
        };
        Filter::InjectHttpFailure { status, message, ratio: Ratio { numerator: 1, denominator: 1 } }
    }
}

impl Backend {
    pub fn hash(&self) -> Option<&Arc<Hash>> {
        match &self.kind {
            BackendKind::Balancer { hash, .. } => hash.as_ref(),
            BackendKind::Forward(_) | BackendKind::Fail => None,
        }
    }
}

impl HttpPolicy {
    /// Sends requests on as they are.
    pub fn to(distribution: Distribution<HttpBackend>) -> Self {
        Self {
            filters: Vec::new(),
            distribution,
            timeouts: Timeouts::default(),
            retry: None,
            allow_l5d_request_headers: false,
            is_grpc: false,
            profile: None,
            mirrors: Vec::new(),
            session: None,
        }
    }
}

impl HttpBackend {
    pub fn plain(backend: Arc<Backend>) -> Self {
        Self { backend, filters: Vec::new(), mirrors: Vec::new() }
    }
}

impl Load {
    pub const DEFAULT: Load =
        Load { default_rtt: Duration::from_millis(30), decay: Duration::from_secs(10), penalty: None };
}

impl Backoff {
    /// The wait before attempt `n` (from 0): doubles from `min` to `max`, with up to `jitter` of itself added.
    pub fn delay(&self, n: u32) -> Duration {
        let base = self.min.saturating_mul(1u32.checked_shl(n).unwrap_or(u32::MAX)).min(self.max);
        let jittered = base.as_secs_f64() * f64::from(1.0 + self.jitter.max(0.0) * crate::control::random_unit());
        Duration::try_from_secs_f64(jittered).map_or(self.max, |delay| delay.min(self.max))
    }
}
