//! One request of the application: limits, route, filters, backend, endpoint, and the answer when any of these fails.

use super::{
    endpoint::{Asked, HttpEndpoint, Sent},
    hash_key::hash_key,
    ingress,
    router::{HttpBackend, HttpRoutes, HttpRule},
    target::{Target, Worker},
};
use crate::{
    balance::{Outcome, Pending, Permit, PickError, Picked},
    control::model::{
        outbound::{HttpPolicy, Protocol},
        route::{self, Found},
    },
    drain,
    http::{
        Body, Error,
        classify::{Broken, Class, Classifier, grpc_status, is_grpc},
        error::Asker,
        filters, headers,
        server::Service,
        stats::{StreamStats, Upload},
        track::Tracker,
        upgrade::{self, Upgrade},
    },
    transport::detect::HttpVersion,
};
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// How often a request is sent again that a peer refused unseen.
const UNSEEN_RETRIES_MAX: u32 = 3;

/// Serves one connection of the application.
pub struct HttpService {
    worker: Arc<Worker>,
    target: Arc<Target>,
    version: HttpVersion,
    client: IpAddr,
    drain: drain::Watch,
}

/// What a request is about, besides its head.
pub(super) struct Exchange<'a> {
    pub asked: Asked,
    pub is_grpc: bool,
    pub started: Instant,
    pub policy: &'a HttpPolicy,
    pub rule: &'a HttpRule,
    pub stats: Cow<'a, Arc<StreamStats>>,
    pub found: Found,
    /// None when the request has no body.
    pub upload: Option<Arc<Upload>>,
    /// The application's address.
    client: IpAddr,
    /// The leave of the endpoint that is being asked, where it has a breaker.
    asking: Mutex<Option<Permit>>,
}

/// An endpoint's response, which is not the application's yet.
pub(super) struct Answered<'a> {
    pub response: Response<Body>,
    pub tracker: Box<Tracker>,
    pub backend: &'a HttpBackend,
    pub endpoint: SocketAddr,
}

impl HttpService {
    pub fn new(
        worker: Arc<Worker>,
        target: Arc<Target>,
        version: HttpVersion,
        client: IpAddr,
        drain: drain::Watch,
    ) -> Self {
        Self { worker, target, version, client, drain }
    }

    pub(super) async fn handle(&self, mut request: Box<Request<Body>>, is_grpc: bool) -> Result<Response<Body>, Error> {
        let started = Instant::now();
        let permit = self.worker.context.in_flight.acquire().ok_or(Error::LoadShed)?;
        let is_upgrade = upgrade::requested(&mut request).map_err(Error::BadRequest)?;
        let upgrade = is_upgrade.then(|| Upgrade::new(&mut request, self.drain.clone()));
        let version = request.version();
        let is_absolute_form = match version {
            // A CONNECT's authority is its whole target.
            Version::HTTP_2 => false,
            _ if is_upgrade && request.method() == http::Method::CONNECT => true,
            _ => headers::normalize_uri(&mut request).map_err(Error::BadRequest)?,
        };
        if !is_upgrade {
            headers::strip_connection(request.headers_mut());
        }
        let asked = Asked { version, is_absolute_form, is_upgrade };

        let router = self.target.router();
        let routes = router.http(&self.worker, self.version).ok_or_else(|| match &router.policy.protocol {
            Protocol::Invalid(reason) => Error::InvalidPolicy(reason.as_ref().into()),
            _ => Error::InvalidPolicy("the destination's protocol has changed".into()),
        })?;
        let (found, policy, rule) = find(routes, &request).ok_or(Error::NoRoute)?;
        if routes.is_profile
            && let Some(logical) = router.policy.logical.as_deref().and_then(|l| HeaderValue::from_str(l).ok())
        {
            request.headers_mut().insert(headers::L5D_DST_CANONICAL.clone(), logical);
        }
        let stats = rule.stats.of(request.uri());
        let upload = Upload::of(request.body_mut(), &stats, rule.watches_progress());
        let exchange = Exchange {
            asked,
            is_grpc,
            started,
            policy,
            rule,
            stats,
            found,
            upload,
            client: self.client,
            asking: Mutex::default(),
        };
        if let Some(profile) = &rule.profile {
            profile.effective.request();
        }
        let response = exchange.run(request, upgrade).await;
        drop(permit);
        response
    }
}

