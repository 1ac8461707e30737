//! Outbound policies. Strict as the contract is: one bad part makes the whole policy invalid.

use super::{Invalid, duration, each, endpoint, filter, meta, optional_duration, required_duration, route};
use crate::control::model::filter::{ConnectionFilter, Filter};
use crate::control::model::outbound::*;
use crate::control::model::route::{Route, Rule};
use linkerd2_proxy_api::{http_route, outbound as wire};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const DETECT_TIMEOUT: Duration = Duration::from_secs(10);
const PENALTY: Duration = Duration::from_secs(5);
const PENALTY_DECAY: Duration = Duration::from_secs(10);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
const UNIFIED_WINDOW: Duration = Duration::from_secs(10);
const UNIFIED_WINDOW_MIN: Duration = Duration::from_millis(10);
const UNIFIED_REQUESTS_MAX: u32 = 1_000_000;
/// A retried request is kept in memory; a policy that says nothing keeps this much of it.
const RETRY_BYTES: usize = 64 * 1024;

pub fn policy(wire: wire::OutboundPolicy) -> Result<Policy, Invalid> {
    use wire::proxy_protocol::Kind;
    let parent = Arc::new(meta(wire.metadata)?);
    let kind = wire.protocol.and_then(|p| p.kind).ok_or_else(|| Invalid::missing("protocol"))?;
    let protocol = match kind {
        Kind::Detect(d) => {
            let http1 = d.http1.ok_or_else(|| Invalid::missing("HTTP/1 of detection"))?;
            let http2 = d.http2.ok_or_else(|| Invalid::missing("HTTP/2 of detection"))?;
            let opaque = d.opaque.ok_or_else(|| Invalid::missing("opaque of detection"))?;
            Protocol::Detect {
                timeout: d.timeout.map_or(Ok(DETECT_TIMEOUT), |t| duration("detection timeout", t))?,
                http1: http(http1.routes, http1.failure_accrual).map_err(|e| e.within("HTTP/1"))?,
                http2: http(http2.routes, http2.failure_accrual).map_err(|e| e.within("HTTP/2"))?,
                opaque: self::opaque(opaque).map_err(|e| e.within("opaque"))?,
            }
        }
        Kind::Http1(h) => Protocol::Http1(http(h.routes, h.failure_accrual)?),
        Kind::Http2(h) => Protocol::Http2(http(h.routes, h.failure_accrual)?),
        Kind::Grpc(g) => Protocol::Grpc(grpc(g.routes, g.failure_accrual)?),
        Kind::Opaque(o) => Protocol::Opaque(opaque(o)?),
        Kind::Tls(t) => Protocol::Tls(tls(t)?),
    };
    Ok(Policy { parent, protocol, logical: None })
}

fn http(routes: Vec<wire::HttpRoute>, accrual: Option<wire::FailureAccrual>) -> Result<Http, Invalid> {
    let one = |r: wire::HttpRoute| {
        let hosts = each("hosts", r.hosts, route::host)?;
        let rules = each("rules", r.rules, http_rule)?;
        Ok(Route { meta: Arc::new(meta(r.metadata)?), hosts, rules })
    };
    Ok(Http {
        routes: each::<_, _, Vec<_>>("routes", routes, one)?.into(),
        failure_accrual: accrual.map(failure_accrual).transpose()?.flatten().map(Arc::new),
        is_profile: false,
    })
}

fn http_rule(rule: wire::http_route::Rule) -> Result<Rule<HttpPolicy>, Invalid> {
    #[allow(deprecated, reason = "older control planes send nothing else")]
    let before_timeouts = rule.request_timeout;
    use wire::http_route::distribution::Kind;
    let backend = |b: wire::http_route::RouteBackend| {
        let filters = each("filters", b.filters, |f| http_filter(f.kind))?;
        Ok::<_, Invalid>(HttpBackend { filters, ..HttpBackend::plain(required_backend(b.backend)?) })
    };
    let distribution = match rule.backends.and_then(|d| d.kind) {
        None => return Err(Invalid::missing("distribution")),
        Some(Kind::Empty(_)) => Distribution::Empty,
        Some(Kind::FirstAvailable(f)) => first(f.backends, backend)?,
        Some(Kind::RandomAvailable(r)) => random(r.backends.into_iter().map(|w| (w.backend, w.weight)), backend)?,
    };
    let retry = rule.retry.map(http_retry).transpose()?;
    Ok(Rule {
        matches: each("matches", rule.matches, route::http_match)?,
        policy: HttpPolicy {
            filters: each("filters", rule.filters, |f| http_filter(f.kind))?,
            timeouts: timeouts(rule.timeouts, before_timeouts)?,
            retry: retry.map(Retry::Policy),
            allow_l5d_request_headers: rule.allow_l5d_request_headers,
            ..HttpPolicy::to(distribution)
        },
    })
}

