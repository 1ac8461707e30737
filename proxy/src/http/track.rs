//! Watches one response to its end: latency at the first data, class at the last, the endpoint's load released, the
//! connection given back.

use super::{
    classify::{Classifier, grpc_status},
    error::{BodyError, grpc_trailers},
    h1_client::Lease,
    permission::Leave,
    stats::{RequestStats, StreamStats, Upload},
    timeouts::Watchdog,
};
use crate::balance::{Outcome, Pending, Permit};
use h2::Reason;
use http::{HeaderMap, StatusCode};
use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

pub struct Tracker {
    pub started: Instant,
    pub status: u16,
    pub classifier: Classifier,
    /// From the response's headers; trailers override it.
    pub grpc_status: Option<u16>,
    pub stats: Option<Arc<RequestStats>>,
    /// The same of a ServiceProfile's route: of the whole stream, and of this attempt.
    pub routes: [Option<Arc<RequestStats>>; 2],
    /// The families of the whole stream, whose time runs from the request's beginning, and of the response, from the
    /// request's end.
    pub streams: [Option<Arc<StreamStats>>; 2],
    /// None when the request had no body.
    pub upload: Option<Arc<Upload>>,
    /// The endpoint's count of requests that have no data yet.
    pub pending: Option<Pending>,
    /// The endpoint's breaker, when the end of the response decides.
    pub permit: Option<Permit>,
    /// The HTTP/1 connection that the response comes from.
    pub lease: Option<Lease>,
    /// Whether a break is told to a gRPC client by trailers.
    pub rescues_grpc: bool,
    /// Where the route limits the time of its streams.
    pub watchdog: Option<Box<Watchdog>>,
    /// Where a policy may end the stream.
    pub permission: Option<Leave>,
    /// When the request began, whose first attempts may have been others.
    pub stream_started: Instant,
    has_begun: bool,
    is_done: bool,
}

impl Tracker {
    pub fn new(started: Instant, status: u16, classifier: Classifier, grpc_status: Option<u16>) -> Self {
        Self {
            started,
            status,
            classifier,
            grpc_status,
            stats: None,
            routes: [None, None],
            streams: [None, None],
            upload: None,
            pending: None,
            permit: None,
            lease: None,
            rescues_grpc: false,
            watchdog: None,
            permission: None,
            stream_started: started,
            has_begun: false,
            is_done: false,
        }
    }

    /// One that counts nothing.
    pub fn of_nothing() -> Box<Self> {
        let status = StatusCode::OK;
        Box::new(Self::new(Instant::now(), status.as_u16(), Classifier::new(false, status, None), None))
    }

    /// Whether the stream is to end although something of the response has come.
    #[inline]
    pub fn interrupts(&mut self) -> Option<BodyError> {
        if let Some(why) = self.watchdog.as_mut().and_then(|watchdog| watchdog.touch()) {
            return Some(BodyError::TimedOut(why));
        }
        self.permission.as_mut()?.is_revoked().then(|| self.revoked())
    }

    /// Ready when the stream is to end while nothing of the response comes.
    pub fn poll_interrupt(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        if let Some(watchdog) = &mut self.watchdog
            && let Poll::Ready(why) = watchdog.poll(cx)
        {
            return Poll::Ready(BodyError::TimedOut(why));
        }
        let Some(permission) = &mut self.permission else { return Poll::Pending };
        ready!(permission.poll_revoked(cx));
        Poll::Ready(self.revoked())
    }

    fn revoked(&self) -> BodyError {
        // What gRPC clients take for PERMISSION_DENIED.
        BodyError::Revoked(if self.rescues_grpc { Reason::INADEQUATE_SECURITY } else { Reason::CANCEL })
    }

    #[inline]
    pub fn data(&mut self, bytes: usize) {
        if let [_, Some(response)] = &self.streams {
            response.frames.observe_bytes(bytes);
        }
        // A stream may go on for ever; an endpoint that answers need not be out for so long.
        if self.permit.as_ref().is_some_and(Permit::is_probe) {
            self.judge(Outcome::Success, None);
        }
        self.begin();
    }

