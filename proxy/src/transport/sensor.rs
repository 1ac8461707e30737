//! Counts connections and their bytes: the `tcp_*` families. Handles are resolved once per connection class.

use crate::metrics::{Counter, Family, Gauge, Labels, Registry};
use std::{io, net::SocketAddr, sync::Arc};

static OPEN_TOTAL: Family = Family::counter("tcp_open_total", "Total count of opened connections.");
static OPEN: Family = Family::gauge("tcp_open_connections", "Number of currently-open connections.");
static READ: Family = Family::counter("tcp_read_bytes_total", "Total count of bytes read from peers.");
static WRITE: Family = Family::counter("tcp_write_bytes_total", "Total count of bytes written to peers.");
static CLOSE: Family = Family::counter("tcp_close_total", "Total count of closed connections.");

/// The counters of all connections with the same labels.
pub struct TransportMetrics {
    registry: Registry,
    labels: Labels,
    open_total: Counter,
    open: Gauge,
    read: Counter,
    write: Counter,
    closed: Counter,
    transfer: Option<Transfer>,
}

/// Bytes that are counted once more, by what it costs to move them.
pub struct Transfer {
    pub received: Counter,
    pub sent: Counter,
}

impl TransportMetrics {
    pub fn new(registry: &Registry, labels: Labels) -> Arc<Self> {
        Self::with_transfer(registry, labels, None)
    }

    pub fn with_transfer(registry: &Registry, labels: Labels, transfer: Option<Transfer>) -> Arc<Self> {
        Arc::new(Self {
            transfer,
            open_total: registry.counter(&OPEN_TOTAL, labels.clone()),
            open: registry.gauge(&OPEN, labels.clone()),
            read: registry.counter(&READ, labels.clone()),
            write: registry.counter(&WRITE, labels.clone()),
            closed: registry.counter(&CLOSE, labels.clone().with("errno", "")),
            registry: registry.clone(),
            labels,
        })
    }

    /// Counts a connection as open until the sensor is dropped.
    pub fn open(self: &Arc<Self>) -> Sensor {
        self.open_total.incr();
        self.open.incr();
        Sensor { metrics: self.clone(), error: None }
    }
}

/// Counts one connection.
pub struct Sensor {
    metrics: Arc<TransportMetrics>,
    error: Option<io::ErrorKind>,
}

impl Sensor {
    #[inline]
    pub fn read(&mut self, n: usize) {
        self.metrics.read.add(n as u64);
        if let Some(transfer) = &self.metrics.transfer {
            transfer.received.add(n as u64);
        }
    }

    #[inline]
    pub fn wrote(&mut self, n: usize) {
        self.metrics.write.add(n as u64);
        if let Some(transfer) = &self.metrics.transfer {
            transfer.sent.add(n as u64);
        }
    }

    /// The first error is why the connection ended.
    pub fn record_error(&mut self, error: &io::Error) {
        self.error.get_or_insert(error.kind());
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        self.metrics.open.decr();
        match self.error {
            None => self.metrics.closed.incr(),
            Some(kind) => {
                let labels = self.metrics.labels.clone().with("errno", errno(kind));
                self.metrics.registry.counter(&CLOSE, labels).incr();
            }
        }
    }
}

/// Adds `target_addr`, `target_ip` and `target_port`.
pub fn target_labels(labels: Labels, addr: SocketAddr) -> Labels {
    labels.with("target_addr", addr).with("target_ip", addr.ip()).with("target_port", addr.port())
}

fn errno(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::ConnectionRefused => "ECONNREFUSED",
        io::ErrorKind::ConnectionReset => "ECONNRESET",
        io::ErrorKind::ConnectionAborted => "ECONNABORTED",
        io::ErrorKind::BrokenPipe => "EPIPE",
        io::ErrorKind::TimedOut => "ETIMEDOUT",
        io::ErrorKind::HostUnreachable => "EHOSTUNREACH",
        io::ErrorKind::NetworkUnreachable => "ENETUNREACH",
        io::ErrorKind::UnexpectedEof => "UNEXPECTED_EOF",
        _ => "UNKNOWN",
    }
}
