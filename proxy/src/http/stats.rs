//! What is counted about requests. Handles for a status are made when it is first seen, and found again by a scan of
//! the few that occur.

use super::{
    Body,
    classify::{Broken, Class, grpc_name},
};
use crate::metrics::{Counter, Family, Histogram, LATENCY_MS, Labels, Registry};
use http_body::Body as _;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;

static REQUESTS: Family = Family::counter("request_total", "Total count of HTTP requests.");
static RESPONSES: Family = Family::counter("response_total", "Total count of HTTP responses.");
static LATENCY: Family = Family::histogram(
    "response_latency_ms",
    "Elapsed times between a request's headers being received and its response stream beginning.",
    LATENCY_MS,
);

/// What requests are counted in: of one peer, or of one route of a ServiceProfile.
pub struct RequestFamilies {
    pub requests: &'static Family,
    pub responses: &'static Family,
    pub latency: &'static Family,
}

static OF_PEER: RequestFamilies = RequestFamilies { requests: &REQUESTS, responses: &RESPONSES, latency: &LATENCY };

/// By default `request_total`, `response_total` and `response_latency_ms` of one peer.
pub struct RequestStats {
    registry: Registry,
    families: &'static RequestFamilies,
    labels: Labels,
    requests: Counter,
    latencies: Mutex<Vec<(u16, Histogram)>>,
    responses: Mutex<Vec<(u16, Class, Counter)>>,
}

impl RequestStats {
    pub fn new(registry: &Registry, labels: Labels) -> Arc<Self> {
        Self::of(registry, &OF_PEER, labels)
    }

    pub fn of(registry: &Registry, families: &'static RequestFamilies, labels: Labels) -> Arc<Self> {
        Arc::new(Self {
            requests: registry.counter(families.requests, labels.clone()),
            families,
            registry: registry.clone(),
            labels,
            latencies: Mutex::default(),
            responses: Mutex::default(),
        })
    }

    #[inline]
    pub fn request(&self) {
        self.requests.incr();
    }

    pub fn latency(&self, status: u16, elapsed: Duration) {
        let mut latencies = lock(&self.latencies);
        if let Some((_, histogram)) = latencies.iter().find(|(s, _)| *s == status) {
            return histogram.observe_time(elapsed);
        }
        let histogram = self.registry.histogram(self.families.latency, self.labels.clone().with("status_code", status));
        histogram.observe_time(elapsed);
        latencies.push((status, histogram));
    }

    /// Counts a response's end. `status` is 0 where none came.
    pub fn response(&self, status: u16, class: Class) {
        let mut responses = lock(&self.responses);
        if let Some((.., counter)) = responses.iter().find(|(s, c, _)| *s == status && *c == class) {
            return counter.incr();
        }
        let labels = match status {
            0 => self.labels.clone(),
            status => self.labels.clone().with("status_code", status),
        };
        let labels = labels
            .with("classification", if class.is_success { "success" } else { "failure" })
            .with("grpc_status", text(class.grpc_status))
            .with("error", class.broken.map(Broken::label).unwrap_or_default());
        let counter = self.registry.counter(self.families.responses, labels);
        counter.incr();
        responses.push((status, class, counter));
    }
}

/// What a route, or one of its backends, counts its streams in.
pub struct StreamFamilies {
    pub duration: &'static Family,
    /// None where another family of the same streams counts how they end.
    pub statuses: Option<&'static Family>,
    pub frames: &'static Family,
    /// Inbound families call the code `status`, a number also for gRPC; they have it beside the outbound families' name.
    pub has_status: bool,
}

/// The families of a route or of one of its backends: how long streams take, how they end, and how large the frames are
/// of the bodies that it sends.
pub struct StreamStats {
    registry: Registry,
    pub frames: Histogram,
    labels: Labels,
    is_grpc: bool,
    has_status: bool,
    statuses: Option<&'static Family>,
    duration: Histogram,
    seen: Mutex<Vec<(StreamEnd, Counter)>>,
}

