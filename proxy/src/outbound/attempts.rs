//! A request of a rule that has a plan: sent again where that is asked for and can help, within the rule's times, to the
//! endpoint of its session.

use super::{
    endpoint::HttpEndpoint,
    http::{Answered, Exchange},
    plan::{Plan, REPLAY_BYTES, RETRIES_MAX},
    router::HttpBackend,
    session::{Bound, Session},
};
use crate::{
    balance::Picked,
    control::model::outbound::PolicyRetry,
    http::{
        Body, Error, filters,
        h1_client::copy_head,
        retry_after::retry_after,
        tape::{Held, Tape},
        timeouts::{Limits, TimedOut, Watchdog},
        upgrade::Upgrade,
    },
    metrics::Counter,
};
use http::{HeaderMap, Request, Response};
use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    task::Poll,
    time::Duration,
};
use tokio::time::Instant;

/// A server that asks to be spared for longer gets no retry: the application learns of it sooner.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// What an attempt is made with, besides its request.
struct Attempt<'a> {
    bound: Option<Bound>,
    limits: Limits,
    /// Whether a gRPC response has to be looked into.
    is_peeked: bool,
    /// None where nothing of the body is kept.
    tape: Option<&'a Tape>,
    is_first: bool,
    /// The endpoint that answered the one before.
    failed: Option<SocketAddr>,
}

/// What came of an attempt, and what is known of it before the response goes on.
struct Outcome<'a> {
    result: Result<Answered<'a>, Error>,
    trailers: Option<HeaderMap>,
}

impl<'a> Exchange<'a> {
    /// Boxed by its caller, so that requests without a plan have no part in its size.
    pub(super) async fn run_planned(
        &self,
        plan: &'a Plan,
        mut request: Box<Request<Body>>,
        mut upgrade: Option<Upgrade>,
    ) -> Result<Response<Body>, Error> {
        let wishes = plan.wishes(request.headers_mut());
        filters::apply_request(&self.policy.filters, &mut request, self.found.prefix_len)
            .inspect_err(|error| self.count_failed_stream(error))?;
        let retry = wishes.retry.as_deref().filter(|_| !self.asked.is_upgrade);
        let budget = plan.budget.as_ref().filter(|_| !self.asked.is_upgrade);
        let bound = plan.session.as_ref().and_then(|session| session.read(request.headers()));
        let bytes_max = retry.map_or(REPLAY_BYTES, |retry| retry.max_request_bytes);
        let is_kept = retry.is_some() || budget.is_some() || plan.has_mirrors;
        let tape = is_kept.then(|| Tape::record(request.body_mut(), bytes_max)).flatten();
        // Nobody would take part in what a copy of an upgrade leads to.
        for mirror in plan.mirrors.iter().filter(|_| !self.asked.is_upgrade) {
            mirror.copy(&request, tape.as_ref(), self.asked);
        }

        let started = Instant::from_std(self.started);
        let limits = Limits {
            request: wishes.timeouts.request.map(|time| started + time),
            profile: wishes.timeouts.profile.map(|time| started + time),
            response: wishes.timeouts.response,
            headers: None,
            idle: wishes.timeouts.idle,
        };
        let retries_max = match (retry, budget) {
            (Some(retry), _) => retry.max_retries.min(RETRIES_MAX),
            (None, Some(_)) => RETRIES_MAX,
            (None, None) => 0,
        };
        let (mut done, mut failed) = (0, None);
        loop {
            let again = (done < retries_max && tape.is_some()).then(|| copy_head(&request));
            // The last attempt may take its time: nobody waits to try another.
            let headers = again.as_ref().and_then(|_| retry?.timeout);
            let limits = Limits { headers, ..limits };
            let is_peeked = self.is_grpc && (budget.is_some() || retry.is_some_and(|r| !r.grpc_codes.is_empty()));
            let attempt = Attempt { bound, limits, is_peeked, tape: tape.as_ref(), is_first: done == 0, failed };
            let outcome = self.attempt(plan, attempt, request, upgrade.as_mut()).await;
            failed = outcome.result.as_ref().ok().map(|answered| answered.endpoint);

            let is_failure = match (retry, budget) {
                (Some(retry), _) => self.is_retryable(retry, &outcome),
                (None, Some(_)) => self.is_failure(&outcome),
                (None, None) => false,
            };
            if !is_failure {
                if done > 0 && outcome.result.is_ok() && retry.is_some() {
                    plan.retry_stats.successes.incr();
                }
                if let Some(budgeted) = budget {
                    budgeted.budget.deposit();
                }
                return self.settle_planned(plan, bound, outcome);
            }
            if retry.is_some() && done >= retries_max {
                plan.retry_stats.limit_exceeded.incr();
            }
            let Some((mut next, body)) = again.zip(tape.as_ref().and_then(Tape::replay)) else {
                if let Some(budgeted) = budget {
                    budgeted.budget.deposit();
                }
                return self.settle_planned(plan, bound, outcome);
            };
            if let Some(budgeted) = budget
                && !budgeted.budget.withdraw()
            {
                budgeted.skipped.iter().for_each(Counter::incr);
                return self.settle_planned(plan, bound, outcome);
            }
            let Some(wait) = wait(retry, done, &outcome) else {
                return self.settle_planned(plan, bound, outcome);
            };
            let resumes_at = Instant::now() + wait;
            if [limits.request, limits.profile].into_iter().flatten().any(|deadline| resumes_at >= deadline) {
                // There is no time left: the answer that there is goes before none.
                return self.settle_planned(plan, bound, outcome);
            }
            if !wait.is_zero() {
                tokio::time::sleep_until(resumes_at).await;
            }
            if !self.rule.backends.choose().is_some_and(HttpBackend::can_be_tried) {
                plan.retry_stats.overflow.incr();
                return self.settle_planned(plan, bound, outcome);
            }
            outcome.discard();
            if retry.is_some() {
                plan.retry_stats.requests.incr();
            }
            *next.body_mut() = body;
            request = next;
            done += 1;
        }
    }

