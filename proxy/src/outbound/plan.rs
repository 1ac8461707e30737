//! What only some rules ask of their requests: times, retries, copies, sessions. Made ready when the policy comes; a
//! rule without any has no plan, and its requests are sent straight on.

use super::{
    budget::Budget,
    metrics_plan::{RetryStats, profile_skipped},
    mirror::Mirror,
    session::Session,
    target::Worker,
};
use crate::{
    control::model::{
        Meta,
        outbound::{Backoff, HttpPolicy, PolicyRetry, Retry, Timeouts},
    },
    metrics::Counter,
};
use http::{HeaderMap, HeaderName};
use std::{borrow::Cow, ops::RangeInclusive, sync::Arc, time::Duration};

static L5D_TIMEOUT: HeaderName = HeaderName::from_static("l5d-timeout");
static L5D_REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("l5d-request-timeout");
static L5D_RESPONSE_TIMEOUT: HeaderName = HeaderName::from_static("l5d-response-timeout");
static L5D_RETRY_HTTP: HeaderName = HeaderName::from_static("l5d-retry-http");
static L5D_RETRY_GRPC: HeaderName = HeaderName::from_static("l5d-retry-grpc");
static L5D_RETRY_LIMIT: HeaderName = HeaderName::from_static("l5d-retry-limit");
static L5D_RETRY_TIMEOUT: HeaderName = HeaderName::from_static("l5d-retry-timeout");

/// How much of a request is kept to be sent again or copied, where no policy says it.
pub const REPLAY_BYTES: usize = 64 * 1024;
/// The most retries of one request, whatever a policy or an application asks for: they multiply over the hops of a call.
pub const RETRIES_MAX: u32 = 100;
/// The waits between retries that an application asks for.
const BACKOFF: Backoff = Backoff {
    min: Duration::from_millis(25),
    max: Duration::from_millis(250),
    jitter: 1.0,
    respect_retry_after: false,
};

pub struct Plan {
    timeouts: Timeouts,
    retry: Option<PolicyRetry>,
    pub budget: Option<BudgetedRetry>,
    allows_headers: bool,
    pub retry_stats: RetryStats,
    pub mirrors: Vec<Arc<Mirror>>,
    /// The rule's own mirrors, or those of its backends.
    pub has_mirrors: bool,
    pub session: Option<Session>,
}

/// A ServiceProfile's retries: as many as its budget has.
pub struct BudgetedRetry {
    pub budget: Arc<Budget>,
    /// Responses that would have been retried.
    pub skipped: [Counter; 2],
}

/// What one request is given.
pub struct Wishes<'a> {
    pub timeouts: Timeouts,
    pub retry: Option<Cow<'a, PolicyRetry>>,
}

impl Plan {
    /// None for a rule that asks for nothing of this kind, its backends included.
    pub fn new(
        worker: &Arc<Worker>,
        parent: &Arc<Meta>,
        route: &Arc<Meta>,
        policy: &HttpPolicy,
        logical: Option<&Arc<str>>,
        has_backend_mirrors: bool,
    ) -> Option<Box<Self>> {
        let is_needed = policy.timeouts != Timeouts::default()
            || policy.retry.is_some()
            || policy.allow_l5d_request_headers
            || !policy.mirrors.is_empty()
            || policy.session.is_some()
            || has_backend_mirrors;
        if !is_needed {
            return None;
        }
        let registry = &worker.context.metrics;
        let (retry, budget) = match &policy.retry {
            None => (None, None),
            Some(Retry::Policy(retry)) => (Some(retry.clone()), None),
            Some(Retry::Profile(config)) => {
                let budget = worker.context.budgets.get(logical.cloned().unwrap_or_default(), **config);
                let skipped = profile_skipped(registry, logical.map_or("", |l| l), policy.profile.as_deref());
                (None, Some(BudgetedRetry { budget, skipped }))
            }
        };
        Some(Box::new(Self {
            timeouts: policy.timeouts,
            retry,
            budget,
            allows_headers: policy.allow_l5d_request_headers,
            retry_stats: RetryStats::new(registry, parent, route, policy.is_grpc),
            mirrors: Mirror::all(worker, parent, route, policy.is_grpc, &policy.mirrors),
            has_mirrors: has_backend_mirrors || !policy.mirrors.is_empty(),
            session: policy.session.as_ref().map(|session| worker.context.session(session)),
        }))
    }

    /// Whether the progress of request bodies has to be known.
    pub fn watches_progress(&self) -> bool {
        self.timeouts.idle.is_some()
    }

    /// What the policy gives, or what the application asks for where it may. Its headers go no further.
    pub fn wishes(&self, headers: &mut HeaderMap) -> Wishes<'_> {
        let mut wishes = Wishes { timeouts: self.timeouts, retry: self.retry.as_ref().map(Cow::Borrowed) };
        if !self.allows_headers {
            return wishes;
        }
        // The longer name goes before the short one.
        let short = take(headers, &L5D_TIMEOUT, duration);
        if let Some(timeout) = take(headers, &L5D_REQUEST_TIMEOUT, duration).or(short) {
            wishes.timeouts.request = Some(timeout);
        }
        if let Some(timeout) = take(headers, &L5D_RESPONSE_TIMEOUT, duration) {
            wishes.timeouts.response = Some(timeout);
        }
        let statuses = take(headers, &L5D_RETRY_HTTP, |text| Some(statuses(text)));
        let codes = take(headers, &L5D_RETRY_GRPC, |text| Some(grpc_codes(text)));
        let limit: Option<u32> = take(headers, &L5D_RETRY_LIMIT, |text| text.parse().ok());
        let timeout = take(headers, &L5D_RETRY_TIMEOUT, duration);
        if statuses.is_some() || codes.is_some() || limit.is_some() || timeout.is_some() {
            let mut retry = wishes.retry.map_or_else(asked_for, Cow::into_owned);
            retry.http_statuses = statuses.unwrap_or(retry.http_statuses);
            retry.grpc_codes = codes.unwrap_or(retry.grpc_codes);
            retry.max_retries = limit.unwrap_or(retry.max_retries);
            retry.timeout = timeout.or(retry.timeout);
            wishes.retry = Some(Cow::Owned(retry));
        }
        wishes
    }
}

