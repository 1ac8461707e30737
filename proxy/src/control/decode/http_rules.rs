//! What rules do beyond the proxy API, from the overlay. Applied to a policy that has just been decoded; what does not
//! fit that policy makes it invalid, because a rule must not do less than was asked for.

use super::{Invalid, each, filter};
use crate::control::{
    model::{
        Meta,
        filter::{Filter, PathRewrite, Ratio, Rewrite},
        outbound::{
            Distribution, Http, HttpBackend, HttpPolicy, Mirror, Policy, Protocol, SessionKind, SessionPersistence,
        },
    },
    overlay as wire,
};
use linkerd2_proxy_api::http_route::ResponseHeaderModifier;
use std::{sync::Arc, time::Duration};

pub fn apply(policy: &mut Policy, rules: &[wire::HttpRule]) -> Result<(), Invalid> {
    if rules.is_empty() {
        return Ok(());
    }
    match &mut policy.protocol {
        Protocol::Detect { http1, http2, .. } => {
            apply_http(http1, rules)?;
            apply_http(http2, rules)
        }
        Protocol::Http1(http) | Protocol::Http2(http) | Protocol::Grpc(http) => apply_http(http, rules),
        Protocol::Opaque(_) | Protocol::Tls(_) | Protocol::Invalid(_) => Ok(()),
    }
}

fn apply_http(http: &mut Http, rules: &[wire::HttpRule]) -> Result<(), Invalid> {
    for wire in rules {
        let place = format!("routes[{}].rules[{}]", wire.route, wire.rule);
        // Nobody else holds what has just been decoded, so that all of it can be changed in place.
        let route = Arc::get_mut(&mut http.routes).and_then(|routes| routes.get_mut(wire.route as usize));
        let rule = route.and_then(|route| route.rules.get_mut(wire.rule as usize));
        let policy = rule.map(|rule| &mut rule.policy).ok_or_else(|| Invalid::missing(&place))?;
        apply_rule(policy, wire).map_err(|error| error.within(&place))?;
    }
    Ok(())
}

fn apply_rule(policy: &mut HttpPolicy, wire: &wire::HttpRule) -> Result<(), Invalid> {
    extend_filters(&mut policy.filters, wire.has_refusal, wire.url_rewrite.as_ref())?;
    policy.filters.extend(each::<_, _, Vec<_>>("response_headers", &wire.response_headers, response_headers)?);
    policy.mirrors = each("mirrors", &wire.mirrors, mirror)?;
    policy.session = wire.session_persistence.as_ref().map(session).transpose()?.map(Arc::new);
    for wire in &wire.backends {
        let place = format!("backends[{}]", wire.backend);
        let at = wire.backend as usize;
        let backend: Option<&mut HttpBackend> = match &mut policy.distribution {
            Distribution::Empty => None,
            Distribution::FirstAvailable(list) => Arc::get_mut(list).and_then(|list| list.get_mut(at)),
            Distribution::RandomAvailable(list) => {
                Arc::get_mut(list).and_then(|list| list.get_mut(at)).map(|(backend, _)| backend)
            }
        };
        let backend = backend.ok_or_else(|| Invalid::missing(&place))?;
        extend_filters(&mut backend.filters, wire.has_refusal, wire.url_rewrite.as_ref())
            .map_err(|error| error.within(&place))?;
        let headers: Result<Vec<_>, _> = each("response_headers", &wire.response_headers, response_headers);
        backend.filters.extend(headers.map_err(|error| error.within(&place))?);
        backend.mirrors = each("mirrors", &wire.mirrors, mirror).map_err(|error| error.within(&place))?;
    }
    Ok(())
}

