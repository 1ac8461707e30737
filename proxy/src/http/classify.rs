//! Success or failure of a response: by the first class of its ServiceProfile's route that its status is in; where there
//! is none, by status for HTTP and by `grpc-status` (in headers or trailers) for gRPC.

use super::{BodyError, retry_after::retry_after};
use crate::{balance::Outcome, control::model::profile::ProfileRoute};
use http::{HeaderMap, StatusCode};
use std::{borrow::Cow, time::Duration};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    pub is_success: bool,
    /// Present for gRPC responses whose code decides; 2 (unknown) when the server said none.
    pub grpc_status: Option<u16>,
    /// How the stream broke.
    pub broken: Option<Broken>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// HTTP/2's code for it.
    Reset(u32),
    TimedOut,
    Other,
}

const UNKNOWN: u16 = 2;
/// Codes that say the server failed: unknown, deadline exceeded, permission denied, internal, unavailable, data loss.
const GRPC_FAILURES: [u16; 6] = [2, 4, 7, 13, 14, 15];

const RESOURCE_EXHAUSTED: u16 = 8;

/// What is known when the response's headers are there.
#[derive(Clone)]
pub struct Classifier {
    status: StatusCode,
    is_grpc: bool,
    /// Whether it is a failure, where a profile's class says so.
    by_profile: Option<bool>,
}

pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(http::header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"))
}

pub fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// A code as `outbound_grpc_*` calls it.
pub fn grpc_name(code: u16) -> &'static str {
    match code {
        0 => "OK",
        1 => "CANCELLED",
        3 => "INVALID_ARGUMENT",
        4 => "DEADLINE_EXCEEDED",
        5 => "NOT_FOUND",
        6 => "ALREADY_EXISTS",
        7 => "PERMISSION_DENIED",
        8 => "RESOURCE_EXHAUSTED",
        9 => "FAILED_PRECONDITION",
        10 => "ABORTED",
        11 => "OUT_OF_RANGE",
        12 => "UNIMPLEMENTED",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        15 => "DATA_LOSS",
        16 => "UNAUTHENTICATED",
        _ => "UNKNOWN",
    }
}

impl Broken {
    pub fn of(error: &BodyError) -> Self {
        match (error, error.reason()) {
            (_, Some(reason)) => Self::Reset(reason.into()),
            (BodyError::TimedOut(_), None) => Self::TimedOut,
            (_, None) => Self::Other,
        }
    }

    /// The `error` label of `response_total`.
    pub fn label(self) -> Cow<'static, str> {
        match self {
            Self::Reset(code) => format!("h2({:?})", h2::Reason::from(code)).into(),
            Self::TimedOut => "timeout".into(),
            Self::Other => "unclassified".into(),
        }
    }
}

/// Whether a `grpc-status` says that the server failed.
pub fn is_grpc_failure(code: u16) -> bool {
    GRPC_FAILURES.contains(&code)
}

impl Classifier {
    pub fn new(is_grpc: bool, status: StatusCode, profile: Option<&ProfileRoute>) -> Self {
        Self { status, is_grpc, by_profile: profile.and_then(|profile| profile.classify(status)) }
    }

    /// Whether the class is known by the head alone, whatever code follows: a profile says so.
    pub fn is_decided(&self) -> bool {
        self.by_profile.is_some()
    }

    /// Whether the class is known only when a `grpc-status` is.
    fn goes_by_code(&self) -> bool {
        self.is_grpc && self.status.is_success() && self.by_profile.is_none()
    }

    /// The class at the response's end; `code` is the `grpc-status` that was found.
    pub fn end(&self, code: Option<u16>) -> Class {
        if self.goes_by_code() {
            let is_success = code.is_none_or(|code| !is_grpc_failure(code));
            return Class { is_success, grpc_status: Some(code.unwrap_or(UNKNOWN)), broken: None };
        }
        let is_failure = self.by_profile.unwrap_or(self.status.is_server_error());
        Class { is_success: !is_failure, grpc_status: None, broken: None }
    }

    /// What a response of this class says about the endpoint that it came from.
    pub fn outcome(&self, class: Class) -> Outcome {
        let is_limited = self.status == StatusCode::TOO_MANY_REQUESTS
            || class.grpc_status == Some(RESOURCE_EXHAUSTED) && self.status.is_success();
        match class.is_success {
            false => Outcome::Failure,
            true if is_limited => Outcome::Limited,
            true => Outcome::Success,
        }
    }

