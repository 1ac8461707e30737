//! What is counted about the routes of a ServiceProfile: requests as the application sees them, and the attempts that
//! these took.

use crate::{
    control::model::profile::ProfileRoute,
    http::stats::{RequestFamilies, RequestStats},
    metrics::{Family, LATENCY_MS, Labels, Registry},
};
use std::sync::Arc;

static REQUESTS: Family = Family::counter("route_request_total", "Total count of HTTP requests.");
static RESPONSES: Family = Family::counter("route_response_total", "Total count of HTTP responses.");
static LATENCY: Family = Family::histogram(
    "route_response_latency_ms",
    "Elapsed times between a request's headers being received and its response stream beginning.",
    LATENCY_MS,
);
static ACTUAL_REQUESTS: Family =
    Family::counter("route_actual_request_total", "Total count of HTTP requests, retries included.");
static ACTUAL_RESPONSES: Family =
    Family::counter("route_actual_response_total", "Total count of HTTP responses, retried ones included.");
static ACTUAL_LATENCY: Family = Family::histogram(
    "route_actual_response_latency_ms",
    "Elapsed times between an attempt's headers being sent and its response stream beginning.",
    LATENCY_MS,
);

static EFFECTIVE: RequestFamilies = RequestFamilies { requests: &REQUESTS, responses: &RESPONSES, latency: &LATENCY };
static ACTUAL: RequestFamilies =
    RequestFamilies { requests: &ACTUAL_REQUESTS, responses: &ACTUAL_RESPONSES, latency: &ACTUAL_LATENCY };

pub struct ProfileStats {
    pub effective: Arc<RequestStats>,
    pub actual: Arc<RequestStats>,
}

impl ProfileStats {
    /// Of one route of the profile of `logical`; of its requests that no route matches when there is none.
    pub fn new(registry: &Registry, logical: &str, route: Option<&ProfileRoute>) -> Self {
        let labels = labels("outbound", logical, route);
        let stats = |families| RequestStats::of(registry, families, labels.clone());
        Self { effective: stats(&EFFECTIVE), actual: stats(&ACTUAL) }
    }
}

/// The same of the requests that come in, which are sent once.
pub fn route_stats(
    registry: &Registry,
    direction: &str,
    logical: &str,
    route: Option<&ProfileRoute>,
) -> Arc<RequestStats> {
    RequestStats::of(registry, &EFFECTIVE, labels(direction, logical, route))
}

fn labels(direction: &str, logical: &str, route: Option<&ProfileRoute>) -> Labels {
    let labels = Labels::new().with("direction", direction).with("dst", logical);
    route.map_or(labels.clone(), |route| labels.join(&route.labels))
}
