//! One request from a client: route, authorization, filters, rate limit, and the application's answer in the form in
//! which the client asked.

use super::{
    app::{App, Class},
    caller::Caller,
    client::Client,
    context::Worker,
    gateway::Gateway,
    metrics::RouteCounters,
    profiles::Memo,
};
use crate::{
    control::model::{
        PeerId,
        inbound::Protocol,
        route::{self, Found},
    },
    drain,
    http::{
        Body, Error,
        access_log::AccessLog,
        classify::{self, Classifier, grpc_status, is_grpc},
        error::Asker,
        filters, h1_client, headers,
        permission::{Leave, Sending},
        server::Service,
        stats::Upload,
        track::Tracker,
        upgrade::{self, Upgrade},
    },
    transport::detect::HttpVersion,
};
use http::{HeaderValue, Request, Response, Version};
use http_body::Body as _;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// Serves one connection of a client.
pub struct HttpService {
    worker: Arc<Worker>,
    caller: Arc<Caller>,
    client_id: Option<HeaderValue>,
    to: To,
    version: HttpVersion,
    /// The counters under the policy that was in force at the last request.
    class: Mutex<Arc<Class>>,
    profile: Memo,
    /// On HTTP/1.
    sending: Option<Arc<Sending>>,
    drain: drain::Watch,
}

/// Where a connection's requests go.
pub enum To {
    App,
    Gateway(Gateway),
}

/// The form in which a request came.
#[derive(Clone, Copy)]
struct Form {
    version: Version,
    /// HTTP/1 carried over HTTP/2 by another proxy.
    is_carried: bool,
    is_absolute_form: bool,
    is_upgrade: bool,
    is_grpc: bool,
}

impl HttpService {
    pub fn new(
        worker: Arc<Worker>,
        app: Arc<App>,
        client: Client,
        to: To,
        version: HttpVersion,
        drain: drain::Watch,
    ) -> Self {
        let class = Mutex::new(app.class(&client.tls));
        let (registry, client_id) = (worker.context.metrics.clone(), client.id_header());
        let caller = Arc::new(Caller { registry, app, client });
        let sending = (version == HttpVersion::Http1).then(Arc::default);
        Self { worker, caller, client_id, to, version, class, profile: Memo::default(), sending, drain }
    }

