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
        policy.protocol = match policy.protocol {
            Protocol::Opaque(opaque) | Protocol::Detect { opaque, .. } => Protocol::Opaque(opaque),
            // What cannot be obeyed lets nothing through, in whatever form.
            invalid @ Protocol::Invalid(_) => invalid,
            Protocol::Http1(_) | Protocol::Http2(_) | Protocol::Grpc(_) | Protocol::Tls(_) => {
                Protocol::Opaque(opaque_to(&default_backend(destination, profile, logical.as_ref(), queue)))
            }
        };
    }
    if let Some(logical) = &logical {
        apply_profile(&mut policy, profile, logical, queue, port(destination));
    }
    policy.logical = logical;
    policy
}

fn apply_profile(policy: &mut Policy, profile: &Profile, logical: &Arc<str>, queue: Queue, port: u16) {
    let parent = policy.parent.clone();
    let own = profile.endpoint.clone().map_or_else(|| balancer(profile, logical.clone()), BackendKind::Forward);
    let own = Arc::new(Backend { meta: parent.clone(), kind: own, queue });
    if !profile.routes.is_empty() || !profile.targets.is_empty() {
        let http = profile_routes(profile, &parent, &own, queue, port);
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
        let distribution = split(profile, &parent, queue, port, backend);
        *opaque =
            Opaque { routes: [ConnectionRoute { meta, snis: Vec::new(), filters: Vec::new(), distribution }].into() };
    }
}

impl Http {
    fn take(&mut self, routes: &Arc<[Route<HttpPolicy>]>) {
        self.routes = routes.clone();
        self.is_profile = true;
        // The policy's retries and timeouts went with its routes; its breakers go too.
        self.failure_accrual = None;
    }
}

