//! One address of the application: its policy, the connections to it, and the counters of those who come to it.

use super::{
    client::Tls,
    context::Context,
    metrics::{self, RouteCounters},
    patience::Patience,
    rate_limit::{RateLimiter, RateLimiters},
};
use crate::{
    control::model::{
        endpoint::Http2Params,
        inbound::{Authz, RateLimit, ServerPolicy},
        outbound::Backoff,
    },
    http::{Body, Error, h1_client::Http1Client, h2_client::Http2Client, permission::Changes, send::SendError},
    metrics::Registry,
    transport::{connect::Connector, sensor::TransportMetrics},
};
use http::{Request, Response};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tokio::{sync::watch, task::AbortHandle};

/// How many kinds of client an address keeps counters at hand for; others cost look-ups when they connect.
const CLASSES_MAX: usize = 256;

pub struct App {
    pub addr: SocketAddr,
    pub policy: watch::Receiver<Arc<ServerPolicy>>,
    /// Those of the policy, as this worker has noticed them.
    pub changes: Arc<Changes>,
    noticing: AbortHandle,
    pub connector: Arc<Connector>,
    pub http1: Arc<Http1Client>,
    http2: Arc<Http2Client>,
    patience: Patience,
    backoff: Backoff,
    registry: Registry,
    has_authority_labels: bool,
    classes: Mutex<Vec<Arc<Class>>>,
    limiters: RateLimiters,
    /// The one that this worker used last.
    limiter: Mutex<Option<Arc<RateLimiter>>>,
}

/// Connections that are counted together: same policy, same client identity.
pub struct Class {
    pub policy: Arc<ServerPolicy>,
    pub transport: Arc<TransportMetrics>,
    tls: Tls,
    addr: SocketAddr,
    registry: Registry,
    has_authority_labels: bool,
    routes: Mutex<HashMap<RouteKey, Arc<RouteCounters>>>,
}

/// Route, rule, and the address of the authorization in the policy, which the class keeps alive.
type RouteKey = (usize, usize, usize);

impl App {
    pub fn new(context: &Context, addr: SocketAddr) -> Arc<Self> {
        let direction = context.direction();
        let windows = context.config.control.http2_client;
        let policy = context.control.inbound(addr.port());
        let changes = Arc::<Changes>::default();
        Arc::new(Self {
            addr,
            noticing: tokio::spawn(notice(policy.clone(), changes.clone())).abort_handle(),
            policy,
            changes,
            connector: Arc::new(Connector {
                addr,
                timeout: direction.connect_timeout,
                options: direction.connect,
                tls: None,
                hides_session: true,
                metrics: metrics::connect(&context.metrics),
            }),
            http1: Http1Client::new(direction.http1_idle_timeout, direction.max_idle_connections),
            http2: Http2Client::new(Http2Params::default(), (windows.stream_window, windows.connection_window)),
            patience: Patience::new(direction.http_queue.failfast_timeout),
            backoff: direction.connect_backoff,
            registry: context.metrics.clone(),
            has_authority_labels: context.config.inbound.has_authority_labels,
            classes: Mutex::default(),
            limiters: context.limiters.clone(),
            limiter: Mutex::default(),
        })
    }

    /// Sends a request to an application that speaks HTTP/2, once that listens.
    pub async fn send_http2(&self, mut request: Box<Request<Body>>) -> Result<Response<Body>, Box<SendError>> {
        let mut attempts = 0;
        loop {
            let failed = match self.http2.send(&self.connector, request).await {
                Ok(response) => {
                    self.patience.found();
                    return Ok(response);
                }
                Err(failed) => failed,
            };
            match *failed {
                SendError { error: Error::Connect(error), request: Some(unsent) }
                    if !error.is_timeout() && self.patience.waits(Instant::now()) =>
                {
                    request = unsent;
                    // Boxed: waiting should not make every request's task larger.
                    Box::pin(tokio::time::sleep(self.backoff.delay(attempts))).await;
                    attempts += 1;
                }
                failed => return Err(Box::new(failed)),
            }
        }
    }

    pub fn policy(&self) -> Arc<ServerPolicy> {
        self.policy.borrow().clone()
    }

    /// The counters of a client under the current policy.
    pub fn class(&self, tls: &Tls) -> Arc<Class> {
        let policy = self.policy.borrow().clone();
        let mut classes = lock(&self.classes);
        if let Some(class) = classes.iter().find(|c| c.tls == *tls && Arc::ptr_eq(&c.policy, &policy)) {
            return class.clone();
        }
        classes.retain(|class| Arc::ptr_eq(&class.policy, &policy));
        if classes.len() >= CLASSES_MAX {
            classes.remove(0);
        }
        let class = Arc::new(Class {
            transport: metrics::accept(&self.registry, self.addr, tls, &policy),
            policy,
            tls: tls.clone(),
            addr: self.addr,
            registry: self.registry.clone(),
            has_authority_labels: self.has_authority_labels,
            routes: Mutex::default(),
        });
        classes.push(class.clone());
        class
    }

    /// The limiter of a rate limit, which other workers use too.
    pub fn limiter(&self, limit: &Arc<RateLimit>) -> Arc<RateLimiter> {
        let mut known = lock(&self.limiter);
        if let Some(limiter) = known.as_ref().filter(|l| l.is_for(limit)) {
            return limiter.clone();
        }
        let limiter = self.limiters.get(self.addr, limit);
        *known = Some(limiter.clone());
        limiter
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.noticing.abort();
    }
}

async fn notice(mut policy: watch::Receiver<Arc<ServerPolicy>>, changes: Arc<Changes>) {
    while policy.changed().await.is_ok() {
        changes.announce();
    }
}

impl Class {
    /// The counters of a route's rule under one authorization.
    pub fn route(&self, route: usize, rule: usize, authz: &Authz) -> Option<Arc<RouteCounters>> {
        let key = (route, rule, std::ptr::from_ref(authz) as usize);
        let mut routes = lock(&self.routes);
        if let Some(counters) = routes.get(&key) {
            return Some(counters.clone());
        }
        let http = self.policy.http()?;
        let of = http.routes.get(route)?;
        let policy = &of.rules.get(rule)?.policy;
        let Self { registry, addr, tls, policy: server, has_authority_labels, .. } = self;
        let counters = metrics::route(registry, *addr, tls, server, (&of.meta, policy), authz, *has_authority_labels);
        routes.insert(key, counters.clone());
        Some(counters)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
