//! What is counted of a request that gets no response: for its route and backend, and for the route of a ServiceProfile the
//! answer that the application gets instead.

use super::{http::Exchange, router::HttpBackend};
use crate::http::{
    Error,
    classify::{Class, Classifier},
    stats::{RequestStats, StreamStats},
    track::error_label,
};
use http::StatusCode;
use std::time::Instant;

impl Exchange<'_> {
    /// Counts a stream that ends without a response.
    pub(super) fn count_failed_stream(&self, error: &Error) {
        self.count_error(&self.stats, error);
        if let Some(profile) = &self.rule.profile {
            self.count_answer(&profile.effective, error, self.started);
        }
    }

    /// Counts an attempt that ends without a response.
    pub(super) fn count_failed_attempt(&self, backend: &HttpBackend, error: &Error, started: Instant) {
        self.count_error(&backend.stats, error);
        if let Some(profile) = &self.rule.profile {
            self.count_answer(&profile.actual, error, started);
        }
    }

    /// Counts the answer that an error becomes.
    pub(super) fn count_answer(&self, stats: &RequestStats, error: &Error, started: Instant) {
        let (status, class) = self.answer_to(error);
        stats.latency(status, started.elapsed());
        stats.response(status, class);
    }

    /// The status of the answer that an error becomes, and its class: one that stands for the endpoint's is in those of a
    /// profile as the endpoint's own would be.
    pub(super) fn answer_to(&self, error: &Error) -> (u16, Class) {
        let (status, code) = error.statuses();
        let status = if self.is_grpc { 200 } else { status };
        let class = match (error, StatusCode::from_u16(status)) {
            (Error::Connect(_) | Error::Upstream(_), Ok(status)) if error.reset().is_none() => {
                Classifier::new(self.is_grpc, status, self.policy.profile.as_deref()).end(Some(code))
            }
            _ => Class { is_success: false, grpc_status: self.is_grpc.then_some(code), broken: None },
        };
        (status, class)
    }

    fn count_error(&self, stats: &StreamStats, error: &Error) {
        let ((status, code), word) = match error {
            Error::FailFast => ((0, None), "FAIL_FAST"),
            Error::LoadShed => ((0, None), "LOAD_SHED"),
            Error::Upstream(error) if error.reason().is_some() => ((0, None), error_label(error)),
            Error::TimedOut(why) => ((0, None), why.label()),
            // These are answers of the endpoint, as far as the route is concerned, or the policy's own.
            Error::Connect(_)
            | Error::Upstream(_)
            | Error::Injected { .. }
            | Error::InjectedGrpc { .. }
            | Error::Redirect { .. } => {
                let (status, code) = error.statuses();
                ((status, Some(code)), "")
            }
            _ => ((0, None), "UNKNOWN"),
        };
        let class = Class { is_success: false, grpc_status: code, broken: None };
        stats.end(self.started.elapsed(), status, class, word);
    }
}