/// The profile's routes in their order, then one for everything else. They share one host, so precedence is by order alone.
fn profile_routes(
    profile: &Profile,
    parent: &Arc<Meta>,
    own: &Arc<Backend>,
    queue: Queue,
    port: u16,
) -> Arc<[Route<HttpPolicy>]> {
    let distribution = if profile.targets.is_empty() {
        Distribution::FirstAvailable([HttpBackend::plain(own.clone())].into())
    } else {
        split(profile, parent, queue, port, HttpBackend::plain)
    };
    let plain = HttpPolicy::to(distribution);
    let meta = Arc::new(Meta::default_named("profile"));
    let route =
        |matches, policy| Route { meta: meta.clone(), hosts: Vec::new(), rules: vec![Rule { matches, policy }] };
    let routes = profile.routes.iter().map(|r| {
        let budget = profile.budget.clone().filter(|_| r.is_retryable);
        let policy = HttpPolicy {
            timeouts: Timeouts { profile: r.timeout, ..Timeouts::default() },
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

fn split<B>(
    profile: &Profile,
    parent: &Arc<Meta>,
    queue: Queue,
    port: u16,
    wrap: impl Fn(Arc<Backend>) -> B,
) -> Distribution<B> {
    let one = |t: &Target| {
        let meta = t.backend.clone().unwrap_or_else(|| parent.clone());
        (wrap(Arc::new(Backend { meta, kind: balancer(profile, with_port(&t.authority, port)), queue })), t.weight)
    };
    Distribution::RandomAvailable(profile.targets.iter().map(one).collect())
}

/// A target's `name:port`; where it names no port, the one that the client asked for.
fn with_port(authority: &str, port: u16) -> Arc<str> {
    match authority.rsplit_once(':') {
        Some((name, port)) => format!("{}:{port}", name.trim_end_matches('.')).into(),
        None => format!("{authority}:{port}").into(),
    }
}

fn balancer(profile: &Profile, path: Arc<str>) -> BackendKind {
    let hash = profile.hashes.get(&path).cloned();
    BackendKind::Balancer { path, load: Load::DEFAULT, hash }
}

/// Without a policy, traffic goes to the pod that the profile names, or to where it was going.
fn fallback(destination: &Destination, profile: &Profile, queue: Queue) -> Policy {
    let name = if profile.endpoint.is_some() { "endpoint" } else { "fallback" };
    let meta = Arc::new(Meta::default_named(name));
    let logical = profile.name.as_ref().map(|name| format!("{name}:{}", port(destination)).into());
    let backend = Arc::new(default_backend(destination, profile, logical.as_ref(), queue).with_meta(meta.clone()));
    let policy = HttpPolicy::to(Distribution::FirstAvailable([HttpBackend::plain(backend.clone())].into()));
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
        (None, _, Some(logical)) => balancer(profile, logical.clone()),
        (None, Destination::Addr(addr), None) => BackendKind::Forward(Arc::new(Endpoint::unknown(*addr))),
        (None, Destination::Name(name), None) => balancer(profile, name.clone()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::decode::profile;
    use crate::control::model::profile::RetryBudget;
    use linkerd2_proxy_api::destination as wire;

    const QUEUE: Queue = Queue { capacity: 10, failfast_timeout: Duration::from_secs(3) };
    const NAME: &str = "web.ns.svc.cluster.local";

    fn to() -> Destination {
        Destination::Addr(([10, 0, 0, 1], 80).into())
    }

    fn of_profile(wire: wire::DestinationProfile) -> Policy {
        merge(&to(), &profile::profile(wire, &Default::default()), &Answer::Absent, QUEUE)
    }

    fn named() -> wire::DestinationProfile {
        wire::DestinationProfile { fully_qualified_name: NAME.into(), ..Default::default() }
    }

    fn get_route(is_retryable: bool) -> wire::Route {
        let method = linkerd2_proxy_api::http_types::HttpMethod::from(http::Method::GET);
        wire::Route {
            condition: Some(wire::RequestMatch { r#match: Some(wire::request_match::Match::Method(method)) }),
            metrics_labels: [("route".to_owned(), "GET /".to_owned())].into(),
            is_retryable,
            ..Default::default()
        }
    }

    fn http(policy: &Policy) -> &Http {
        match &policy.protocol {
            Protocol::Detect { http1, .. } => http1,
            other => panic!("not detected: {other:?}"),
        }
    }

    fn opaque(policy: &Policy) -> &Opaque {
        match &policy.protocol {
            Protocol::Detect { opaque, .. } | Protocol::Opaque(opaque) => opaque,
            other => panic!("not opaque: {other:?}"),
        }
    }

    #[test]
    fn a_profile_without_routes_changes_nothing_but_the_name() {
        let policy = of_profile(named());
        assert!(!http(&policy).is_profile);
        assert_eq!(policy.logical.as_deref(), Some("web.ns.svc.cluster.local:80"));
    }

    #[test]
    fn a_profiles_routes_go_to_its_name_and_the_rest_too() {
        let budget = wire::RetryBudget {
            retry_ratio: 0.2,
            min_retries_per_second: 10,
            ttl: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
        };
        let routes = vec![get_route(true), get_route(false)];
        let policy = of_profile(wire::DestinationProfile { routes, retry_budget: Some(budget), ..named() });
        let http = http(&policy);
        assert!(http.is_profile && http.routes.len() == 3);
        let [first, second, rest] = [0, 1, 2].map(|n| &http.routes[n].rules[0].policy);
        let expected = RetryBudget { ratio: 0.2, min_per_second: 10, ttl: Duration::from_secs(10) };
        assert!(matches!(&first.retry, Some(Retry::Profile(b)) if **b == expected));
        assert!(second.retry.is_none() && rest.profile.is_none());
        let labels = first.profile.as_ref().map(|p| p.labels.as_str().to_owned());
        assert_eq!(labels.as_deref(), Some(r#"rt_route="GET /""#));
        let Distribution::FirstAvailable(backends) = &rest.distribution else { panic!("{:?}", rest.distribution) };
        assert!(
            matches!(&backends[0].backend.kind, BackendKind::Balancer { path, .. } if **path == *format!("{NAME}:80"))
        );
    }

    #[test]
    fn a_split_holds_for_http_and_for_bytes() {
        let target = |name: &str, weight| wire::WeightedDst { authority: name.into(), weight, ..Default::default() };
        let dst_overrides = vec![target("a.ns:80", 1), target("b.ns:80.", 3), target("c.ns:80", 0)];
        let policy = of_profile(wire::DestinationProfile { dst_overrides, ..named() });
        let Distribution::RandomAvailable(backends) = &http(&policy).routes[0].rules[0].policy.distribution else {
            panic!("not split")
        };
        assert_eq!(backends.iter().map(|(_, weight)| *weight).collect::<Vec<_>>(), [1, 3]);
        assert!(matches!(&opaque(&policy).routes[0].distribution, Distribution::RandomAvailable(b) if b.len() == 2));
    }

    #[test]
    fn targets_get_the_port_that_was_asked_for_unless_they_have_one() {
        assert_eq!(&*with_port("a.ns", 80), "a.ns:80");
        assert_eq!(&*with_port("a.ns.:81", 80), "a.ns:81");
    }

    #[test]
    fn a_profile_opens_nothing_that_an_invalid_policy_has_shut() {
        let profile = wire::DestinationProfile {
            opaque_protocol: true,
            routes: vec![get_route(false)],
            dst_overrides: vec![wire::WeightedDst { authority: "a.ns:80".into(), weight: 1, ..Default::default() }],
            ..named()
        };
        let policy = merge(&to(), &profile::profile(profile, &Default::default()), &Answer::Invalid("x".into()), QUEUE);
        assert!(matches!(policy.protocol, Protocol::Invalid(_)));
    }

    #[test]
    fn without_a_policy_a_named_service_is_balanced() {
        let policy = of_profile(named());
        let Distribution::FirstAvailable(backends) = &opaque(&policy).routes[0].distribution else { panic!("empty") };
        let is_own =
            |kind: &BackendKind| matches!(kind, BackendKind::Balancer { path, .. } if **path == *format!("{NAME}:80"));
        assert!(is_own(&backends[0].backend.kind), "{backends:?}");
    }

    #[test]
    fn an_opaque_profile_makes_the_port_opaque() {
        let policy = of_profile(wire::DestinationProfile { opaque_protocol: true, ..named() });
        assert!(matches!(policy.protocol, Protocol::Opaque(_)));
    }

    #[test]
    fn a_pods_profile_leads_to_the_pod() {
        let addr = std::net::SocketAddr::from(([10, 0, 0, 9], 8080));
        let endpoint = wire::WeightedAddr { addr: Some(addr.into()), ..Default::default() };
        let policy = of_profile(wire::DestinationProfile { endpoint: Some(endpoint), ..Default::default() });
        assert_eq!(&*policy.parent.name, "endpoint");
        let Distribution::FirstAvailable(backends) = &opaque(&policy).routes[0].distribution else { panic!("empty") };
        assert!(matches!(&backends[0].backend.kind, BackendKind::Forward(e) if e.addr == addr));
    }
}