    /// One attempt, to the session's endpoint or to one that is chosen for it.
    async fn attempt(
        &self,
        plan: &'a Plan,
        attempt: Attempt<'_>,
        mut request: Box<Request<Body>>,
        upgrade: Option<&mut Upgrade>,
    ) -> Outcome<'a> {
        let Attempt { bound, limits, is_peeked, tape, is_first, failed } = attempt;
        let found = bound.filter(|_| plan.session.is_some()).and_then(|b| Session::find(b, self.rule.backends.iter()));
        let (backend, picked): (_, Option<Picked<HttpEndpoint>>) = match found {
            Some((backend, picked)) => (backend, Some(picked)),
            None => match self.choose().await {
                // What has just failed is not the place to try again, however quick it is to fail.
                Some(backend) if backend.hash.is_none() => {
                    (backend, failed.and_then(|endpoint| backend.to.pick_other(endpoint)))
                }
                Some(backend) => (backend, None),
                None => return Error::NoBackend.into(),
            },
        };
        if let Err(error) = filters::apply_request(&backend.filters, &mut request, self.found.prefix_len) {
            return error.into();
        }
        for mirror in backend.mirrors.iter().filter(|_| is_first && !self.asked.is_upgrade) {
            mirror.copy(&request, tape, self.asked);
        }
        let mut watchdog = Watchdog::new(limits, self.upload.clone());
        let sending = self.send(backend, picked, request, upgrade);
        let mut answered = match watched(&mut watchdog, sending).await {
            Ok(Ok(answered)) => answered,
            // Counted for the backend by now.
            Ok(Err(error)) => return error.into(),
            Err(why) => {
                let error = Error::TimedOut(why);
                self.count_failed_attempt(backend, &error, Instant::now().into_std());
                self.blame_endpoint();
                return error.into();
            }
        };
        let mut watchdog = watchdog.and_then(Watchdog::past_headers);
        let mut trailers = None;
        if is_peeked && answered.tracker.grpc_status.is_none() && !answered.tracker.classifier.is_decided() {
            let body = std::mem::take(answered.response.body_mut());
            match watched(&mut watchdog, Held::peek(body)).await {
                Ok((body, found)) => {
                    *answered.response.body_mut() = body;
                    trailers = found;
                }
                Err(why) => {
                    let error = Error::TimedOut(why);
                    answered.tracker.leave_stream();
                    answered.tracker.fail(&crate::http::BodyError::TimedOut(why));
                    return error.into();
                }
            }
        }
        answered.tracker.watchdog = watchdog;
        Outcome { result: Ok(answered), trailers }
    }

    /// Whether a policy has the request sent again after this.
    fn is_retryable(&self, retry: &PolicyRetry, outcome: &Outcome<'_>) -> bool {
        let asks_for = |status: u16| retry.http_statuses.iter().any(|range| range.contains(&status));
        let asks_for_code = |code: Option<u16>| code.is_some_and(|code| retry.grpc_codes.contains(&code));
        match &outcome.result {
            Ok(answered) => {
                asks_for(answered.response.status().as_u16()) || self.is_grpc && asks_for_code(outcome.grpc_status())
            }
            // Nobody has worked on these.
            Err(Error::FailFast | Error::TimedOut(TimedOut::Headers)) => true,
            Err(Error::Upstream(error)) if error.reason() == Some(h2::Reason::REFUSED_STREAM) => true,
            Err(Error::Upstream(error)) if error.is_reset() => false,
            Err(error @ (Error::Connect(_) | Error::Upstream(_))) => {
                let (status, code) = error.statuses();
                if self.is_grpc { asks_for_code(Some(code)) } else { asks_for(status) }
            }
            Err(_) => false,
        }
    }

    /// Whether a ServiceProfile counts it as a failure of the server.
    fn is_failure(&self, outcome: &Outcome<'_>) -> bool {
        match &outcome.result {
            // A gRPC response that goes on has not failed yet.
            Ok(answered) => !answered.tracker.classifier.end(outcome.grpc_status()).is_success,
            Err(error @ (Error::Connect(_) | Error::Upstream(_))) => {
                error.reset().is_none() && !self.answer_to(error).1.is_success
            }
            Err(_) => false,
        }
    }

    fn settle_planned(&self, plan: &Plan, bound: Option<Bound>, outcome: Outcome<'_>) -> Result<Response<Body>, Error> {
        let (backend, endpoint) = match &outcome.result {
            Ok(answered) => (answered.backend, answered.endpoint),
            Err(error) => {
                self.count_failed_stream(error);
                return Err(outcome.result.err().unwrap_or(Error::NoBackend));
            }
        };
        let mut response = self.settle(outcome.result?);
        if let Some(session) = &plan.session {
            session.write(bound, backend, endpoint, response.headers_mut());
        }
        Ok(response)
    }
}

