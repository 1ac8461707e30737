//! What is counted about retries and copies of requests.

use crate::{
    control::model::{Meta, profile::ProfileRoute},
    metrics::{Counter, Family, Labels, Registry},
};

static HTTP_RETRIES: Family =
    Family::counter("outbound_http_route_retry_requests_total", "Retry requests emitted, without first attempts.");
static GRPC_RETRIES: Family =
    Family::counter("outbound_grpc_route_retry_requests_total", "Retry requests emitted, without first attempts.");
static HTTP_SUCCESSES: Family =
    Family::counter("outbound_http_route_retry_successes_total", "Retries whose response needed no other.");
static GRPC_SUCCESSES: Family =
    Family::counter("outbound_grpc_route_retry_successes_total", "Retries whose response needed no other.");
static HTTP_OVERFLOW: Family =
    Family::counter("outbound_http_route_retry_overflow_total", "Retries not sent because no backend was ready.");
static GRPC_OVERFLOW: Family =
    Family::counter("outbound_grpc_route_retry_overflow_total", "Retries not sent because no backend was ready.");
static HTTP_LIMIT: Family =
    Family::counter("outbound_http_route_retry_limit_exceeded_total", "Retries not sent because of the limit.");
static GRPC_LIMIT: Family =
    Family::counter("outbound_grpc_route_retry_limit_exceeded_total", "Retries not sent because of the limit.");
static PROFILE_RETRYABLE: Family =
    Family::counter("route_retryable_total", "Responses of a ServiceProfile's route that could have been retried.");
static PROFILE_SKIPPED: Family =
    Family::counter("route_actual_retry_skipped_total", "Retries of a ServiceProfile's route that were not sent.");
static HTTP_MIRRORS: Family =
    Family::counter("outbound_http_route_mirrors_total", "Copies of requests, by what became of them.");
static GRPC_MIRRORS: Family =
    Family::counter("outbound_grpc_route_mirrors_total", "Copies of requests, by what became of them.");

/// `outbound_*_route_retry_*`.
pub struct RetryStats {
    pub requests: Counter,
    pub successes: Counter,
    pub overflow: Counter,
    pub limit_exceeded: Counter,
}

impl RetryStats {
    pub fn new(registry: &Registry, parent: &Meta, route: &Meta, is_grpc: bool) -> Self {
        let labels = parent.parent_labels().join(&route.route_labels());
        let counter = |http, grpc| registry.counter(if is_grpc { grpc } else { http }, labels.clone());
        Self {
            requests: counter(&HTTP_RETRIES, &GRPC_RETRIES),
            successes: counter(&HTTP_SUCCESSES, &GRPC_SUCCESSES),
            overflow: counter(&HTTP_OVERFLOW, &GRPC_OVERFLOW),
            limit_exceeded: counter(&HTTP_LIMIT, &GRPC_LIMIT),
        }
    }
}

/// Retries of a ServiceProfile's route for which the budget had nothing.
pub fn profile_skipped(registry: &Registry, logical: &str, route: Option<&ProfileRoute>) -> [Counter; 2] {
    let labels = Labels::new().with("direction", "outbound").with("dst", logical);
    let labels = route.map_or(labels.clone(), |route| labels.join(&route.labels));
    // Dashboards know it by either name.
    let labels = labels.with("skipped", "no_budget");
    [&PROFILE_RETRYABLE, &PROFILE_SKIPPED].map(|family| registry.counter(family, labels.clone()))
}

/// `outbound_*_route_mirrors_total` by `result`.
pub struct MirrorStats {
    pub answered: Counter,
    pub failed: Counter,
    /// Too many copies were under way.
    pub overflow: Counter,
    /// The request was too long to be kept, or broke off.
    pub incomplete: Counter,
}

impl MirrorStats {
    pub fn new(registry: &Registry, parent: &Meta, route: &Meta, backend: &Meta, is_grpc: bool) -> Self {
        let family = if is_grpc { &GRPC_MIRRORS } else { &HTTP_MIRRORS };
        let labels = parent.parent_labels().join(&route.route_labels()).join(&backend.backend_labels());
        let counter = |result| registry.counter(family, labels.clone().with("result", result));
        Self {
            answered: counter("answered"),
            failed: counter("failed"),
            overflow: counter("overflow"),
            incomplete: counter("incomplete"),
        }
    }
}
