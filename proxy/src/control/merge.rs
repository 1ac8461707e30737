//! How profile and policy become one: the policy says where to go, the profile wins where it has routes or a split, and
//! where there is neither, traffic goes where it was going.

use super::decode::profile::{Profile, Target};
use super::discovery::Destination;
use super::model::Meta;
use super::model::endpoint::Endpoint;
use super::model::outbound::*;
use super::model::route::{RequestMatch, Route, Rule};
use std::sync::Arc;
use std::time::Duration;

const DETECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the policy service said.
#[derive(Clone, Debug)]
pub enum Answer {
    Policy(Policy),
    /// It knows no policy for this destination.
    Absent,
    /// It said something that cannot be obeyed.
    Invalid(Arc<str>),
}

pub fn merge(destination: &Destination, profile: &Profile, answer: &Answer, queue: Queue) -> Policy {
    let mut policy = match answer {
        Answer::Policy(policy) => policy.clone(),
        Answer::Absent => fallback(destination, profile, queue),
        Answer::Invalid(why) => Policy {
            parent: Arc::new(Meta::default_named("invalid")),
            protocol: Protocol::Invalid(why.clone()),
            logical: None,
        },
    };
    let logical: Option<Arc<str>> = profile.name.as_ref().map(|name| format!("{name}:{}", port(destination)).into());
    if profile.is_opaque {
        policy.protocol = Protocol::Opaque(match policy.protocol {
            Protocol::Opaque(opaque) | Protocol::Detect { opaque, .. } => opaque,
            _ => opaque_to(&default_backend(destination, profile, logical.as_ref(), queue)),
        });
    }
    if let Some(logical) = &logical {
        apply_profile(&mut policy, profile, logical, queue);
    }
    policy.logical = logical;
    policy
}

fn apply_profile(policy: &mut Policy, profile: &Profile, logical: &Arc<str>, queue: Queue) {
    let parent = policy.parent.clone();
    let own = profile.endpoint.clone().map_or_else(|| balancer(logical.clone()), BackendKind::Forward);
    let own = Arc::new(Backend { meta: parent.clone(), kind: own, queue });
    if !profile.routes.is_empty() || !profile.targets.is_empty() {
        let http = profile_routes(profile, &parent, &own, queue);
        match &mut policy.protocol {
            Protocol::Detect { http1, http2, .. } => {
                http1.take(&http);
                http2.take(&http);
            }
            Protocol::Http1(h) | Protocol::Http2(h) | Protocol::Grpc(h) => h.take(&http),
            Protocol::Opaque(_) | Protocol::Tls(_) | Protocol::Invalid(_) => {}
        }
    }
    if !profile.targets.is_empty()
        && let Protocol::Detect { opaque, .. } | Protocol::Opaque(opaque) = &mut policy.protocol
    {
        let backend = |backend| ConnectionBackend { backend, filters: Vec::new() };
        let meta = Arc::new(Meta::default_named("profile"));
        let distribution = split(profile, &parent, queue, backend);
        *opaque =
            Opaque { routes: [ConnectionRoute { meta, snis: Vec::new(), filters: Vec::new(), distribution }].into() };
    }
}

impl Http {
    fn take(&mut self, routes: &Arc<[Route<HttpPolicy>]>) {
        self.routes = routes.clone();
        self.is_profile = true;
    }
}

/// The profile's routes in their order, then one for everything else. They share one host, so precedence is by order alone.
fn profile_routes(profile: &Profile, parent: &Arc<Meta>, own: &Arc<Backend>, queue: Queue) -> Arc<[Route<HttpPolicy>]> {
    let backend = |backend| HttpBackend { backend, filters: Vec::new() };
    let distribution = if profile.targets.is_empty() {
        Distribution::FirstAvailable([backend(own.clone())].into())
    } else {
        split(profile, parent, queue, backend)
    };
    let plain = HttpPolicy {
        filters: Vec::new(),
        distribution,
        timeouts: Timeouts::default(),
        retry: None,
        allow_l5d_request_headers: false,
        is_grpc: false,
        profile: None,
    };
    let meta = Arc::new(Meta::default_named("profile"));
    let route =
        |matches, policy| Route { meta: meta.clone(), hosts: Vec::new(), rules: vec![Rule { matches, policy }] };
    let routes = profile.routes.iter().map(|r| {
        let budget = profile.budget.clone().filter(|_| r.is_retryable);
        let policy = HttpPolicy {
            timeouts: Timeouts { response: r.timeout, ..Timeouts::default() },
            retry: budget.map(Retry::Profile),
            profile: Some(r.route.clone()),
            ..plain.clone()
        };
        route(vec![RequestMatch { condition: Some(r.condition.clone()), ..RequestMatch::default() }], policy)
    });
    let mut routes: Vec<_> = routes.collect();
    routes.push(route(Vec::new(), plain.clone()));
    routes.into()
}