impl Outcome<'_> {
    fn grpc_status(&self) -> Option<u16> {
        let answered = self.result.as_ref().ok()?;
        answered.tracker.grpc_status.or_else(|| crate::http::classify::grpc_status(self.trailers.as_ref()?))
    }

    fn discard(self) {
        if let Ok(answered) = self.result {
            answered.tracker.discard(self.trailers.as_ref());
        }
    }
}

impl From<Error> for Outcome<'_> {
    fn from(error: Error) -> Self {
        Self { result: Err(error), trailers: None }
    }
}

/// How long to wait before the next attempt; None where the server wants none, or asks for too long a time.
fn wait(retry: Option<&PolicyRetry>, done: u32, outcome: &Outcome<'_>) -> Option<Duration> {
    let Some(backoff) = retry.and_then(|retry| retry.backoff) else { return Some(Duration::ZERO) };
    let wait = backoff.delay(done);
    if !backoff.respect_retry_after {
        return Some(wait);
    }
    let headers = outcome.result.as_ref().ok().map(|answered| answered.response.headers());
    for headers in headers.into_iter().chain(outcome.trailers.as_ref()) {
        match retry_after(headers) {
            Some(asked) if asked > RETRY_AFTER_MAX => return None,
            Some(asked) => return Some(wait.max(asked)),
            // What is below zero is no time.
            None if headers.contains_key("grpc-retry-pushback-ms") => return None,
            None => {}
        }
    }
    Some(wait)
}

async fn watched<T>(watchdog: &mut Option<Box<Watchdog>>, work: impl Future<Output = T>) -> Result<T, TimedOut> {
    let mut work = pin!(work);
    poll_fn(|cx| match (work.as_mut().poll(cx), watchdog.as_mut()) {
        (Poll::Ready(done), _) => Poll::Ready(Ok(done)),
        (Poll::Pending, Some(watchdog)) => watchdog.poll(cx).map(Err),
        (Poll::Pending, None) => Poll::Pending,
    })
    .await
}
