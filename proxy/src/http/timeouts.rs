//! The times that a route gives its requests, watched from the beginning of an attempt to the end of its response.

use super::stats::Upload;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// Which time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimedOut {
    /// That of the whole stream, from the beginning of the request.
    Request,
    /// That from the end of the request to the end of the response.
    Response,
    /// That from the end of the request to the headers of the response.
    Headers,
    /// That without a frame in either direction.
    Idle,
    /// A ServiceProfile's, from the beginning of the request to the headers of the response.
    Profile,
}

/// What an attempt is given; none of it is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub request: Option<Instant>,
    pub profile: Option<Instant>,
    pub response: Option<Duration>,
    pub headers: Option<Duration>,
    pub idle: Option<Duration>,
}

pub struct Watchdog {
    limits: Limits,
    started: Instant,
    /// None when the request had no body.
    upload: Option<Arc<Upload>>,
    /// When there last was something of the response.
    last: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl TimedOut {
    /// The `error` label of route families.
    pub fn label(self) -> &'static str {
        match self {
            Self::Request => "REQUEST_TIMEOUT",
            Self::Response => "RESPONSE_STREAM_TIMEOUT",
            Self::Headers | Self::Profile => "RESPONSE_HEADERS_TIMEOUT",
            Self::Idle => "IDLE_TIMEOUT",
        }
    }
}

impl std::fmt::Display for TimedOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Request => "request timeout",
            Self::Response => "response timeout",
            Self::Headers => "response headers timeout",
            Self::Idle => "idle timeout",
            Self::Profile => "route timeout",
        })
    }
}

impl Watchdog {
    /// None without a limit.
    pub fn new(limits: Limits, upload: Option<Arc<Upload>>) -> Option<Box<Self>> {
        let now = Instant::now();
        let mut watchdog =
            Self { limits, started: now, upload, last: now, sleep: Box::pin(tokio::time::sleep_until(now)) };
        let at = watchdog.next(now).unwrap_or(Some(now))?;
        watchdog.sleep.as_mut().reset(at);
        Some(Box::new(watchdog))
    }

    /// What is left to watch once the headers of the response are there.
    pub fn past_headers(mut self: Box<Self>) -> Option<Box<Self>> {
        self.limits = Limits { headers: None, profile: None, ..self.limits };
        self.last = Instant::now();
        let Limits { request, response, idle, .. } = self.limits;
        (request.is_some() || response.is_some() || idle.is_some()).then_some(self)
    }

    /// Notes something of the response; says whether time is over all the same.
    pub fn touch(&mut self) -> Option<TimedOut> {
        self.last = Instant::now();
        self.next(self.last).err()
    }

    /// Ready once a time is over. Registers the task for the next moment at which that may be so.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TimedOut> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            match self.next(Instant::now()) {
                Err(why) => return Poll::Ready(why),
                Ok(None) => return Poll::Pending,
                Ok(Some(at)) => self.sleep.as_mut().reset(at),
            }
        }
    }

    /// When to look again: no later than the first moment at which one of the times can be over.
    fn next(&self, now: Instant) -> Result<Option<Instant>, TimedOut> {
        let Limits { request, profile, response, headers, idle } = self.limits;
        // A request that goes on will not have ended for any of these times before they are over.
        let request_end = match &self.upload {
            None => self.started,
            Some(upload) => upload.ended().map_or(now, |ended| ended.max(self.started)),
        };
        let moved = self.upload.as_ref().and_then(|upload| upload.moved()).map_or(self.last, |m| m.max(self.last));
        let after = |from: Instant, time: Option<Duration>| time.map(|time| from + time);
        let all = [
            (request, TimedOut::Request),
            (profile, TimedOut::Profile),
            (after(request_end, headers), TimedOut::Headers),
            (after(request_end, response), TimedOut::Response),
            (after(moved, idle), TimedOut::Idle),
        ];
        let (at, which) = match all.into_iter().filter_map(|(at, which)| Some((at?, which))).min_by_key(|(at, _)| *at) {
            Some(first) => first,
            None => return Ok(None),
        };
        if at <= now { Err(which) } else { Ok(Some(at)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    async fn over(watchdog: &mut Watchdog) -> (TimedOut, Duration) {
        let why = poll_fn(|cx| watchdog.poll(cx)).await;
        (why, watchdog.started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_time_to_be_over_counts() {
        let now = Instant::now();
        let limits = Limits { request: Some(now + ms(50)), response: Some(ms(40)), ..Limits::default() };
        let mut watchdog = Watchdog::new(limits, None).unwrap();
        assert_eq!(over(&mut watchdog).await, (TimedOut::Response, ms(40)));
        let mut watchdog = Watchdog::new(Limits { headers: Some(ms(5)), ..limits }, None).unwrap();
        assert_eq!(over(&mut watchdog).await.0, TimedOut::Headers);
        assert!(Watchdog::new(Limits::default(), None).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_is_timed_from_the_end_of_its_request() {
        let upload = Upload::for_test();
        let limits = Limits { response: Some(ms(40)), ..Limits::default() };
        let mut watchdog = Watchdog::new(limits, Some(upload.clone())).unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(ms(95)).await;
            upload.end();
        });
        assert_eq!(over(&mut watchdog).await, (TimedOut::Response, ms(135)));
    }

    #[tokio::test(start_paused = true)]
    async fn frames_in_either_direction_keep_a_stream_from_being_idle() {
        let upload = Upload::for_test();
        let mut watchdog =
            Watchdog::new(Limits { idle: Some(ms(40)), ..Limits::default() }, Some(upload.clone())).unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(ms(30)).await;
            upload.data(1);
        });
        tokio::time::sleep(ms(10)).await;
        assert_eq!(watchdog.touch(), None);
        assert_eq!(over(&mut watchdog).await, (TimedOut::Idle, ms(70)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_headers_time_ends_with_the_headers() {
        let limits = Limits { headers: Some(ms(5)), response: Some(ms(40)), ..Limits::default() };
        let mut watchdog = Watchdog::new(limits, None).unwrap().past_headers().unwrap();
        assert_eq!(over(&mut watchdog).await, (TimedOut::Response, ms(40)));
        let limits = Limits { headers: Some(ms(5)), ..Limits::default() };
        assert!(Watchdog::new(limits, None).unwrap().past_headers().is_none());
    }
}