fn grpc(routes: Vec<wire::GrpcRoute>, accrual: Option<wire::FailureAccrual>) -> Result<Http, Invalid> {
    let one = |r: wire::GrpcRoute| {
        let hosts = each("hosts", r.hosts, route::host)?;
        let rules = each("rules", r.rules, grpc_rule)?;
        Ok(Route { meta: Arc::new(meta(r.metadata)?), hosts, rules })
    };
    Ok(Http {
        routes: each::<_, _, Vec<_>>("routes", routes, one)?.into(),
        failure_accrual: accrual.map(failure_accrual).transpose()?.flatten().map(Arc::new),
        is_profile: false,
    })
}

fn grpc_rule(rule: wire::grpc_route::Rule) -> Result<Rule<HttpPolicy>, Invalid> {
    #[allow(deprecated, reason = "older control planes send nothing else")]
    let before_timeouts = rule.request_timeout;
    use wire::grpc_route::distribution::Kind;
    let backend = |b: wire::grpc_route::RouteBackend| {
        let filters = each("filters", b.filters, |f| grpc_filter(f.kind))?;
        Ok::<_, Invalid>(HttpBackend { filters, ..HttpBackend::plain(required_backend(b.backend)?) })
    };
    let distribution = match rule.backends.and_then(|d| d.kind) {
        None => return Err(Invalid::missing("distribution")),
        Some(Kind::Empty(_)) => Distribution::Empty,
        Some(Kind::FirstAvailable(f)) => first(f.backends, backend)?,
        Some(Kind::RandomAvailable(r)) => random(r.backends.into_iter().map(|w| (w.backend, w.weight)), backend)?,
    };
    let retry = rule.retry.map(grpc_retry).transpose()?;
    Ok(Rule {
        matches: each("matches", rule.matches, route::grpc_match)?,
        policy: HttpPolicy {
            filters: each("filters", rule.filters, |f| grpc_filter(f.kind))?,
            timeouts: timeouts(rule.timeouts, before_timeouts)?,
            retry: retry.map(Retry::Policy),
            allow_l5d_request_headers: rule.allow_l5d_request_headers,
            is_grpc: true,
            ..HttpPolicy::to(distribution)
        },
    })
}

fn opaque(wire: wire::proxy_protocol::Opaque) -> Result<Opaque, Invalid> {
    use wire::opaque_route::distribution::Kind;
    let backend = |b: wire::opaque_route::RouteBackend| {
        let filters = b.filters.into_iter().map(|f| opaque_filter(f.kind)).collect();
        Ok::<_, Invalid>(ConnectionBackend { backend: required_backend(b.backend)?, filters })
    };
    let one = |mut r: wire::OpaqueRoute| {
        let rule = single(&mut r.rules)?;
        let distribution = match rule.backends.and_then(|d| d.kind) {
            None => return Err(Invalid::missing("distribution")),
            Some(Kind::Empty(_)) => Distribution::Empty,
            Some(Kind::FirstAvailable(f)) => first(f.backends, backend)?,
            Some(Kind::RandomAvailable(r)) => random(r.backends.into_iter().map(|w| (w.backend, w.weight)), backend)?,
        };
        let filters = rule.filters.into_iter().map(|f| opaque_filter(f.kind)).collect();
        Ok(ConnectionRoute { meta: Arc::new(meta(r.metadata)?), snis: Vec::new(), filters, distribution })
    };
    Ok(Opaque { routes: each::<_, _, Vec<_>>("routes", wire.routes, one)?.into() })
}