/// Status or code, where there was one, and error.
type StreamEnd = (Option<u16>, &'static str);

impl StreamStats {
    pub fn new(registry: &Registry, labels: Labels, is_grpc: bool, families: &StreamFamilies) -> Arc<Self> {
        Arc::new(Self {
            duration: registry.histogram(families.duration, labels.clone()),
            frames: registry.histogram(families.frames, labels.clone()),
            registry: registry.clone(),
            labels,
            is_grpc,
            has_status: families.has_status,
            statuses: families.statuses,
            seen: Mutex::default(),
        })
    }

    /// Counts a stream's end. `status` is 0 where none came; `error` is one of the contract's upper-case words, or empty.
    pub fn end(&self, elapsed: Duration, status: u16, class: Class, error: &'static str) {
        self.duration.observe_time(elapsed);
        let Some(statuses) = self.statuses else { return };
        let code = if self.is_grpc { class.grpc_status } else { Some(status).filter(|status| *status > 0) };
        let end = (code, error);
        let mut seen = lock(&self.seen);
        if let Some((_, counter)) = seen.iter().find(|(seen, _)| *seen == end) {
            return counter.incr();
        }
        let labels = self.labels.clone();
        let labels = if self.has_status { labels.with("status", text(code)) } else { labels };
        let labels = match self.is_grpc {
            true => labels.with("grpc_status", code.map_or("UNKNOWN", grpc_name)),
            false => labels.with("http_status", text(code)),
        };
        let counter = self.registry.counter(statuses, labels.with("error", error));
        counter.incr();
        seen.push((end, counter));
    }
}

/// The body of one request on its way: the response's duration begins where it ends.
pub struct Upload {
    stats: Arc<StreamStats>,
    ended: OnceLock<Instant>,
    /// Where idle streams are ended: when there last was some of it, in nanoseconds since the other.
    moved: Option<(Instant, AtomicU64)>,
}

impl Upload {
    /// None for a request without a body, which has ended when it begins.
    pub fn of(body: &mut Body, stats: &Arc<StreamStats>, is_watched: bool) -> Option<Arc<Self>> {
        if body.is_end_stream() {
            return None;
        }
        let upload = Arc::new(Self::new(stats.clone(), is_watched));
        body.set_upload(upload.clone());
        Some(upload)
    }

    fn new(stats: Arc<StreamStats>, is_watched: bool) -> Self {
        let moved = is_watched.then(|| (Instant::now(), AtomicU64::new(0)));
        Self { stats, ended: OnceLock::new(), moved }
    }

    pub fn data(&self, bytes: usize) {
        self.stats.frames.observe_bytes(bytes);
        if let Some((began, moved)) = &self.moved {
            moved.store(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX), Relaxed);
        }
    }

    pub fn end(&self) {
        let _ = self.ended.set(Instant::now());
    }

    /// How long ago the request ended; zero when it goes on.
    pub fn elapsed(&self) -> Duration {
        self.ended.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// When it ended.
    pub fn ended(&self) -> Option<Instant> {
        self.ended.get().copied()
    }

    /// When there last was something of it, its end included; only where that is watched.
    pub fn moved(&self) -> Option<Instant> {
        let (began, moved) = self.moved.as_ref()?;
        let moved = *began + Duration::from_nanos(moved.load(Relaxed));
        Some(self.ended().map_or(moved, |ended| ended.max(moved)))
    }

    #[cfg(test)]
    pub fn for_test() -> Arc<Self> {
        static TIMES: Family = Family::histogram("times", "Times.", LATENCY_MS);
        static FRAMES: Family = Family::histogram("frames", "Frames.", LATENCY_MS);
        let families = StreamFamilies { duration: &TIMES, statuses: None, frames: &FRAMES, has_status: false };
        let registry = Registry::new(Duration::from_secs(1));
        Arc::new(Self::new(StreamStats::new(&registry, Labels::new(), false, &families), true))
    }
}

fn text(code: Option<u16>) -> String {
    code.map(|code| code.to_string()).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
