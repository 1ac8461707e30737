//! Copies of requests to other services. A copy is sent once all of the request is there, in a task of its own; its
//! response is thrown away, and nothing that becomes of it reaches the request.

use super::{
    endpoint::{Asked, HttpEndpoint},
    metrics_plan::MirrorStats,
    target::Worker,
};
use crate::{
    balance::{Balancer, random_below},
    control::model::{
        Meta,
        filter::Ratio,
        outbound::{self, Backend, BackendKind, Load, Queue},
    },
    http::{
        Body,
        classify::{Classifier, grpc_status, is_grpc},
        h1_client::copy_head,
        headers,
        limit::{InFlight, Permit},
        tape::Tape,
        track::Tracker,
    },
};
use http::Request;
use http_body::Body as _;
use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

/// The copies that the proxy has at once, waiting ones included: each keeps a request's body in memory.
pub const IN_FLIGHT_MAX: usize = 256;
/// When a copy is given up whose response does not end.
const TIMEOUT: Duration = Duration::from_secs(30);

pub struct Mirror {
    to: Arc<Balancer<HttpEndpoint>>,
    ratio: Ratio,
    stats: MirrorStats,
    in_flight: InFlight,
}

/// A copy that waits for the request's body. Dropped without having been sent it counts as left out.
struct Copy {
    mirror: Arc<Mirror>,
    request: Option<Box<Request<Body>>>,
    asked: Asked,
    permit: Option<Permit>,
}

impl Mirror {
    pub fn all(
        worker: &Arc<Worker>,
        parent: &Arc<Meta>,
        route: &Arc<Meta>,
        is_grpc: bool,
        mirrors: &[outbound::Mirror],
    ) -> Vec<Arc<Self>> {
        let queue = worker.context.direction().http_queue;
        let queue = Queue { capacity: queue.capacity, failfast_timeout: queue.failfast_timeout };
        let one = |mirror: &outbound::Mirror| {
            let kind = BackendKind::Balancer { path: mirror.path.clone(), load: Load::DEFAULT, hash: None };
            let backend = Backend { meta: mirror.meta.clone(), kind, queue };
            Arc::new(Self {
                to: worker.http_balancer_of(parent, &backend),
                ratio: mirror.ratio,
                stats: MirrorStats::new(&worker.context.metrics, parent, route, &mirror.meta, is_grpc),
                in_flight: worker.context.mirrors.clone(),
            })
        };
        mirrors.iter().map(one).collect()
    }

    /// Copies a request whose body passes by `tape`; none where the body is too long to be kept.
    pub fn copy(self: &Arc<Self>, request: &Request<Body>, tape: Option<&Tape>, asked: Asked) {
        if random_below(self.ratio.denominator as usize) >= self.ratio.numerator as usize {
            return;
        }
        let Some(tape) = tape else { return self.stats.incomplete.incr() };
        let Some(permit) = self.in_flight.acquire() else { return self.stats.overflow.incr() };
        let mut request = copy_head(request);
        // These speak of where the request itself goes.
        request.headers_mut().remove(&headers::L5D_REQUIRE_ID);
        request.headers_mut().remove(&headers::L5D_DST_CANONICAL);
        let copy = Copy { mirror: self.clone(), request: Some(request), asked, permit: Some(permit) };
        tape.when_complete(Box::new(move |body| copy.send(body)));
    }

    async fn send(&self, request: Box<Request<Body>>, asked: Asked) -> bool {
        let is_grpc = is_grpc(request.headers());
        let started = Instant::now();
        let Ok(picked) = self.to.pick(None, started).await else { return false };
        let sent_at = Instant::now();
        let pending = picked.load.begin(sent_at);
        let Ok(sent) = picked.peer.send(request, asked, None).await else {
            return false;
        };
        picked.connected();
        picked.peer.stats.request();
        let status = sent.response.status();
        let code = if is_grpc { grpc_status(sent.response.headers()) } else { None };
        let mut tracker = Tracker::new(sent_at, status.as_u16(), Classifier::new(is_grpc, status, None), code);
        tracker.stats = Some(picked.peer.stats.clone());
        tracker.pending = Some(pending);
        tracker.lease = sent.lease;
        let mut body = sent.response.into_body();
        body.set_tracker(Box::new(tracker));
        // Read to its end, so that the connection can be used again.
        while !body.is_end_stream() {
            match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                Some(Ok(_)) => {}
                Some(Err(_)) => return false,
                None => break,
            }
        }
        true
    }
}

impl Copy {
    fn send(mut self, body: Body) {
        let Some(mut request) = self.request.take() else { return };
        *request.body_mut() = body;
        let (mirror, asked, permit) = (self.mirror.clone(), self.asked, self.permit.take());
        tokio::spawn(async move {
            match tokio::time::timeout(TIMEOUT, mirror.send(request, asked)).await {
                Ok(true) => mirror.stats.answered.incr(),
                Ok(false) | Err(_) => mirror.stats.failed.incr(),
            }
            drop(permit);
        });
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if self.request.is_some() {
            self.mirror.stats.incomplete.incr();
        }
    }
}