fn tls(wire: wire::proxy_protocol::Tls) -> Result<Tls, Invalid> {
    use wire::tls_route::distribution::Kind;
    let backend = |b: wire::tls_route::RouteBackend| {
        let filters = b.filters.into_iter().map(|f| tls_filter(f.kind)).collect();
        Ok::<_, Invalid>(ConnectionBackend { backend: required_backend(b.backend)?, filters })
    };
    let one = |mut r: wire::TlsRoute| {
        let rule = single(&mut r.rules)?;
        let distribution = match rule.backends.and_then(|d| d.kind) {
            None => return Err(Invalid::missing("distribution")),
            Some(Kind::Empty(_)) => Distribution::Empty,
            Some(Kind::FirstAvailable(f)) => first(f.backends, backend)?,
            Some(Kind::RandomAvailable(r)) => random(r.backends.into_iter().map(|w| (w.backend, w.weight)), backend)?,
        };
        let filters = rule.filters.into_iter().map(|f| tls_filter(f.kind)).collect();
        let snis = each("snis", r.snis, route::sni)?;
        Ok(ConnectionRoute { meta: Arc::new(meta(r.metadata)?), snis, filters, distribution })
    };
    Ok(Tls { routes: each::<_, _, Vec<_>>("routes", wire.routes, one)?.into() })
}

/// Layer-4 routes have one rule, because nothing tells rules apart.
fn single<R>(rules: &mut Vec<R>) -> Result<R, Invalid> {
    if rules.len() == 1 {
        Ok(rules.remove(0))
    } else {
        Err(Invalid::bad("route", format_args!("{} rules", rules.len())))
    }
}

fn first<W, B>(backends: Vec<W>, one: impl Fn(W) -> Result<B, Invalid>) -> Result<Distribution<B>, Invalid> {
    Ok(match each::<_, _, Vec<B>>("backends", backends, one)? {
        empty if empty.is_empty() => Distribution::Empty,
        backends => Distribution::FirstAvailable(backends.into()),
    })
}

fn random<W, B>(
    backends: impl Iterator<Item = (Option<W>, u32)>,
    one: impl Fn(W) -> Result<B, Invalid>,
) -> Result<Distribution<B>, Invalid> {
    let weighted = |(backend, weight): (Option<W>, u32)| {
        Ok((one(backend.ok_or_else(|| Invalid::missing("weighted backend"))?)?, weight))
    };
    let backends = each::<_, _, Vec<_>>("backends", backends, weighted)?;
    Ok(if backends.iter().all(|(_, weight)| *weight == 0) {
        Distribution::Empty
    } else {
        Distribution::RandomAvailable(backends.into())
    })
}

fn required_backend(wire: Option<wire::Backend>) -> Result<Arc<Backend>, Invalid> {
    backend(wire.ok_or_else(|| Invalid::missing("backend"))?).map(Arc::new)
}

fn backend(wire: wire::Backend) -> Result<Backend, Invalid> {
    use wire::backend::Kind;
    let queue = wire.queue.ok_or_else(|| Invalid::missing("queue"))?;
    let kind = match wire.kind {
        None => BackendKind::Fail,
        Some(Kind::Forward(addr)) => BackendKind::Forward(Arc::new(endpoint(addr, &HashMap::new())?)),
        Some(Kind::Balancer(balancer)) => {
            use wire::backend::endpoint_discovery::Kind as Discovery;
            match balancer.discovery.and_then(|d| d.kind) {
                Some(Discovery::Dst(dst)) => {
                    BackendKind::Balancer { path: dst.path.into(), load: load(balancer.load)?, hash: None }
                }
                None => return Err(Invalid::missing("endpoint discovery")),
            }
        }
    };
    Ok(Backend {
        meta: Arc::new(meta(wire.metadata)?),
        kind,
        queue: Queue {
            capacity: queue.capacity as usize,
            failfast_timeout: required_duration("failfast timeout", queue.failfast_timeout)?,
        },
    })
}

