//! The registry: families by name, cells by label set. The same family and labels give the same cell, so series survive
//! whatever makes and drops handles. A cell that nobody holds is forgotten after the retention time.

use super::{Buckets, Encoder, Family, Kind, Labels, Unit, encode::in_unit};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most series of one family: what a runaway label can cost. Later label sets share one cell, `overflow="true"`.
const SERIES_MAX: usize = 10_000;

#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    retain: Duration,
    families: Mutex<BTreeMap<&'static str, Cells>>,
    collectors: Mutex<Vec<Collector>>,
}

type Collector = Box<dyn Fn(&mut Encoder) + Send + Sync>;

struct Cells {
    family: &'static Family,
    by_labels: HashMap<Box<str>, Entry>,
}

struct Entry {
    cell: Cell,
    unheld_since: Option<Instant>,
}

#[derive(Clone)]
enum Cell {
    Value(Arc<AtomicU64>),
    Histogram(Arc<HistogramCell>),
}

/// A counter or gauge handle; clone it freely.
#[derive(Clone, Debug)]
pub struct Counter(Arc<AtomicU64>);

#[derive(Clone, Debug)]
pub struct Gauge(Arc<AtomicU64>);

#[derive(Clone, Debug)]
pub struct Histogram(Arc<HistogramCell>);

#[derive(Debug)]
pub(super) struct HistogramCell {
    pub buckets: Buckets,
    /// One per bound, and one for what is above all of them.
    pub counts: Box<[AtomicU64]>,
    pub sum: AtomicU64,
}

impl Registry {
    pub fn new(retain: Duration) -> Self {
        Self(Arc::new(Inner { retain, families: Mutex::default(), collectors: Mutex::default() }))
    }

    pub fn counter(&self, family: &'static Family, labels: Labels) -> Counter {
        match self.cell(family, labels) {
            Cell::Value(v) => Counter(v),
            Cell::Histogram(_) => unreachable!("{} is not a counter", family.name),
        }
    }

    pub fn gauge(&self, family: &'static Family, labels: Labels) -> Gauge {
        match self.cell(family, labels) {
            Cell::Value(v) => Gauge(v),
            Cell::Histogram(_) => unreachable!("{} is not a gauge", family.name),
        }
    }

    pub fn histogram(&self, family: &'static Family, labels: Labels) -> Histogram {
        match self.cell(family, labels) {
            Cell::Histogram(h) => Histogram(h),
            Cell::Value(_) => unreachable!("{} is not a histogram", family.name),
        }
    }

    /// Calls `collect` at every scrape, for values that are read and not counted.
    pub fn collect(&self, collect: impl Fn(&mut Encoder) + Send + Sync + 'static) {
        lock(&self.0.collectors).push(Box::new(collect));
    }

    /// All series in the Prometheus text format, ending in `# EOF`.
    pub fn encode(&self) -> String {
        let mut out = Encoder::default();
        for collector in lock(&self.0.collectors).iter() {
            collector(&mut out);
        }
        let now = Instant::now();
        for cells in lock(&self.0.families).values_mut() {
            cells.by_labels.retain(|_, entry| entry.is_kept(now, self.0.retain));
            if cells.by_labels.is_empty() {
                continue;
            }
            out.family(cells.family);
            let mut sorted: Vec<_> = cells.by_labels.iter().collect();
            sorted.sort_unstable_by_key(|(labels, _)| *labels);
            for (labels, entry) in sorted {
                match &entry.cell {
                    Cell::Value(v) if cells.family.kind == Kind::Gauge => {
                        out.sample(cells.family.name, labels, v.load(Relaxed) as i64)
                    }
                    Cell::Value(v) if cells.family.kind == Kind::GaugeSeconds => {
                        out.sample(cells.family.name, labels, in_unit(v.load(Relaxed), Unit::Seconds))
                    }
                    Cell::Value(v) => out.sample(cells.family.name, labels, v.load(Relaxed)),
                    Cell::Histogram(h) => out.histogram(cells.family.name, labels, h),
                }
            }
        }
        out.finish()
    }

    fn cell(&self, family: &'static Family, labels: Labels) -> Cell {
        let mut families = lock(&self.0.families);
        let cells = families.entry(family.name).or_insert_with(|| Cells { family, by_labels: HashMap::new() });
        let mut key = labels.as_str();
        if !cells.by_labels.contains_key(key) && cells.by_labels.len() >= SERIES_MAX {
            key = "overflow=\"true\"";
        }
        if let Some(entry) = cells.by_labels.get_mut(key) {
            entry.unheld_since = None;
            return entry.cell.clone();
        }
        let cell = match family.kind {
            Kind::Counter | Kind::Gauge | Kind::GaugeSeconds => Cell::Value(Arc::default()),
            Kind::Histogram(buckets) => Cell::Histogram(Arc::new(HistogramCell {
                buckets,
                counts: (0..=buckets.bounds.len()).map(|_| AtomicU64::new(0)).collect(),
                sum: AtomicU64::new(0),
            })),
        };
        cells.by_labels.insert(key.into(), Entry { cell: cell.clone(), unheld_since: None });
        cell
    }
}