/// What an application that asks for retries gets where the policy has none.
fn asked_for() -> PolicyRetry {
    PolicyRetry {
        max_retries: 1,
        max_request_bytes: REPLAY_BYTES,
        timeout: None,
        backoff: Some(BACKOFF),
        http_statuses: Vec::new(),
        grpc_codes: Vec::new(),
    }
}

fn take<T>(headers: &mut HeaderMap, name: &HeaderName, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    headers.remove(name).and_then(|value| parse(value.to_str().ok()?.trim()))
}

/// An integer with a unit: ms, s, m, h or d. Nothing is given no time at all.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let n: u64 = text.get(..digits)?.parse().ok()?;
    let ms = match text.get(digits..)? {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    // Short enough to be added to any time.
    const MS_MAX: u64 = 100 * 365 * 86_400_000;
    n.checked_mul(ms).filter(|ms| *ms > 0).map(|ms| Duration::from_millis(ms.min(MS_MAX)))
}

/// `5xx`, `gateway-error`, `NNN` and `NNN-MMM`, separated by commas; what is none of these is passed over.
fn statuses(text: &str) -> Vec<RangeInclusive<u16>> {
    let code = |text: &str| text.parse().ok().filter(|code| (100..600).contains(code));
    let range = |text: &str| {
        if text.eq_ignore_ascii_case("5xx") {
            return Some(500..=599);
        }
        if text.eq_ignore_ascii_case("gateway-error") {
            return Some(502..=504);
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (code(first)?, code(last)?);
        (first <= last).then_some(first..=last)
    };
    text.split(',').filter_map(|part| range(part.trim())).collect()
}

fn grpc_codes(text: &str) -> Vec<u16> {
    let code = |text: &str| match text.to_ascii_lowercase().as_str() {
        "cancelled" => Some(1),
        "deadline-exceeded" => Some(4),
        "resource-exhausted" => Some(8),
        "internal" => Some(13),
        "unavailable" => Some(14),
        _ => None,
    };
    text.split(',').filter_map(|part| code(part.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(allows_headers: bool, retry: Option<PolicyRetry>) -> Plan {
        let registry = crate::metrics::Registry::new(Duration::from_secs(1));
        let meta = Meta::default_named("x");
        Plan {
            timeouts: Timeouts { request: Some(Duration::from_secs(9)), ..Timeouts::default() },
            retry,
            budget: None,
            allows_headers,
            retry_stats: RetryStats::new(&registry, &meta, &meta, false),
            mirrors: Vec::new(),
            has_mirrors: false,
            session: None,
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn headers_are_obeyed_and_taken_where_they_are_allowed() {
        let all = [
            ("l5d-timeout", "1s"),
            ("l5d-request-timeout", "250ms"),
            ("l5d-response-timeout", "2m"),
            ("l5d-retry-http", "5XX, 404,400-402, x, 3-1"),
            ("l5d-retry-grpc", "Unavailable,internal,nothing"),
            ("l5d-retry-limit", "7"),
            ("l5d-retry-timeout", "3s"),
            ("other", "1"),
        ];
        let allowing = plan(true, None);
        let mut given = headers(&all);
        let wishes = allowing.wishes(&mut given);
        assert_eq!(given.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["other"]);
        assert_eq!(wishes.timeouts.request, Some(Duration::from_millis(250)));
        assert_eq!(wishes.timeouts.response, Some(Duration::from_secs(120)));
        let expected = PolicyRetry {
            max_retries: 7,
            timeout: Some(Duration::from_secs(3)),
            http_statuses: vec![500..=599, 404..=404, 400..=402],
            grpc_codes: vec![14, 13],
            ..asked_for()
        };
        assert_eq!(wishes.retry.as_deref(), Some(&expected));

        let refusing = plan(false, None);
        let mut given = headers(&all);
        let wishes = refusing.wishes(&mut given);
        assert_eq!(given.len(), all.len(), "they may be meant for another proxy");
        assert_eq!(wishes.timeouts.request, Some(Duration::from_secs(9)));
        assert!(wishes.retry.is_none());
    }

    #[test]
    fn headers_change_what_they_name_of_a_policys_retries() {
        let policy = PolicyRetry { max_retries: 3, http_statuses: vec![502..=502], ..asked_for() };
        let plan = plan(true, Some(policy.clone()));
        let mut given = headers(&[("l5d-retry-limit", "1"), ("l5d-timeout", "soon"), ("l5d-retry-timeout", "0s")]);
        let wishes = plan.wishes(&mut given);
        assert_eq!(wishes.retry.as_deref(), Some(&PolicyRetry { max_retries: 1, ..policy }));
        assert_eq!(wishes.timeouts.request, Some(Duration::from_secs(9)));
        assert!(given.is_empty(), "what cannot be read goes no further either");
    }
}