fn load(wire: Option<wire::backend::balance_p2c::Load>) -> Result<Load, Invalid> {
    use wire::backend::balance_p2c::Load as Wire;
    match wire {
        None => Err(Invalid::missing("load")),
        Some(Wire::PeakEwma(ewma)) => Ok(Load {
            default_rtt: required_duration("default RTT", ewma.default_rtt)?,
            decay: required_duration("decay", ewma.decay)?,
            penalty: None,
        }),
        Some(Wire::PenaltyPeakEwma(ewma)) => {
            let or = |what, wire, default| optional_duration(what, wire).map(|d| d.unwrap_or(default));
            Ok(Load {
                default_rtt: or("default RTT", ewma.default_rtt, Load::DEFAULT.default_rtt)?,
                decay: or("decay", ewma.decay, Load::DEFAULT.decay)?,
                penalty: Some(Penalty {
                    penalty: or("penalty", ewma.penalty, PENALTY)?,
                    max_retry_after: or("maximum of Retry-After", ewma.max_retry_after, RETRY_AFTER_MAX)?,
                    decay: or("decay of the penalty", ewma.penalty_decay, PENALTY_DECAY)?,
                }),
            })
        }
    }
}

/// `request` is what the protocol had before it had timeouts of several kinds.
fn timeouts(wire: Option<http_route::Timeouts>, request: Option<prost_types::Duration>) -> Result<Timeouts, Invalid> {
    let wire = wire.unwrap_or_default();
    Ok(Timeouts {
        response: optional_duration("response timeout", wire.response)?,
        request: optional_duration("request timeout", wire.request.or(request))?,
        idle: optional_duration("idle timeout", wire.idle)?,
        profile: None,
    })
}

fn http_retry(wire: wire::http_route::Retry) -> Result<PolicyRetry, Invalid> {
    let conditions = wire.conditions.ok_or_else(|| Invalid::missing("retry conditions"))?;
    let range =
        |r: wire::http_route::retry::conditions::StatusRange| match (u16::try_from(r.start), u16::try_from(r.end)) {
            (Ok(first @ 1..), Ok(last @ ..=599)) if first <= last => Ok(first..=last),
            _ => Err(Invalid::bad("retry statuses", format_args!("{}-{}", r.start, r.end))),
        };
    Ok(PolicyRetry {
        max_retries: max_retries(wire.max_retries)?,
        max_request_bytes: request_bytes(wire.max_request_bytes),
        timeout: optional_duration("retry timeout", wire.timeout)?,
        backoff: wire.backoff.map(backoff).transpose()?,
        http_statuses: conditions.status_ranges.into_iter().map(range).collect::<Result<_, Invalid>>()?,
        grpc_codes: Vec::new(),
    })
}

fn grpc_retry(wire: wire::grpc_route::Retry) -> Result<PolicyRetry, Invalid> {
    let c = wire.conditions.ok_or_else(|| Invalid::missing("retry conditions"))?;
    let codes =
        [(1, c.cancelled), (4, c.deadine_exceeded), (8, c.resource_exhausted), (13, c.internal), (14, c.unavailable)];
    Ok(PolicyRetry {
        max_retries: max_retries(wire.max_retries)?,
        max_request_bytes: request_bytes(wire.max_request_bytes),
        timeout: optional_duration("retry timeout", wire.timeout)?,
        backoff: wire.backoff.map(backoff).transpose()?,
        http_statuses: Vec::new(),
        grpc_codes: codes.iter().filter(|(_, is_set)| *is_set).map(|(code, _)| *code).collect(),
    })
}

/// More than anyone means is a mistake; what is meant is cut to what the proxy does.
fn max_retries(wire: u32) -> Result<u32, Invalid> {
    u16::try_from(wire).map(u32::from).map_err(|_| Invalid::bad("number of retries", wire))
}

fn request_bytes(wire: u32) -> usize {
    if wire == 0 { RETRY_BYTES } else { wire as usize }
}