/// Takes out the filter that is there for proxies that do not understand the rest.
fn extend_filters(
    filters: &mut Vec<Filter>,
    has_refusal: bool,
    url_rewrite: Option<&wire::UrlRewrite>,
) -> Result<(), Invalid> {
    if has_refusal {
        match filters.first() {
            Some(Filter::InjectHttpFailure { .. } | Filter::InjectGrpcFailure { .. }) => drop(filters.remove(0)),
            _ => return Err(Invalid::missing("the refusal before other filters")),
        }
    }
    if let Some(wire) = url_rewrite {
        filters.push(Filter::Rewrite(rewrite(wire)?));
    }
    Ok(())
}

fn response_headers(wire: &ResponseHeaderModifier) -> Result<Filter, Invalid> {
    filter::response_headers(wire.clone())
}

fn rewrite(wire: &wire::UrlRewrite) -> Result<Rewrite, Invalid> {
    let host = match wire.host.as_str() {
        "" => None,
        host => Some(host.parse().map_err(|_| Invalid::bad("host to write", format_args!("{host:?}")))?),
    };
    let path = match &wire.path {
        None => None,
        Some(wire::PathRewrite::Full(path)) => Some(PathRewrite::Full(filter::rewrite(path.clone())?)),
        Some(wire::PathRewrite::Prefix(path)) if path.is_empty() => Some(PathRewrite::Prefix("".into())),
        Some(wire::PathRewrite::Prefix(path)) => Some(PathRewrite::Prefix(filter::rewrite(path.clone())?)),
    };
    Ok(Rewrite { host, path })
}

fn mirror(wire: &wire::Mirror) -> Result<Mirror, Invalid> {
    if wire.authority.is_empty() {
        return Err(Invalid::missing("authority"));
    }
    let ratio = match (wire.numerator, wire.denominator) {
        (_, 0) => Ratio { numerator: 1, denominator: 1 },
        (numerator, denominator) => Ratio { numerator, denominator },
    };
    let meta = Meta {
        group: wire.group.as_str().into(),
        kind: wire.kind.as_str().into(),
        namespace: wire.namespace.as_str().into(),
        name: wire.name.as_str().into(),
        section: "".into(),
        port: u16::try_from(wire.port).map_err(|_| Invalid::bad("port", wire.port))?,
    };
    Ok(Mirror { meta: Arc::new(meta), path: wire.authority.as_str().into(), ratio })
}