    /// What is known of that when the headers are there: not much of a gRPC response before its trailers.
    pub fn early_outcome(&self, code: Option<u16>) -> Option<Outcome> {
        match self.goes_by_code() && code.is_none() {
            true => None,
            false => Some(self.outcome(self.end(code))),
        }
    }

    /// Whether the response counts as a latency of its own where balancers penalize failures: too many requests, a
    /// server's failure, or gRPC's words for these in place of a response.
    pub fn is_penalized(&self, code: Option<u16>) -> bool {
        let is_grpc_failure = || code.is_some_and(|code| [2, 4, 8, 13, 14, 15].contains(&code));
        self.status == StatusCode::TOO_MANY_REQUESTS
            || self.status.is_server_error()
            || self.is_grpc && is_grpc_failure()
    }

    /// How long the endpoint asks to be spared: in the head of a response that may say so, or in gRPC's head or trailers.
    pub fn hint(&self, headers: &HeaderMap) -> Option<Duration> {
        let may_ask = self.is_grpc && self.status.is_success()
            || matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        may_ask.then(|| retry_after(headers)).flatten()
    }

    /// The class of a response that broke off.
    pub fn error(&self, error: &BodyError) -> Class {
        Class { is_success: false, grpc_status: None, broken: Some(Broken::of(error)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_goes_by_code_and_http_by_status() {
        let grpc = Classifier::new(true, StatusCode::OK, None);
        assert!(grpc.end(Some(0)).is_success && grpc.end(Some(5)).is_success);
        assert!(!grpc.end(Some(14)).is_success);
        assert_eq!(grpc.end(None), Class { is_success: true, grpc_status: Some(2), broken: None });
        assert!(!Classifier::new(false, StatusCode::BAD_GATEWAY, None).end(None).is_success);
        assert!(Classifier::new(false, StatusCode::NOT_FOUND, None).end(None).is_success);
    }

    #[test]
    fn a_profiles_class_goes_before_the_code() {
        use crate::control::model::profile::{ResponseClass, ResponseCondition};
        let class = |statuses, is_failure| ResponseClass { condition: ResponseCondition::Status(statuses), is_failure };
        let response_classes = vec![class(200..=200, false), class(404..=404, true), class(200..=299, true)];
        let profile = ProfileRoute { labels: crate::metrics::Labels::new(), response_classes };
        let of = |is_grpc, status| Classifier::new(is_grpc, StatusCode::from_u16(status).unwrap(), Some(&profile));
        let decided = |is_success| Class { is_success, grpc_status: None, broken: None };
        assert_eq!(of(true, 200).end(Some(14)), decided(true));
        assert_eq!(of(true, 202).end(Some(0)), decided(false));
        assert_eq!(of(true, 200).early_outcome(None), Some(Outcome::Success), "nothing is waited for");
        assert_eq!((of(true, 404).end(None), of(false, 404).end(None)), (decided(false), decided(false)));
        // Where no class speaks, all is as without a profile.
        let none = ProfileRoute { response_classes: Vec::new(), ..profile.clone() };
        let by_code = Class { is_success: false, grpc_status: Some(14), broken: None };
        assert_eq!(Classifier::new(true, StatusCode::OK, Some(&none)).end(Some(14)), by_code);
        assert_eq!(of(false, 503).end(None), decided(false));
    }

    #[test]
    fn breakers_and_balancers_are_told_what_the_contract_says() {
        let http = |status| Classifier::new(false, StatusCode::from_u16(status).unwrap(), None);
        let outcomes = [200, 404, 429, 500, 503].map(|status| http(status).early_outcome(None).unwrap());
        use Outcome::{Failure, Limited, Success};
        assert_eq!(outcomes, [Success, Success, Limited, Failure, Failure]);
        let grpc = Classifier::new(true, StatusCode::OK, None);
        assert_eq!(grpc.early_outcome(None), None);
        let outcomes = [0, 5, 7, 8, 14].map(|code| grpc.early_outcome(Some(code)).unwrap());
        assert_eq!(outcomes, [Success, Success, Failure, Limited, Failure]);
        let penalized = [0, 2, 4, 5, 7, 8, 13, 14, 15].map(|code| grpc.is_penalized(Some(code)));
        assert_eq!(penalized, [false, true, true, false, false, true, true, true, true]);
        assert!(http(429).is_penalized(None) && http(503).is_penalized(None) && !http(404).is_penalized(None));
    }
}
