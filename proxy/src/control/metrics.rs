//! What is counted of the proxy's own requests to the control plane.

use crate::{
    http::classify::is_grpc_failure,
    metrics::{Counter, Family, Histogram, LATENCY_MS, Labels, Registry},
};
use std::time::Duration;
use tonic::Status;

static REQUESTS: Family = Family::counter("control_request_total", "Requests to the control plane.");
static RESPONSES: Family = Family::counter("control_response_total", "Responses of the control plane, when they end.");
static LATENCY: Family =
    Family::histogram("control_response_latency_ms", "From a request to the beginning of its response.", LATENCY_MS);

#[derive(Clone)]
pub struct StreamMetrics {
    registry: Registry,
    labels: Labels,
    requests: Counter,
    latency: Histogram,
}

impl StreamMetrics {
    pub fn new(registry: &Registry, addr: &str, identity: Option<&str>) -> Self {
        let labels = Labels::new().with("addr", addr);
        let labels = match identity {
            Some(id) => labels.with("tls", true).with("server_id", id),
            None => labels.with("tls", "no_identity").with("no_tls_reason", "loopback"),
        };
        Self {
            requests: registry.counter(&REQUESTS, labels.clone()),
            latency: registry.histogram(&LATENCY, labels.clone().with("status_code", 200)),
            registry: registry.clone(),
            labels,
        }
    }

    pub fn opened(&self) {
        self.requests.incr();
    }

    /// The first of the response has come.
    pub fn answered(&self, elapsed: Duration) {
        self.latency.observe_time(elapsed);
    }

    /// `error` is absent where the response ended well.
    pub fn closed(&self, error: Option<&Status>) {
        let is_failure = error.is_some_and(|status| is_grpc_failure(status.code() as u16));
        let classification = if is_failure { "failure" } else { "success" };
        let labels = match error {
            Some(status) if is_broken(status) => self
                .labels
                .clone()
                .with("classification", "failure")
                .with("grpc_status", "")
                .with("error", "unclassified"),
            _ => self
                .labels
                .clone()
                .with("status_code", 200)
                .with("classification", classification)
                .with("grpc_status", error.map_or(0, |status| status.code() as i32))
                .with("error", ""),
        };
        self.registry.counter(&RESPONSES, labels).incr();
    }
}

/// Whether it is none that the control plane gave.
pub fn is_broken(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}
