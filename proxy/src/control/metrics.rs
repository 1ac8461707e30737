//! What is counted of the proxy's own requests to the control plane.

use crate::metrics::{Counter, Family, Histogram, LATENCY_MS, Labels, Registry};
use std::time::Duration;
use tonic::Status;

static REQUESTS: Family = Family::counter("control_request_total", "Requests to the control plane.");
static RESPONSES: Family = Family::counter("control_response_total", "Responses of the control plane, when they end.");
static LATENCY: Family =
    Family::histogram("control_response_latency_ms", "From a request to the end of its response.", LATENCY_MS);

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
            latency: registry.histogram(&LATENCY, labels.clone()),
            registry: registry.clone(),
            labels,
        }
    }

    pub fn opened(&self) {
        self.requests.incr();
    }

    pub fn closed(&self, elapsed: Duration, error: Option<&Status>) {
        self.latency.observe_time(elapsed);
        let code = error.map_or(0, |status| status.code() as i32);
        let classification = if error.is_none() { "success" } else { "failure" };
        let labels = self.labels.clone().with("classification", classification).with("grpc_status", code);
        self.registry.counter(&RESPONSES, labels).incr();
    }
}
