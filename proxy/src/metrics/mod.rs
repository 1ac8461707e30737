//! Metrics: a registry of families, and handles that the data path updates with one relaxed atomic add. Families are declared
//! as constants beside the component that counts them; a label set is rendered once, when its handle is made.

mod balancer;
mod by_name;
mod encode;
mod labels;
pub mod process;
mod registry;

pub(crate) use balancer::balancer_families;
pub use balancer::{BalancerFamilies, BalancerStats};
pub use by_name::ByName;
pub use encode::Encoder;
pub use labels::Labels;
pub use registry::{Counter, Gauge, Histogram, Registry};

/// What a family is called, and how its samples are written.
#[derive(Debug)]
pub struct Family {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    /// A gauge whose value is a time: kept in nanoseconds, written in seconds.
    GaugeSeconds,
    Histogram(Buckets),
}

/// Upper bounds in base units: nanoseconds for times, bytes for sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Buckets {
    pub unit: Unit,
    pub bounds: &'static [u64],
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    Seconds,
    Milliseconds,
    Bytes,
}

const MS: u64 = 1_000_000;
const KI: u64 = 1024;

/// `*_latency_ms`: what Linkerd's dashboards compute percentiles from.
pub const LATENCY_MS: Buckets = Buckets {
    unit: Unit::Milliseconds,
    bounds: &[
        MS,
        2 * MS,
        3 * MS,
        4 * MS,
        5 * MS,
        10 * MS,
        20 * MS,
        30 * MS,
        40 * MS,
        50 * MS,
        100 * MS,
        200 * MS,
        300 * MS,
        400 * MS,
        500 * MS,
        1_000 * MS,
        2_000 * MS,
        3_000 * MS,
        4_000 * MS,
        5_000 * MS,
        10_000 * MS,
        20_000 * MS,
        30_000 * MS,
        40_000 * MS,
        50_000 * MS,
    ],
};
/// `inbound_*_request_duration_seconds`, `outbound_*_route_backend_response_duration_seconds`.
pub const DURATION_FINE: Buckets =
    Buckets { unit: Unit::Seconds, bounds: &[25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS, 1_000 * MS, 10_000 * MS] };
/// `outbound_*_route_request_duration_seconds`, `inbound_*_response_duration_seconds`.
pub const DURATION_COARSE: Buckets =
    Buckets { unit: Unit::Seconds, bounds: &[50 * MS, 500 * MS, 1_000 * MS, 10_000 * MS] };
/// `*_balancer_queue_latency_seconds`.
pub const QUEUE_LATENCY: Buckets =
    Buckets { unit: Unit::Seconds, bounds: &[MS / 2, 5 * MS, 50 * MS, 500 * MS, 1_000 * MS, 3_000 * MS] };
/// `*_tcp_detect_http_duration_seconds`.
pub const DETECTION: Buckets = Buckets { unit: Unit::Seconds, bounds: &[MS, 100 * MS] };
/// `*_frame_size_bytes`.
pub const FRAME_BYTES: Buckets = Buckets { unit: Unit::Bytes, bounds: &[128, KI, 10 * KI] };

impl Family {
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Counter }
    }

    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Gauge }
    }

    pub const fn gauge_seconds(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::GaugeSeconds }
    }

    pub const fn histogram(name: &'static str, help: &'static str, buckets: Buckets) -> Self {
        Self { name, help, kind: Kind::Histogram(buckets) }
    }
}
