//! Following one stream of the control plane for ever: ask, read, and ask again when it ends or fails, until the answer is
//! final. What was heard last stays in force meanwhile.

use super::backoff::Attempts;
use super::client::Client;
use super::metrics::{StreamMetrics, is_broken};
use super::overlay::Overlay;
use crate::config::StreamLimits;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status};

/// One message of a stream.
pub struct Heard<M, O> {
    pub message: M,
    pub overlay: O,
    /// The first one since the stream was (re)opened.
    pub is_first: bool,
}

impl<M, O: Overlay> Heard<M, O> {
    fn trace(&self, path: &str) {
        if self.overlay != O::default() {
            log::trace!(target: "control", "{path}: {:?}", self.overlay);
        }
    }
}

pub struct Follow<Q> {
    pub client: Client,
    pub path: &'static str,
    pub request: Q,
    pub limits: StreamLimits,
    pub attempts: Attempts,
    /// Codes after which asking again is no use.
    pub is_final: fn(Code) -> bool,
    pub metrics: StreamMetrics,
}

/// `InvalidArgument` and `FailedPrecondition`: the question itself is wrong.
pub fn is_refusal(code: Code) -> bool {
    matches!(code, Code::InvalidArgument | Code::FailedPrecondition)
}

/// What came is no message of the type that was asked for, or larger than any such message is.
fn is_unreadable(status: &Status) -> bool {
    matches!(status.code(), Code::DataLoss | Code::OutOfRange)
}

/// For outbound policy, also what says that there is none.
pub fn is_refusal_or_absence(code: Code) -> bool {
    is_refusal(code) || matches!(code, Code::NotFound | Code::Unimplemented)
}

impl<Q: prost::Message + Clone + Send + Sync + 'static> Follow<Q> {
    /// Gives every message to `hear`; returns the final status.
    pub async fn run<M, O>(self, hear: impl FnMut(Heard<M, O>)) -> Status
    where
        M: prost::Message + Default + Send + 'static,
        O: Overlay,
    {
        self.run_with(hear, |_| {}).await
    }

    /// The same, with word of what came and could not be read.
    pub async fn run_with<M, O>(
        mut self,
        mut hear: impl FnMut(Heard<M, O>),
        mut unreadable: impl FnMut(&Status),
    ) -> Status
    where
        M: prost::Message + Default + Send + 'static,
        O: Overlay,
    {
        loop {
            let started = Instant::now();
            self.metrics.opened();
            let mut count = 0u64;
            let result = self.read_one(started, &mut count, &mut hear).await;
            let error = result.as_ref().err();
            if count == 0 && error.is_none_or(|status| !is_broken(status)) {
                self.metrics.answered(started.elapsed());
            }
            self.metrics.closed(error);
            match result {
                Err(status) if (self.is_final)(status.code()) => return status,
                Err(status) => {
                    let what = super::describe(&status);
                    log::debug!(target: "control", "{} {}: {what}", self.client.authority(), self.path);
                    if is_unreadable(&status) {
                        unreadable(&status);
                    }
                }
                Ok(()) => {}
            }
            if count > 0 {
                self.attempts.reset();
            }
            // Another stream may find the control plane back.
            let mut opened = self.client.watch_opened();
            tokio::select! {
                () = self.attempts.wait() => {}
                Ok(()) = opened.changed() => {}
            }
        }
    }

    async fn read_one<M, O>(
        &self,
        started: Instant,
        count: &mut u64,
        hear: &mut impl FnMut(Heard<M, O>),
    ) -> Result<(), Status>
    where
        M: prost::Message + Default + Send + 'static,
        O: Overlay,
    {
        let limits = if self.client.is_local() { StreamLimits::default() } else { self.limits };
        let by = |from: Instant, limit: Option<Duration>| limit.map(|limit| from + limit);
        let first = by(started, limits.initial);
        let late = || Status::deadline_exceeded("the control plane did not answer in time");
        let open = self.client.watch::<Q, M, O>(self.path, self.request.clone());
        let mut stream = until(first, open).await.ok_or_else(late)??;
        loop {
            let lifetime = by(started, limits.lifetime);
            let deadline = if *count == 0 { first } else { earlier(by(Instant::now(), limits.idle), lifetime) };
            match until(deadline, stream.message()).await {
                Some(Ok(Some((message, overlay)))) => {
                    if *count == 0 {
                        self.metrics.answered(started.elapsed());
                    }
                    let heard = Heard { message, overlay, is_first: *count == 0 };
                    heard.trace(self.path);
                    hear(heard);
                    *count += 1;
                }
                Some(Ok(None)) => return Ok(()),
                Some(Err(status)) => return Err(status),
                None if *count == 0 => return Err(late()),
                // Idle or old: ask again, maybe another replica.
                None => return Ok(()),
            }
        }
    }
}

async fn until<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