impl Service for HttpService {
    async fn call(&self, mut request: Box<Request<Body>>) -> Result<Response<Body>, h2::Reason> {
        if self.worker.context.config.outbound.is_ingress
            && let Some(named) = ingress::take_override(&mut request)
        {
            // Boxed: what few proxies do should not make every request's task larger.
            return Box::pin(self.answer_for(named, request)).await;
        }
        self.answer(request).await
    }
}

impl HttpService {
    /// Answers a request that names its destination itself.
    async fn answer_for(&self, named: HeaderValue, request: Box<Request<Body>>) -> Result<Response<Body>, h2::Reason> {
        match ingress::target(&self.worker, &named).await {
            Ok(target) => {
                let (worker, drain) = (self.worker.clone(), self.drain.clone());
                Self::new(worker, target, self.version, self.client, drain).answer(request).await
            }
            Err(error) => {
                let (version, is_grpc) = (request.version(), self.is_grpc(&request));
                self.refuse(error, version, is_grpc)
            }
        }
    }

    async fn answer(&self, request: Box<Request<Body>>) -> Result<Response<Body>, h2::Reason> {
        let (version, is_grpc) = (request.version(), self.is_grpc(&request));
        match self.handle(request, is_grpc).await {
            Ok(response) => Ok(response),
            Err(error) => self.refuse(error, version, is_grpc),
        }
    }

    fn is_grpc(&self, request: &Request<Body>) -> bool {
        self.version == HttpVersion::Http2 && is_grpc(request.headers())
    }

    fn refuse(&self, error: Error, version: Version, is_grpc: bool) -> Result<Response<Body>, h2::Reason> {
        self.worker.counters.request(&error, self.target.orig_dst);
        let emit_headers = !self.worker.context.config.outbound.hides_informational_headers;
        error.respond(Asker { version, is_grpc, is_carried: false, emit_headers })
    }
}

impl<'a> Exchange<'a> {
    async fn run(
        &self,
        mut request: Box<Request<Body>>,
        mut upgrade: Option<Upgrade>,
    ) -> Result<Response<Body>, Error> {
        if let Some(plan) = &self.rule.plan {
            return Box::pin(self.run_planned(plan, request, upgrade)).await;
        }
        let count = |error: &Error| self.count_failed_stream(error);
        let prefix_len = self.found.prefix_len;
        filters::apply_request(&self.policy.filters, &mut request, prefix_len).inspect_err(count)?;
        let backend = self.choose().await.ok_or(Error::NoBackend).inspect_err(count)?;
        filters::apply_request(&backend.filters, &mut request, prefix_len).inspect_err(count)?;
        let answered = self.send(backend, None, request, upgrade.as_mut()).await.inspect_err(count)?;
        Ok(self.settle(answered))
    }

    /// The endpoint that was asked has not answered in time, unless it was still being asked.
    pub(super) fn blame_endpoint(&self) {
        let is_asked = self.upload.as_ref().is_none_or(|upload| upload.ended().is_some());
        let permit = self.asking.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(permit) = permit.filter(|_| is_asked) {
            permit.end(Outcome::Failure, None);
        }
    }

    /// Sends on the response that the application gets.
    pub(super) fn settle(&self, answered: Answered<'_>) -> Response<Body> {
        let Answered { mut response, tracker, backend, .. } = answered;
        response.body_mut().set_tracker(tracker);
        filters::apply_response(&backend.filters, &mut response);
        filters::apply_response(&self.policy.filters, &mut response);
        response
    }

