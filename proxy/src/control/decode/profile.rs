//! ServiceProfiles.

use super::hash::{self, ByPath};
use super::{Invalid, duration, endpoint, meta, route};
use crate::control::model::Meta;
use crate::control::model::endpoint::Endpoint;
use crate::control::model::profile::*;
use crate::control::model::route::Condition;
use crate::control::overlay;
use crate::metrics::Labels;
use http::Method;
use linkerd2_proxy_api::destination as wire;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// A ServiceProfile, or what the control plane says in its stead of an address.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The fully qualified name, without a port.
    pub name: Option<Arc<str>>,
    pub is_opaque: bool,
    pub routes: Vec<ProfiledRoute>,
    pub budget: Option<Arc<RetryBudget>>,
    /// The traffic split.
    pub targets: Vec<Target>,
    /// By what the balancers of its own name and of its targets choose.
    pub hashes: ByPath,
    /// The original destination is this pod.
    pub endpoint: Option<Arc<Endpoint>>,
}

#[derive(Clone, Debug)]
pub struct ProfiledRoute {
    pub condition: Condition,
    pub route: Arc<ProfileRoute>,
    pub is_retryable: bool,
    pub timeout: Option<Duration>,
}

#[derive(Clone, Debug)]
pub struct Target {
    pub authority: Arc<str>,
    pub weight: u32,
    pub backend: Option<Arc<Meta>>,
}

/// What cannot be understood is left out, as the contract says: a profile never fails traffic.
pub fn profile(wire: wire::DestinationProfile, ours: &overlay::DestinationProfile) -> Profile {
    let name = wire.fully_qualified_name;
    let endpoint = wire.endpoint.and_then(|e| endpoint(e, &HashMap::new()).ok()).map(Arc::new);
    let targets = wire.dst_overrides.into_iter().filter(|t| t.weight > 0).map(|t| Target {
        authority: t.authority.trim_end_matches('.').into(),
        weight: t.weight,
        backend: t.backend_ref.and_then(|m| meta(Some(m)).ok()).map(Arc::new),
    });
    Profile {
        name: (!name.is_empty()).then(|| name.trim_end_matches('.').into()),
        is_opaque: wire.opaque_protocol,
        routes: wire.routes.into_iter().filter_map(|r| profiled(r).map_err(warn).ok()).collect(),
        budget: wire.retry_budget.and_then(|b| budget(b).map_err(warn).ok()).map(Arc::new),
        targets: targets.collect(),
        hashes: hash::by_path(&ours.balancers).map_err(warn).unwrap_or_default(),
        endpoint,
    }
}

fn warn(error: Invalid) {
    log::warn!(target: "destination", "ignored a part of a profile: {error}");
}

fn profiled(wire: wire::Route) -> Result<ProfiledRoute, Invalid> {
    let labels: BTreeMap<_, _> = wire.metrics_labels.into_iter().collect();
    let labels = labels.iter().fold(Labels::new(), |all, (name, value)| all.with_foreign("rt_", name, value));
    let class = |c: wire::ResponseClass| {
        let condition = response(c.condition.ok_or_else(|| Invalid::missing("response condition"))?, 0)?;
        Ok(ResponseClass { condition, is_failure: c.is_failure })
    };
    let response_classes = wire.response_classes.into_iter().filter_map(|c| class(c).map_err(warn).ok()).collect();
    Ok(ProfiledRoute {
        condition: request(wire.condition.ok_or_else(|| Invalid::missing("request condition"))?, 0)?,
        route: Arc::new(ProfileRoute { labels, response_classes }),
        is_retryable: wire.is_retryable,
        timeout: wire.timeout.and_then(|t| duration("timeout", t).map_err(warn).ok()),
    })
}

/// Conditions nest; deeper ones than anyone writes are refused, because they are walked by recursion.
const DEPTH_MAX: usize = 32;

fn request(wire: wire::RequestMatch, depth: usize) -> Result<Condition, Invalid> {
    use wire::request_match::Match;
    if depth > DEPTH_MAX {
        return Err(Invalid::bad("request condition", "nested too deep"));
    }
    let list = |seq: wire::request_match::Seq| {
        seq.matches.into_iter().map(|m| request(m, depth + 1)).collect::<Result<_, _>>()
    };
    match wire.r#match.ok_or_else(|| Invalid::missing("request condition"))? {
        Match::All(seq) => list(seq).map(Condition::All),
        Match::Any(seq) => list(seq).map(Condition::Any),
        Match::Not(inner) => request(*inner, depth + 1).map(|c| Condition::Not(Box::new(c))),
        Match::Path(path) => route::regex(path.regex.trim()).map(Condition::Path),
        Match::Method(method) => Method::try_from(method).map(Condition::Method).map_err(|e| Invalid::bad("method", e)),
    }
}

fn response(wire: wire::ResponseMatch, depth: usize) -> Result<ResponseCondition, Invalid> {
    use wire::response_match::Match;
    if depth > DEPTH_MAX {
        return Err(Invalid::bad("response condition", "nested too deep"));
    }
    let list = |seq: wire::response_match::Seq| match seq.matches.is_empty() {
        true => Err(Invalid::missing("condition of a list")),
        false => seq.matches.into_iter().map(|m| response(m, depth + 1)).collect::<Result<_, _>>(),
    };
    match wire.r#match.ok_or_else(|| Invalid::missing("response condition"))? {
        Match::All(seq) => list(seq).map(ResponseCondition::All),
        Match::Any(seq) => list(seq).map(ResponseCondition::Any),
        Match::Not(inner) => response(*inner, depth + 1).map(|c| ResponseCondition::Not(Box::new(c))),
        Match::Status(range) => {
            // One open end is allowed.
            let min = if range.min == 0 { 100 } else { range.min };
            let max = if range.max == 0 { 599 } else { range.max };
            match (u16::try_from(min), u16::try_from(max)) {
                (Ok(min), Ok(max)) if min <= max => Ok(ResponseCondition::Status(min..=max)),
                _ => Err(Invalid::bad("status range", format_args!("{min}-{max}"))),
            }
        }
    }
}

fn budget(wire: wire::RetryBudget) -> Result<RetryBudget, Invalid> {
    let ttl = duration("retry budget's time", wire.ttl.ok_or_else(|| Invalid::missing("retry budget's time"))?)?;
    if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&ttl) {
        return Err(Invalid::bad("retry budget's time", format_args!("{ttl:?}")));
    }
    if !(0.0..=1000.0).contains(&wire.retry_ratio) {
        return Err(Invalid::bad("retry ratio", wire.retry_ratio));
    }
    Ok(RetryBudget { ratio: wire.retry_ratio, min_per_second: wire.min_retries_per_second, ttl })
}
