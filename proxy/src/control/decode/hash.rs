//! By what keys balancers choose, from the overlay. Applied to a policy that has just been decoded.

use super::Invalid;
use crate::control::{
    model::outbound::{Backend, BackendKind, ConnectionRoute, Distribution, Hash, HashSource, Http, Policy, Protocol},
    overlay,
};
use std::{collections::HashMap, sync::Arc};

/// What a policy that names none, or none that makes sense, gets.
const LOAD_FACTOR: f64 = 1.25;

/// Keys by what balancers are known by: `name:port`.
pub type ByPath = HashMap<Arc<str>, Arc<Hash>>;

pub fn by_path(balancers: &[overlay::Balancer]) -> Result<ByPath, Invalid> {
    let mut by_path = ByPath::new();
    for balancer in balancers {
        if let Some(source) = balancer.hash.as_ref().and_then(|hash| hash.source.as_ref()) {
            let load_factor = if balancer.load_factor >= 1.0 { balancer.load_factor } else { LOAD_FACTOR };
            let hash = Hash { source: self::source(source)?, load_factor };
            by_path.insert(balancer.path.as_str().into(), Arc::new(hash));
        }
    }
    Ok(by_path)
}

pub fn apply(policy: &mut Policy, balancers: &[overlay::Balancer]) -> Result<(), Invalid> {
    let by_path = by_path(balancers)?;
    if by_path.is_empty() {
        return Ok(());
    }
    match &mut policy.protocol {
        Protocol::Detect { http1, http2, opaque, .. } => {
            apply_http(http1, &by_path);
            apply_http(http2, &by_path);
            apply_connections(&mut opaque.routes, &by_path);
        }
        Protocol::Http1(http) | Protocol::Http2(http) | Protocol::Grpc(http) => apply_http(http, &by_path),
        Protocol::Opaque(opaque) => apply_connections(&mut opaque.routes, &by_path),
        Protocol::Tls(tls) => apply_connections(&mut tls.routes, &by_path),
        Protocol::Invalid(_) => {}
    }
    Ok(())
}

fn source(source: &overlay::HashSource) -> Result<HashSource, Invalid> {
    use overlay::HashSource as Wire;
    let named = |what, name: &str| match name {
        "" => Err(Invalid::missing(what)),
        name => Ok(name.into()),
    };
    Ok(match source {
        Wire::Header(name) => HashSource::Header(
            name.parse().map_err(|_| Invalid::bad("header name of a balancer's key", format_args!("{name:?}")))?,
        ),
        Wire::Cookie(name) => HashSource::Cookie(named("cookie of a balancer's key", name)?),
        Wire::QueryParameter(name) => HashSource::Query(named("query parameter of a balancer's key", name)?),
        Wire::SourceAddress(_) => HashSource::SourceAddress,
    })
}

fn apply_http(http: &mut Http, by_path: &ByPath) {
    for rule in in_place(&mut http.routes).flat_map(|route| &mut route.rules) {
        for backend in backends(&mut rule.policy.distribution) {
            set(&mut backend.backend, |path| by_path.get(path));
        }
    }
}

/// Of a connection nothing but its source is known.
fn apply_connections(routes: &mut Arc<[ConnectionRoute]>, by_path: &ByPath) {
    for route in in_place(routes) {
        for backend in backends(&mut route.distribution) {
            set(&mut backend.backend, |path| by_path.get(path).filter(|hash| hash.source == HashSource::SourceAddress));
        }
    }
}

fn set<'a>(backend: &mut Arc<Backend>, find: impl Fn(&str) -> Option<&'a Arc<Hash>>) {
    if let Some(BackendKind::Balancer { path, hash, .. }) = Arc::get_mut(backend).map(|b| &mut b.kind) {
        *hash = find(path).cloned();
    }
}

fn backends<B>(distribution: &mut Distribution<B>) -> Vec<&mut B> {
    match distribution {
        Distribution::Empty => Vec::new(),
        Distribution::FirstAvailable(list) => in_place(list).collect(),
        Distribution::RandomAvailable(list) => in_place(list).map(|(backend, _)| backend).collect(),
    }
}

/// Nobody else holds what has just been decoded, so that all of it can be changed.
fn in_place<T>(list: &mut Arc<[T]>) -> impl Iterator<Item = &mut T> {
    Arc::get_mut(list).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{decode::outbound, testing::balanced};

    fn decoded(source: overlay::HashSource, load_factor: f64) -> Result<Option<Arc<Hash>>, Invalid> {
        let hash = Some(overlay::HashKey { source: Some(source) });
        let balancer = overlay::Balancer { path: "web:80".into(), hash, load_factor };
        let mut policy = outbound::policy(balanced("web", "web:80"))?;
        apply(&mut policy, &[balancer])?;
        let Protocol::Http1(http) = &policy.protocol else { panic!("{policy:?}") };
        let Distribution::FirstAvailable(list) = &http.routes[0].rules[0].policy.distribution else { panic!() };
        let BackendKind::Balancer { hash, .. } = &list[0].backend.kind else { panic!() };
        Ok(hash.clone())
    }

    #[test]
    fn the_balancer_of_the_path_goes_by_the_key() {
        let hash = decoded(overlay::HashSource::Header("X-User".into()), 2.0).unwrap().expect("a hash");
        assert_eq!(*hash, Hash { source: HashSource::Header("x-user".parse().unwrap()), load_factor: 2.0 });
        let hash = decoded(overlay::HashSource::Cookie("id".into()), f64::NAN).unwrap().expect("a hash");
        assert_eq!(*hash, Hash { source: HashSource::Cookie("id".into()), load_factor: LOAD_FACTOR });
    }

    #[test]
    fn a_key_that_cannot_be_says_so() {
        let error = decoded(overlay::HashSource::Header("no header".into()), 1.0).unwrap_err();
        assert_eq!(error.to_string(), "bad header name of a balancer's key: \"no header\"");
        let error = decoded(overlay::HashSource::QueryParameter(String::new()), 1.0).unwrap_err();
        assert_eq!(error.to_string(), "query parameter of a balancer's key is missing");
    }
}