    fn class(&self) -> Arc<Class> {
        let mut class = self.class.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&class.policy, &self.caller.app.policy.borrow()) {
            *class = self.caller.app.class(&self.caller.client.tls);
        }
        class.clone()
    }

    async fn handle(&self, mut request: Box<Request<Body>>, form: &mut Form) -> Result<Response<Body>, Error> {
        let started = Instant::now();
        let permit = self.worker.context.in_flight.acquire().ok_or(Error::LoadShed)?;
        form.is_upgrade = upgrade::requested(&mut request).map_err(Error::BadRequest)?;
        let is_connect = request.method() == http::Method::CONNECT;
        if form.version != Version::HTTP_2 && !is_connect {
            let had_authority = headers::normalize_uri(&mut request).map_err(Error::BadRequest)?;
            form.is_absolute_form |= had_authority && !form.is_carried;
        }
        let request_headers = request.headers_mut();
        match form.is_upgrade {
            true => headers::strip_all_but_upgrade(request_headers),
            false => headers::strip_connection(request_headers),
        }
        request_headers.remove(&headers::L5D_CLIENT_ID);
        if let Some(id) = &self.client_id {
            request_headers.insert(headers::L5D_CLIENT_ID.clone(), id.clone());
        }

        let changes = self.caller.app.changes.number();
        let class = self.class();
        let (counters, found) = self.authorize(&class, &request)?;
        let mut permission = self.caller.permission(&request, &class.policy, changes);
        if form.is_upgrade {
            request.extensions_mut().insert(permission.clone());
        }
        let policy = class.policy.http().and_then(|h| Some(&h.routes.get(found.route)?.rules.get(found.rule)?.policy));
        let filters = policy.map_or(&[][..], |p| &p.filters);
        filters::apply_request(filters, &mut request, found.prefix_len)?;
        if let Some(limit) = class.policy.http().and_then(|h| h.rate_limit.as_ref())
            && let Err(scope) = self.caller.app.limiter(limit).admit(self.caller.client.id(), started)
        {
            self.caller.events(&class.policy).http_rate_limited(&self.caller.client, &limit.meta, scope);
            return Err(Error::RateLimited);
        }
        let answer = permission.hold(async {
            match &self.to {
                To::App => self.send(request, form, &counters, started).await,
                To::Gateway(gateway) => {
                    let mut response =
                        gateway.send(request, form.is_absolute_form, form.is_grpc, self.drain.clone()).await?;
                    if form.is_carried {
                        headers::carry_response(&mut response);
                    }
                    Ok(response)
                }
            }
        });
        let mut response = answer.await.unwrap_or(Err(Error::Unauthorized))?;
        drop(permit);
        if !response.body().is_end_stream() {
            response.body_mut().set_permission(Leave::new(permission, self.sending.as_ref()));
        }
        filters::apply_response(filters, &mut response);
        Ok(response)
    }

    fn authorize(&self, class: &Class, request: &Request<Body>) -> Result<(Arc<RouteCounters>, Found), Error> {
        let events = self.caller.events(&class.policy);
        let http = match &class.policy.protocol {
            Protocol::Invalid(reason) => return Err(Error::InvalidPolicy(reason.clone())),
            _ => class.policy.http(),
        };
        let Some(http) = http else {
            // The port has stopped being HTTP, so connections that began as such have no route any more.
            events.http_no_route(&self.caller.client);
            return Err(Error::NoRoute);
        };
        let Some((found, rule)) = http.find(route::Request::new(request)) else {
            events.http_no_route(&self.caller.client);
            return Err(Error::NoRoute);
        };
        let Some(authz) = rule.check(self.caller.client.addr.ip(), self.caller.client.tls()) else {
            events.http_denied(&self.caller.client, rule);
            return Err(Error::Unauthorized);
        };
        if authz.is_audit() {
            events.http_audited(&self.caller.client, rule, authz);
        }
        let counters = class.route(found.route, found.rule, authz).ok_or(Error::NoRoute)?;
        counters.allowed.incr();
        Ok((counters, found))
    }

    /// Sends a request to the application in the form that it was given at the beginning of its way.
    async fn send(
        &self,
        mut request: Box<Request<Body>>,
        form: &Form,
        counters: &Arc<RouteCounters>,
        started: Instant,
    ) -> Result<Response<Body>, Error> {
        let (worker, is_meshed) = (&self.worker, self.caller.client.id().is_some());
        let profile = worker.profiles.find(&worker.context, &self.profile, &request, is_meshed).await;
        let stats = counters.requests_for(request.uri());
        stats.request();
        counters.requests.incr();
        if let Some(profile) = &profile {
            profile.stats.request();
        }
        let mut upgrade = form.is_upgrade.then(|| Upgrade::new(&mut request, self.drain.clone()));
        let upload = Upload::of(request.body_mut(), &counters.streams, false);
        let sent = if form.version == Version::HTTP_2 {
            self.caller.app.send_http2(request).await.map(|response| (response, None))
        } else {
            if request.method() != http::Method::CONNECT {
                h1_client::prepare(&mut request, form.is_absolute_form);
            }
            self.caller.app.http1.send(&self.caller.app.connector, request).await.map(|(response, lease)| {
                match &mut upgrade {
                    Some(upgrade) => upgrade::accept(upgrade, response, lease),
                    None => (response, Some(lease)),
                }
            })
        };
        let (mut response, lease) = match sent {
            Ok(sent) => sent,
            Err(failed) => {
                let status = match &failed.error {
                    Error::Connect(error) if error.is_timeout() => 504,
                    _ => 502,
                };
                let class = classify::Class { is_success: false, grpc_status: None, broken: None };
                for stats in [Some(&stats), profile.as_ref().map(|p| &p.stats)].into_iter().flatten() {
                    stats.latency(status, started.elapsed());
                    stats.response(status, class);
                }
                return Err(failed.error);
            }
        };
        let status = response.status();
        if status != http::StatusCode::SWITCHING_PROTOCOLS {
            headers::strip_connection(response.headers_mut());
        }
        if form.version == Version::HTTP_2 {
            *response.version_mut() = Version::HTTP_2;
        } else if form.is_carried {
            headers::carry_response(&mut response);
        }
        let code = if form.is_grpc { grpc_status(response.headers()) } else { None };
        let (route_stats, route) = profile.map_or((None, None), |p| (Some(p.stats), p.route));
        let classifier = Classifier::new(form.is_grpc, status, route.as_deref());
        let mut tracker = Tracker::new(started, status.as_u16(), classifier, code);
        tracker.stats = Some(stats);
        tracker.routes = [route_stats, None];
        tracker.streams = [Some(counters.streams.clone()), Some(counters.responses.clone())];
        tracker.upload = upload;
        tracker.lease = lease;
        tracker.rescues_grpc = form.is_grpc;
        response.body_mut().set_tracker(Box::new(tracker));
        Ok(response)
    }
}

impl Service for HttpService {
    fn sending(&self) -> Option<&Sending> {
        self.sending.as_deref()
    }

    async fn call(&self, mut request: Box<Request<Body>>) -> Result<Response<Body>, h2::Reason> {
        let carried = headers::carried(&mut request);
        let mut form = Form {
            version: request.version(),
            is_carried: carried.is_some(),
            is_absolute_form: carried.is_some_and(|(_, is_absolute)| is_absolute),
            is_upgrade: false,
            is_grpc: self.version == HttpVersion::Http2 && is_grpc(request.headers()),
        };
        let log = AccessLog::begin(
            self.worker.context.config.access_log,
            self.caller.client.addr,
            self.caller.client.id().map(PeerId::as_str),
            &request,
        );
        let answered = match self.handle(request, &mut form).await {
            Ok(response) => Ok(response),
            Err(error) => {
                self.caller.events(&self.class().policy).http_error(&error);
                // Strangers learn nothing of the mesh.
                let emit_headers = self.caller.client.id().is_some();
                let asker =
                    Asker { version: form.version, is_grpc: form.is_grpc, is_carried: form.is_carried, emit_headers };
                error.respond(asker).map(|mut response| {
                    if form.is_carried {
                        headers::carry_response(&mut response);
                    }
                    response
                })
            }
        };
        match (answered, log) {
            (Ok(mut response), Some(log)) => {
                log.attach(&mut response);
                Ok(response)
            }
            (answered, _) => answered,
        }
    }
}