fn session(wire: &wire::SessionPersistence) -> Result<SessionPersistence, Invalid> {
    let bad_name = || Invalid::bad("session name", format_args!("{:?}", wire.name));
    let header = wire.name.parse().map_err(|_| bad_name())?;
    let kind = match wire::SessionKind::try_from(wire.kind) {
        // Cookies are named with the same characters as headers.
        Ok(wire::SessionKind::Cookie) => {
            SessionKind::Cookie { name: wire.name.as_str().into(), is_permanent: wire.is_permanent }
        }
        Ok(wire::SessionKind::Header) => SessionKind::Header(header),
        Err(_) => return Err(Invalid::bad("session kind", wire.kind)),
    };
    let timeout = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
    Ok(SessionPersistence {
        kind,
        absolute_timeout: timeout(wire.absolute_timeout_ms),
        idle_timeout: timeout(wire.idle_timeout_ms),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{decode::outbound, testing::balanced};
    use linkerd2_proxy_api::{http_route, outbound as api};

    /// The policy of one rule, whose first filter is a refusal and whose second one changes nothing.
    fn decoded(rule: wire::HttpRule) -> Result<HttpPolicy, Invalid> {
        use api::http_route::{Filter, filter::Kind};
        let mut message = balanced("web", "web:80");
        if let Some(api::proxy_protocol::Kind::Http1(http)) = message.protocol.as_mut().and_then(|p| p.kind.as_mut()) {
            let refusal = http_route::HttpFailureInjector { status: 500, ..Default::default() };
            http.routes[0].rules[0].filters =
                [Kind::FailureInjector(refusal), Kind::RequestHeaderModifier(Default::default())]
                    .map(|kind| Filter { kind: Some(kind) })
                    .into();
        }
        let mut policy = outbound::policy(message)?;
        apply(&mut policy, &[rule])?;
        let Protocol::Http1(http) = &policy.protocol else { panic!("{policy:?}") };
        Ok(http.routes[0].rules[0].policy.clone())
    }

    #[test]
    fn a_refusal_gives_way_to_what_it_stands_for() {
        let path = Some(wire::PathRewrite::Prefix("/new".into()));
        let url_rewrite = Some(wire::UrlRewrite { host: "other".into(), path });
        let policy = decoded(wire::HttpRule { has_refusal: true, url_rewrite, ..Default::default() }).unwrap();
        let rewrite = Rewrite { host: Some("other".parse().unwrap()), path: Some(PathRewrite::Prefix("/new".into())) };
        assert!(matches!(&policy.filters[..], [Filter::RequestHeaders(_), last] if *last == Filter::Rewrite(rewrite)));
        let untouched = decoded(wire::HttpRule::default()).unwrap();
        assert!(matches!(&untouched.filters[..], [Filter::InjectHttpFailure { .. }, _]));
    }

    #[test]
    fn response_headers_are_changed_last() {
        let modifier = ResponseHeaderModifier { remove: vec!["server".into()], ..Default::default() };
        let backends = vec![wire::HttpBackend { response_headers: vec![modifier.clone()], ..Default::default() }];
        let policy =
            decoded(wire::HttpRule { response_headers: vec![modifier], backends, ..Default::default() }).unwrap();
        assert!(matches!(&policy.filters[..], [.., Filter::ResponseHeaders(_)]));
        let Distribution::FirstAvailable(backends) = &policy.distribution else { panic!() };
        assert!(matches!(&backends[0].filters[..], [Filter::ResponseHeaders(_)]));
    }

    #[test]
    fn mirrors_and_sessions_are_understood() {
        let mirror = wire::Mirror { authority: "copy:80".into(), name: "copy".into(), port: 80, ..Default::default() };
        let half = wire::Mirror { numerator: 1, denominator: 2, ..mirror.clone() };
        let session = wire::SessionPersistence { name: "id".into(), idle_timeout_ms: 1_500, ..Default::default() };
        let policy = decoded(wire::HttpRule {
            mirrors: vec![mirror],
            session_persistence: Some(session),
            backends: vec![wire::HttpBackend { mirrors: vec![half], ..Default::default() }],
            ..Default::default()
        });
        let policy = policy.unwrap();
        assert_eq!(policy.mirrors[0].ratio, Ratio { numerator: 1, denominator: 1 });
        let Distribution::FirstAvailable(backends) = &policy.distribution else { panic!() };
        assert_eq!(backends[0].mirrors[0].ratio, Ratio { numerator: 1, denominator: 2 });
        let expected = SessionPersistence {
            kind: SessionKind::Cookie { name: "id".into(), is_permanent: false },
            absolute_timeout: None,
            idle_timeout: Some(Duration::from_millis(1_500)),
        };
        assert_eq!(policy.session.as_deref(), Some(&expected));
    }

    #[test]
    fn what_does_not_fit_makes_the_policy_invalid() {
        let error = |rule| decoded(rule).unwrap_err().to_string();
        assert_eq!(error(wire::HttpRule { rule: 1, ..Default::default() }), "routes[0].rules[1] is missing");
        let backends = vec![wire::HttpBackend { has_refusal: true, ..Default::default() }];
        assert_eq!(
            error(wire::HttpRule { backends, ..Default::default() }),
            "routes[0].rules[0].backends[0]: the refusal before other filters is missing"
        );
        let url_rewrite = Some(wire::UrlRewrite { host: "a b".into(), path: None });
        assert_eq!(
            error(wire::HttpRule { url_rewrite, ..Default::default() }),
            "routes[0].rules[0]: bad host to write: \"a b\""
        );
    }
}