    #[inline]
    fn begin(&mut self) {
        if self.has_begun {
            return;
        }
        self.has_begun = true;
        if let Some(pending) = self.pending.take() {
            pending.complete();
        }
        if let Some(stats) = &self.stats {
            stats.latency(self.status, self.started.elapsed());
        }
        let [stream, attempt] = &self.routes;
        if let Some(stream) = stream {
            stream.latency(self.status, self.stream_started.elapsed());
        }
        if let Some(attempt) = attempt {
            attempt.latency(self.status, self.started.elapsed());
        }
    }

    /// The stream goes on with another attempt: this response counts for its endpoint and backend alone.
    pub fn leave_stream(&mut self) {
        self.streams[0] = None;
        self.routes[0] = None;
    }

    /// Tells the breaker what the response said about the endpoint.
    fn judge(&mut self, outcome: Outcome, trailers: Option<&HeaderMap>) {
        if let Some(permit) = self.permit.take() {
            permit.end(outcome, trailers.and_then(|trailers| self.classifier.hint(trailers)));
        }
    }

    pub fn end(&mut self, trailers: Option<&HeaderMap>) {
        let code = trailers.and_then(grpc_status).or(self.grpc_status);
        let class = self.classifier.end(code);
        self.judge(self.classifier.outcome(class), trailers);
        self.finish(class, "");
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }

    /// Counts a break; the trailers, if any, are to be sent in the error's place.
    pub fn fail(&mut self, error: &BodyError) -> Option<HeaderMap> {
        if let BodyError::Revoked(_) = error {
            // Nobody's failure; the class is that of what was seen so far.
            self.finish(self.classifier.end(self.grpc_status), "CANCEL");
            // Trailers would leave a request that goes on as it is; a reset ends both ways.
            if self.upload.as_ref().is_some_and(|upload| upload.ended().is_none()) {
                return None;
            }
        } else {
            self.judge(Outcome::Failure, None);
            self.finish(self.classifier.error(error), error_label(error));
        }
        if self.rescues_grpc { grpc_trailers(error) } else { None }
    }

    /// Counts the response of an attempt that another one follows: the stream goes on, this response does not.
    pub fn discard(mut self, trailers: Option<&HeaderMap>) {
        self.leave_stream();
        let code = trailers.and_then(grpc_status).or(self.grpc_status);
        let class = self.classifier.end(code);
        self.judge(self.classifier.outcome(class), trailers);
        self.finish(class, "");
    }

    fn finish(&mut self, class: super::classify::Class, error: &'static str) {
        if self.is_done {
            return;
        }
        self.begin();
        self.is_done = true;
        if let Some(stats) = &self.stats {
            stats.response(self.status, class);
        }
        for route in self.routes.iter().flatten() {
            route.response(self.status, class);
        }
        let elapsed = self.started.elapsed();
        let [stream, response] = &self.streams;
        if let Some(stream) = stream {
            stream.end(self.stream_started.elapsed(), self.status, class, error);
        }
        if let Some(response) = response {
            let elapsed = self.upload.as_ref().map_or(elapsed, |upload| upload.elapsed());
            response.end(elapsed, self.status, class, error);
        }
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        // The reader went away: what was seen so far is what the response was.
        self.finish(self.classifier.end(self.grpc_status), "CANCEL");
    }
}

/// The `error` label of route families.
pub fn error_label(error: &BodyError) -> &'static str {
    if let BodyError::TimedOut(why) = error {
        return why.label();
    }
    match error.reason() {
        Some(h2::Reason::CANCEL) => "CANCEL",
        Some(h2::Reason::REFUSED_STREAM) => "REFUSED",
        Some(h2::Reason::ENHANCE_YOUR_CALM) => "ENHANCE_YOUR_CALM",
        Some(h2::Reason::NO_ERROR) => "GO_AWAY",
        Some(_) => "RESET",
        None => "IO",
    }
}