    /// A backend with endpoints, if that is to be had without waiting for longer than endpoints are waited for.
    pub(super) async fn choose(&self) -> Option<&'a HttpBackend> {
        let backends = &self.rule.backends;
        let backend = backends.choose()?;
        if backends.is_single() || !backend.to.is_pending() {
            return Some(backend);
        }
        // Boxed: what a wait needs should not make every request's task larger.
        Box::pin(backends.wait()).await;
        backends.choose()
    }

    /// Sends the request to an endpoint of a backend, and to another one as long as none has seen it.
    pub(super) async fn send(
        &self,
        backend: &'a HttpBackend,
        mut picked: Option<Picked<HttpEndpoint>>,
        mut request: Box<Request<Body>>,
        mut upgrade: Option<&mut Upgrade>,
    ) -> Result<Answered<'a>, Error> {
        let started = Instant::now();
        backend.requests.incr();
        if let Some(profile) = &self.rule.profile {
            profile.actual.request();
        }
        let fail = |error: Error| {
            self.count_failed_attempt(backend, &error, started);
            Err(error)
        };
        let mut unseen = 0;
        let key = backend.hash.as_ref().and_then(|hash| hash_key(&hash.source, &request, self.client));
        loop {
            let mut picked = match picked.take() {
                Some(picked) => picked,
                None => match backend.to.pick(key, started).await {
                    Ok(Some(picked)) => picked,
                    Ok(None) => return fail(Error::NoBackend),
                    Err(PickError::FailFast) => return fail(Error::FailFast),
                    Err(PickError::Full) => return fail(Error::LoadShed),
                },
            };
            let sent_at = Instant::now();
            let pending = picked.load.begin(sent_at);
            if picked.permit.is_some() {
                *self.asking.lock().unwrap_or_else(PoisonError::into_inner) = picked.permit.take();
            }
            let sent = picked.peer.send(request, self.asked, upgrade.as_deref_mut()).await;
            if picked.has_breaker() {
                picked.permit = self.asking.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
            match sent {
                Ok(sent) => {
                    picked.connected();
                    return Ok(self.finish(backend, picked, sent, pending, sent_at));
                }
                Err(failed) => {
                    let is_connect = matches!(failed.error, Error::Connect(_));
                    if is_connect {
                        picked.failed();
                    }
                    if let (Some(permit), true) = (picked.permit.take(), failed.error.is_endpoints()) {
                        permit.end(Outcome::Failure, None);
                    }
                    match failed.request {
                        Some(again) if is_connect && backend.to.is_balanced() => request = again,
                        Some(again) if !is_connect && unseen < UNSEEN_RETRIES_MAX => {
                            unseen += 1;
                            request = again;
                        }
                        _ => {
                            self.count_failure(&picked.peer, &failed.error, sent_at);
                            return fail(failed.error);
                        }
                    }
                }
            }
        }
    }

    /// A request that an endpoint failed is one of its responses, as the client sees it.
    fn count_failure(&self, endpoint: &HttpEndpoint, error: &Error, started: Instant) {
        endpoint.stats.request();
        match error {
            Error::Upstream(error) if error.reason().is_some() => {
                let class = Class { is_success: false, grpc_status: None, broken: Some(Broken::of(error)) };
                endpoint.stats.response(0, class);
            }
            error => self.count_answer(&endpoint.stats, error, started),
        }
    }

    fn finish(
        &self,
        backend: &'a HttpBackend,
        mut picked: Picked<HttpEndpoint>,
        sent: Sent,
        pending: Pending,
        sent_at: Instant,
    ) -> Answered<'a> {
        let Sent { mut response, lease, closes_client } = sent;
        let status = response.status();
        picked.peer.stats.request();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            headers::strip_connection(response.headers_mut());
        }
        if closes_client && !backend.to.is_balanced() && self.asked.version != Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let code = if self.is_grpc { grpc_status(response.headers()) } else { None };
        let classifier = Classifier::new(self.is_grpc, status, self.policy.profile.as_deref());
        if picked.load.has_penalty() && classifier.is_penalized(code) {
            picked.load.penalize(classifier.hint(response.headers()), Instant::now());
        }
        let mut permit = picked.permit.take();
        match classifier.early_outcome(code) {
            // A body that goes on to its end is still part of a success.
            Some(Outcome::Success) if permit.as_ref().is_none_or(|permit| !permit.is_probe()) => {}
            Some(outcome) => {
                if let Some(permit) = permit.take() {
                    permit.end(outcome, classifier.hint(response.headers()));
                }
            }
            None => {}
        }
        let mut tracker = Tracker::new(sent_at, status.as_u16(), classifier, code);
        tracker.stats = Some(picked.peer.stats.clone());
        tracker.permit = permit;
        if let Some(profile) = &self.rule.profile {
            tracker.routes = [Some(profile.effective.clone()), Some(profile.actual.clone())];
        }
        tracker.streams = [Some(Arc::clone(&self.stats)), Some(backend.stats.clone())];
        tracker.upload = self.upload.clone();
        tracker.pending = Some(pending);
        tracker.lease = lease;
        tracker.rescues_grpc = self.is_grpc;
        tracker.stream_started = self.started;
        Answered { response, tracker: Box::new(tracker), backend, endpoint: picked.addr }
    }
}

fn find<'a>(routes: &'a HttpRoutes, request: &Request<Body>) -> Option<(Found, &'a HttpPolicy, &'a HttpRule)> {
    let found = routes.index.find(&routes.routes, route::Request::new(request))?;
    let policy = &routes.routes.get(found.route)?.rules.get(found.rule)?.policy;
    Some((found, policy, routes.rules.get(found.route)?.get(found.rule)?))
}
