//! What is counted about outbound balancers, by the kind of traffic that they take.

use super::backend::BackendRef;
use crate::{
    balance::Families,
    metrics::{Family, Labels, QUEUE_LATENCY},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BalancerKind {
    Http,
    Tcp,
    Tls,
}

macro_rules! families {
    ($prefix:literal) => {{
        static ENDPOINTS: Family =
            Family::gauge(concat!($prefix, "_endpoints"), "The number of endpoints in the load balancer.");
        static P2C_ENDPOINTS: Family = Family::gauge(
            concat!($prefix, "_p2c_endpoints"),
            "The number of endpoints that the load balancer chooses among.",
        );
        static P2C_UPDATES: Family =
            Family::counter(concat!($prefix, "_p2c_updates_total"), "Changes of the load balancer's endpoints.");
        static LENGTH: Family =
            Family::gauge(concat!($prefix, "_queue_length"), "The number of requests that wait for an endpoint.");
        static REQUESTS: Family =
            Family::counter(concat!($prefix, "_queue_requests_total"), "Requests that have asked for an endpoint.");
        static LATENCY: Family = Family::histogram(
            concat!($prefix, "_queue_latency_seconds"),
            "How long requests waited for an endpoint.",
            QUEUE_LATENCY,
        );
        static GATE_OPEN: Family = Family::counter(
            concat!($prefix, "_queue_gate_open_total"),
            "How often the load balancer began to take requests.",
        );
        static GATE_SHUT: Family = Family::counter(
            concat!($prefix, "_queue_gate_shut_total"),
            "How often the load balancer began to fail requests at once.",
        );
        static GATE_OPEN_TIME: Family = Family::gauge_seconds(
            concat!($prefix, "_queue_gate_open_time_seconds"),
            "When the load balancer last began to take requests.",
        );
        static GATE_SHUT_TIME: Family = Family::gauge_seconds(
            concat!($prefix, "_queue_gate_shut_time_seconds"),
            "When the load balancer last began to fail requests at once.",
        );
        static GATE_TIMEOUT: Family = Family::gauge_seconds(
            concat!($prefix, "_queue_gate_timeout_seconds"),
            "How long requests wait for an endpoint before they fail at once.",
        );
        static ALL: Families = Families {
            endpoints: &ENDPOINTS,
            p2c_endpoints: &P2C_ENDPOINTS,
            p2c_updates: &P2C_UPDATES,
            queue_length: &LENGTH,
            queue_requests: &REQUESTS,
            queue_latency: &LATENCY,
            gate_open: &GATE_OPEN,
            gate_shut: &GATE_SHUT,
            gate_open_time: &GATE_OPEN_TIME,
            gate_shut_time: &GATE_SHUT_TIME,
            gate_timeout: &GATE_TIMEOUT,
        };
        &ALL
    }};
}

impl BalancerKind {
    pub fn families(self) -> &'static Families {
        match self {
            Self::Http => families!("outbound_http_balancer"),
            Self::Tcp => families!("outbound_tcp_balancer"),
            Self::Tls => families!("outbound_tls_balancer"),
        }
    }
}

pub fn labels(backend: &BackendRef<'_>) -> Labels {
    let path = backend.path();
    let labels = backend.parent.parent_labels().join(&backend.backend.meta.backend_labels());
    labels.with("logical", &path).with("concrete", &path)
}
