//! Finds out that an HTTP/2 peer is gone, by PING, and that a connection is no longer used. One timer per connection.

use h2::{Ping, PingPong};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

/// How often idleness is looked at where no PING sets the pace.
const TICK: Duration = Duration::from_secs(60);

pub struct KeepAlive {
    ping: Option<(PingPong, Duration)>,
    /// Ping although there is no stream.
    pings_idle: bool,
    tick: Duration,
    timer: Pin<Box<Sleep>>,
    awaits_pong: bool,
    idle_timeout: Duration,
    last_used: Instant,
    was_used: bool,
    is_idle: bool,
}

impl KeepAlive {
    /// `ping` is interval, timeout, and whether to ping without streams.
    pub fn new(ping_pong: Option<PingPong>, ping: Option<(Duration, Duration, bool)>, idle_timeout: Duration) -> Self {
        let tick = ping.map_or(TICK, |(interval, ..)| interval).max(Duration::from_millis(10)).min(idle_timeout);
        Self {
            ping: ping_pong.zip(ping.map(|(_, timeout, _)| timeout)),
            pings_idle: ping.is_some_and(|(.., idle)| idle),
            tick,
            timer: Box::pin(sleep(tick)),
            awaits_pong: false,
            idle_timeout,
            last_used: Instant::now(),
            was_used: false,
            is_idle: false,
        }
    }

    /// Ready when the connection is to end: the peer is dead, or nothing has used it for long.
    pub fn poll(&mut self, cx: &mut Context<'_>, is_used: bool) -> Poll<()> {
        self.was_used |= is_used;
        loop {
            if self.awaits_pong
                && let Some((ping, _)) = &mut self.ping
            {
                match ping.poll_pong(cx) {
                    Poll::Ready(Ok(_)) => {
                        self.awaits_pong = false;
                        self.timer.as_mut().reset(Instant::now() + self.tick);
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if self.awaits_pong {
                return Poll::Ready(());
            }
            let now = Instant::now();
            let was_used = std::mem::replace(&mut self.was_used, is_used);
            if was_used {
                self.last_used = now;
            } else if now - self.last_used >= self.idle_timeout {
                self.is_idle = true;
                return Poll::Ready(());
            }
            match &mut self.ping {
                Some((ping, timeout)) if was_used || self.pings_idle => {
                    if ping.send_ping(Ping::opaque()).is_err() {
                        return Poll::Ready(());
                    }
                    self.awaits_pong = true;
                    self.timer.as_mut().reset(now + *timeout);
                }
                _ => self.timer.as_mut().reset(now + self.tick),
            }
        }
    }

    /// Whether the end was for want of use.
    pub fn is_idle(&self) -> bool {
        self.is_idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    const IDLE: Duration = Duration::from_secs(300);

    #[tokio::test(start_paused = true)]
    async fn ends_a_connection_that_nobody_uses() {
        let mut keep_alive = KeepAlive::new(None, None, IDLE);
        let started = Instant::now();
        // Used for the first ten minutes.
        let used = Duration::from_secs(600);
        poll_fn(|cx| keep_alive.poll(cx, started.elapsed() < used)).await;
        assert!(keep_alive.is_idle());
        assert!((IDLE..=IDLE + 2 * TICK).contains(&(started.elapsed() - used)), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn ends_a_connection_whose_peer_answers_no_ping() {
        let (io, _peer) = tokio::io::duplex(1024);
        let (_sender, mut connection) = h2::client::handshake(io).await.unwrap();
        let (interval, timeout) = (Duration::from_secs(10), Duration::from_secs(3));
        let mut keep_alive = KeepAlive::new(connection.ping_pong(), Some((interval, timeout, true)), IDLE);
        let started = Instant::now();
        poll_fn(|cx| keep_alive.poll(cx, false)).await;
        assert!(!keep_alive.is_idle());
        assert_eq!(started.elapsed().as_secs(), 13);
    }
}
