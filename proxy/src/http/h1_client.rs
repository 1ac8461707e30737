//! HTTP/1 connections to one peer: kept for a short while after a response, the most recent used first.

use super::{Body, error::Error, headers, send::SendError};
use crate::transport::{connect::Connector, header::Session};
use http::{Method, Request, Response, Version};
use http_body::Body as _;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

pub struct Http1Client {
    idle: Mutex<Vec<(SendRequest<Body>, Instant)>>,
    idle_timeout: Duration,
    idle_max: usize,
}

/// A connection whose response is being read; given back when that has come to its end, closed otherwise.
pub struct Lease {
    sender: SendRequest<Body>,
    pool: Weak<Http1Client>,
}

impl Lease {
    pub fn give_back(self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.put(self.sender);
        }
    }
}

impl Http1Client {
    pub fn new(idle_timeout: Duration, idle_max: usize) -> Arc<Self> {
        Arc::new(Self { idle: Mutex::default(), idle_timeout, idle_max })
    }

    /// Sends a request on an idle connection, or on a new one. The lease comes beside the response.
    pub async fn send(
        self: &Arc<Self>,
        connector: &Connector,
        mut request: Box<Request<Body>>,
    ) -> Result<(Response<Body>, Lease), Box<SendError>> {
        if request.version() == Version::HTTP_2 {
            *request.version_mut() = Version::HTTP_11;
        }
        loop {
            let (mut sender, is_reused) = match self.take() {
                Some(sender) => (sender, true),
                // Boxed: what connecting needs should not make every request's task larger.
                None => match Box::pin(self.connect(connector)).await {
                    Ok(sender) => (sender, false),
                    Err(error) => return Err(SendError::unsent(error, request)),
                },
            };
            if let Err(error) = sender.ready().await {
                if is_reused {
                    continue;
                }
                return Err(SendError::unsent(Error::Upstream(error.into()), request));
            }
            // The peer may close an idle connection just when it is used again. What may be repeated is.
            let again = (is_reused && is_repeatable(&request)).then(|| copy_head(&request));
            match sender.try_send_request(*request).await {
                Ok(response) => {
                    let lease = Lease { sender, pool: Arc::downgrade(self) };
                    return Ok((response.map(Body::hyper), lease));
                }
                Err(mut failed) => {
                    let unsent = failed.take_message().map(Box::new);
                    let error = failed.into_error();
                    request = match (unsent, again) {
                        (Some(request), _) if is_reused => request,
                        (None, Some(request)) if error.is_incomplete_message() || error.is_closed() => request,
                        (unsent, _) => {
                            return Err(Box::new(SendError { error: Error::Upstream(error.into()), request: unsent }));
                        }
                    };
                }
            }
        }
    }

    /// Connects, and keeps the connection for the next request.
    pub async fn connect_now(self: &Arc<Self>, connector: &Connector) -> Result<(), Error> {
        self.put(self.connect(connector).await?);
        Ok(())
    }

    async fn connect(&self, connector: &Connector) -> Result<SendRequest<Body>, Error> {
        let stream = connector.connect(Some(Session::Http1)).await.map_err(Error::Connect)?;
        let (sender, connection) = hyper::client::conn::http1::Builder::new()
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Error::Upstream(error.into()))?;
        tokio::spawn(async move {
            // Its requests are told of an error, and nobody else is concerned.
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }

    fn take(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.lock();
        loop {
            let (sender, since) = idle.pop()?;
            if !sender.is_closed() && since.elapsed() < self.idle_timeout {
                return Some(sender);
            }
        }
    }

    fn put(self: &Arc<Self>, sender: SendRequest<Body>) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.lock();
        if idle.len() >= self.idle_max {
            return;
        }
        idle.push((sender, Instant::now()));
        if idle.len() == 1 {
            tokio::spawn(close_idle(Arc::downgrade(self), self.idle_timeout));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(SendRequest<Body>, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs while there are idle connections.
async fn close_idle(pool: Weak<Http1Client>, timeout: Duration) {
    loop {
        tokio::time::sleep(timeout).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.lock();
        // The oldest are in front.
        let expired = idle.partition_point(|(_, since)| since.elapsed() >= timeout);
        drop(idle.drain(..expired));
        if idle.is_empty() {
            // With the lock held, so that the next connection given back starts the next run.
            idle.shrink_to_fit();
            return;
        }
    }
}

fn is_repeatable(request: &Request<Body>) -> bool {
    let method = request.method();
    request.body().is_end_stream() && (method.is_idempotent() || method == Method::OPTIONS) && !has_upgrade(request)
}

fn has_upgrade(request: &Request<Body>) -> bool {
    request.headers().contains_key(http::header::UPGRADE)
}

/// The same request without its body.
pub fn copy_head(request: &Request<Body>) -> Box<Request<Body>> {
    let mut copy = Box::new(Request::new(Body::empty()));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// Puts a request into the form that an HTTP/1 server expects.
pub fn prepare(request: &mut Request<Body>, is_absolute_form: bool) {
    if !is_absolute_form {
        headers::to_origin_form(request);
    }
}