fn split<B>(profile: &Profile, parent: &Arc<Meta>, queue: Queue, wrap: impl Fn(Arc<Backend>) -> B) -> Distribution<B> {
    let one = |t: &Target| {
        let meta = t.backend.clone().unwrap_or_else(|| parent.clone());
        (wrap(Arc::new(Backend { meta, kind: balancer(t.authority.clone()), queue })), t.weight)
    };
    Distribution::RandomAvailable(profile.targets.iter().map(one).collect())
}

fn balancer(path: Arc<str>) -> BackendKind {
    BackendKind::Balancer { path, load: Load::DEFAULT }
}

/// Without a policy, traffic goes to the pod that the profile names, or to where it was going.
fn fallback(destination: &Destination, profile: &Profile, queue: Queue) -> Policy {
    let name = if profile.endpoint.is_some() { "endpoint" } else { "fallback" };
    let meta = Arc::new(Meta::default_named(name));
    let logical = profile.name.as_ref().map(|name| format!("{name}:{}", port(destination)).into());
    let backend = Arc::new(default_backend(destination, profile, logical.as_ref(), queue).with_meta(meta.clone()));
    let http_backend = HttpBackend { backend: backend.clone(), filters: Vec::new() };
    let policy = HttpPolicy {
        filters: Vec::new(),
        distribution: Distribution::FirstAvailable([http_backend].into()),
        timeouts: Timeouts::default(),
        retry: None,
        allow_l5d_request_headers: false,
        is_grpc: false,
        profile: None,
    };
    let route = Route { meta: meta.clone(), hosts: Vec::new(), rules: vec![Rule { matches: Vec::new(), policy }] };
    let http = Http { routes: [route].into(), failure_accrual: None, is_profile: false };
    Policy {
        parent: meta,
        protocol: Protocol::Detect {
            timeout: DETECT_TIMEOUT,
            http1: http.clone(),
            http2: http,
            opaque: opaque_to(&backend),
        },
        logical: None,
    }
}

fn default_backend(destination: &Destination, profile: &Profile, logical: Option<&Arc<str>>, queue: Queue) -> Backend {
    let kind = match (&profile.endpoint, destination, logical) {
        (Some(endpoint), _, _) => BackendKind::Forward(endpoint.clone()),
        (None, Destination::Addr(addr), _) => BackendKind::Forward(Arc::new(Endpoint::unknown(*addr))),
        (None, Destination::Name(_), Some(logical)) => balancer(logical.clone()),
        (None, Destination::Name(name), None) => balancer(name.clone()),
    };
    Backend { meta: Arc::new(Meta::default_named("fallback")), kind, queue }
}

fn opaque_to(backend: &Backend) -> Opaque {
    let meta = backend.meta.clone();
    let backend = ConnectionBackend { backend: Arc::new(backend.clone()), filters: Vec::new() };
    let distribution = Distribution::FirstAvailable([backend].into());
    Opaque { routes: [ConnectionRoute { meta, snis: Vec::new(), filters: Vec::new(), distribution }].into() }
}

impl Backend {
    fn with_meta(mut self, meta: Arc<Meta>) -> Self {
        self.meta = meta;
        self
    }
}

fn port(destination: &Destination) -> u16 {
    match destination {
        Destination::Addr(addr) => addr.port(),
        Destination::Name(name) => name.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80),
    }
}