impl Entry {
    fn is_kept(&mut self, now: Instant, retain: Duration) -> bool {
        let holders = match &self.cell {
            Cell::Value(v) => Arc::strong_count(v),
            Cell::Histogram(h) => Arc::strong_count(h),
        };
        if holders > 1 {
            self.unheld_since = None;
            return true;
        }
        now.duration_since(*self.unheld_since.get_or_insert(now)) < retain
    }
}

impl Counter {
    #[inline]
    pub fn incr(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Gauge {
    #[inline]
    pub fn incr(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    #[inline]
    pub fn decr(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    pub fn set(&self, value: i64) {
        self.0.store(value as u64, Relaxed);
    }

    /// For families whose unit is a time.
    pub fn set_seconds(&self, time: Duration) {
        self.0.store(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    pub fn value(&self) -> i64 {
        self.0.load(Relaxed) as i64
    }
}

impl Histogram {
    /// Records a time; for families whose unit is a time.
    #[inline]
    pub fn observe_time(&self, elapsed: Duration) {
        self.observe(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Records a time that was too short to measure.
    #[inline]
    pub fn observe_none(&self) {
        self.0.counts[0].fetch_add(1, Relaxed);
    }

    /// Records a size in bytes; for families whose unit is bytes.
    #[inline]
    pub fn observe_bytes(&self, n: usize) {
        self.observe(n as u64);
    }

    #[inline]
    fn observe(&self, value: u64) {
        let at = self.0.buckets.bounds.partition_point(|bound| *bound < value);
        self.0.counts[at].fetch_add(1, Relaxed);
        self.0.sum.fetch_add(value, Relaxed);
    }
}

/// A panic elsewhere cannot leave these maps half-changed, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::{FRAME_BYTES, LATENCY_MS};
    use super::*;

    static REQUESTS: Family = Family::counter("request_total", "Requests.");
    static LATENCY: Family = Family::histogram("response_latency_ms", "Latency.", LATENCY_MS);
    static FRAMES: Family = Family::histogram("frame_size_bytes", "Frames.", FRAME_BYTES);
    static OPEN: Family = Family::gauge("tcp_open_connections", "Open.");

    #[test]
    fn same_labels_share_a_cell_and_are_encoded_once() {
        let registry = Registry::new(Duration::from_secs(60));
        registry.counter(&REQUESTS, Labels::new().with("a", 1)).incr();
        registry.counter(&REQUESTS, Labels::new().with("a", 1)).add(2);
        registry.gauge(&OPEN, Labels::new()).decr();
        let text = registry.encode();
        assert_eq!(
            text,
            "# HELP request_total Requests.\n# TYPE request_total counter\nrequest_total{a=\"1\"} 3\n\
             # HELP tcp_open_connections Open.\n# TYPE tcp_open_connections gauge\ntcp_open_connections -1\n# EOF\n"
        );
    }

    #[test]
    fn histograms_are_cumulative_in_their_own_unit() {
        let registry = Registry::new(Duration::from_secs(60));
        let latency = registry.histogram(&LATENCY, Labels::new());
        latency.observe_time(Duration::from_millis(1));
        latency.observe_time(Duration::from_micros(1_500));
        latency.observe_time(Duration::from_secs(60));
        registry.histogram(&FRAMES, Labels::new()).observe_bytes(1024);
        let text = registry.encode();
        for line in [
            "response_latency_ms_bucket{le=\"1\"} 1",
            "response_latency_ms_bucket{le=\"2\"} 2",
            "response_latency_ms_bucket{le=\"50000\"} 2",
            "response_latency_ms_bucket{le=\"+Inf\"} 3",
            "response_latency_ms_count 3",
            "response_latency_ms_sum 60002.5",
            "frame_size_bytes_bucket{le=\"128\"} 0",
            "frame_size_bytes_bucket{le=\"1024\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn an_unheld_series_is_forgotten_and_a_held_one_is_not() {
        let registry = Registry::new(Duration::ZERO);
        let held = registry.counter(&REQUESTS, Labels::new().with("held", true));
        drop(registry.counter(&REQUESTS, Labels::new().with("held", false)));
        let text = registry.encode();
        assert!(text.contains("held=\"true\"") && !text.contains("held=\"false\""), "{text}");
        drop(held);
    }

    #[test]
    fn too_many_series_share_an_overflow_cell() {
        let registry = Registry::new(Duration::from_secs(60));
        for n in 0..SERIES_MAX + 5 {
            registry.counter(&REQUESTS, Labels::new().with("n", n)).incr();
        }
        assert!(registry.encode().contains("request_total{overflow=\"true\"} 5"));
    }
}