/// `None` where all policies are switched off by zeros.
fn failure_accrual(wire: wire::FailureAccrual) -> Result<Option<FailureAccrual>, Invalid> {
    use wire::failure_accrual::Kind;
    let kind = match wire.kind {
        None => return Err(Invalid::missing("failure accrual kind")),
        Some(Kind::ConsecutiveFailures(c)) if c.max_failures == 0 => return Ok(None),
        Some(Kind::ConsecutiveFailures(c)) => {
            AccrualKind::Consecutive { max_failures: c.max_failures, backoff: required_backoff(c.backoff)? }
        }
        Some(Kind::Unified(u)) => {
            let window = optional_duration("success rate window", u.decay)?.unwrap_or(UNIFIED_WINDOW);
            if !(0.0..=1.0).contains(&u.success_rate_threshold) {
                return Err(Invalid::bad("success rate threshold", u.success_rate_threshold));
            }
            // Without a threshold there is nothing to look at a window for.
            if window < UNIFIED_WINDOW_MIN && u.success_rate_threshold > 0.0 {
                return Err(Invalid::bad("success rate window", "below 10 ms"));
            }
            if u.min_requests > UNIFIED_REQUESTS_MAX {
                return Err(Invalid::bad("minimum of requests", u.min_requests));
            }
            AccrualKind::Unified {
                success_rate_threshold: u.success_rate_threshold,
                window: window.max(UNIFIED_WINDOW_MIN),
                min_requests: u.min_requests,
                max_consecutive_failures: u.max_consecutive_failures,
                backoff: required_backoff(u.backoff)?,
            }
        }
    };
    Ok(Some(FailureAccrual { kind, min_ready_endpoints: wire.ejection.map_or(0, |e| e.min_ready_endpoints) }))
}

fn required_backoff(wire: Option<wire::ExponentialBackoff>) -> Result<Backoff, Invalid> {
    backoff(wire.ok_or_else(|| Invalid::missing("backoff"))?)
}

fn backoff(wire: wire::ExponentialBackoff) -> Result<Backoff, Invalid> {
    let min = required_duration("minimum of the backoff", wire.min_backoff)?;
    let max = required_duration("maximum of the backoff", wire.max_backoff)?;
    if max.is_zero() || min > max {
        return Err(Invalid::bad("backoff", format_args!("{min:?} to {max:?}")));
    }
    if !(0.0..=100.0).contains(&wire.jitter_ratio) {
        return Err(Invalid::bad("backoff jitter", wire.jitter_ratio));
    }
    Ok(Backoff { min, max, jitter: wire.jitter_ratio, respect_retry_after: wire.respect_retry_after_hint })
}

fn http_filter(kind: Option<wire::http_route::filter::Kind>) -> Result<Filter, Invalid> {
    use wire::http_route::filter::Kind;
    match kind {
        Some(Kind::FailureInjector(f)) => filter::http_failure(f),
        Some(Kind::RequestHeaderModifier(m)) => filter::request_headers(m),
        Some(Kind::Redirect(r)) => filter::redirect(r),
        Some(Kind::ResponseHeaderModifier(m)) => filter::response_headers(m),
        None => Ok(Filter::Unknown),
    }
}

fn grpc_filter(kind: Option<wire::grpc_route::filter::Kind>) -> Result<Filter, Invalid> {
    use wire::grpc_route::filter::Kind;
    match kind {
        Some(Kind::FailureInjector(f)) => filter::grpc_failure(f),
        Some(Kind::RequestHeaderModifier(m)) => filter::request_headers(m),
        None => Ok(Filter::Unknown),
    }
}

fn opaque_filter(kind: Option<wire::opaque_route::filter::Kind>) -> ConnectionFilter {
    use wire::opaque_route::filter::Kind;
    match kind {
        Some(Kind::Forbidden(_)) => ConnectionFilter::Forbidden,
        Some(Kind::Invalid(i)) => ConnectionFilter::Invalid(i.message.into()),
        None => ConnectionFilter::Invalid("unknown filter".into()),
    }
}

fn tls_filter(kind: Option<wire::tls_route::filter::Kind>) -> ConnectionFilter {
    use wire::tls_route::filter::Kind;
    match kind {
        Some(Kind::Forbidden(_)) => ConnectionFilter::Forbidden,
        Some(Kind::Invalid(i)) => ConnectionFilter::Invalid(i.message.into()),
        None => ConnectionFilter::Invalid("unknown filter".into()),
    }
}
