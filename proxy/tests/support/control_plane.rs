//! A control plane that the test plays: it answers what the test sets, streams later changes, and can go away and come back.
//! It speaks mesh TLS on the node's address, and keeps no more than the contract asks.

use super::{
    authority::{Authority, HOUR},
    network::NODE_V4,
    topic::Topic,
};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use linkerd2_proxy_api::{
    destination::{
        self as dst, AddrSet, DestinationProfile, GetDestination, NoEndpoints, Update, WeightedAddr, WeightedAddrSet,
        destination_server::{Destination, DestinationServer},
    },
    identity::{
        CertifyRequest, CertifyResponse,
        identity_server::{Identity, IdentityServer},
    },
    inbound::{
        PortSpec, Server,
        inbound_server_policies_server::{InboundServerPolicies, InboundServerPoliciesServer},
    },
    outbound::{
        OutboundPolicy, TrafficSpec,
        outbound_policies_server::{OutboundPolicies, OutboundPoliciesServer},
        traffic_spec::Target,
    },
};
use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;
use tonic::{Code, Request, Response, Status, codegen::tokio_stream::Stream};
use tower_service::Service;

pub const CONTROL_PLANE: &str = "linkerd-destination.linkerd.serviceaccount.identity.linkerd.cluster.local";

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[derive(Clone)]
pub struct ControlPlane {
    pub authority: Arc<Authority>,
    pub addr: SocketAddr,
    answers: Arc<Answers>,
    connections: Arc<Mutex<Option<JoinSet<()>>>>,
}

struct Answers {
    authority: Arc<Authority>,
    lifetime: Mutex<Duration>,
    certificates: AtomicU32,
    /// By `host:port`.
    profiles: Topic<String, DestinationProfile>,
    endpoints: Topic<String, Vec<WeightedAddr>>,
    /// By `host:port`.
    policies: Topic<String, OutboundPolicy>,
    inbound: Topic<u16, Server>,
    /// What gRPC methods whose path contains this answer instead: one message of these bytes.
    garbage: Mutex<Vec<(String, Vec<u8>)>>,
}

impl ControlPlane {
    pub async fn start() -> Self {
        let authority = Arc::new(Authority::new());
        let answers = Arc::new(Answers {
            authority: authority.clone(),
            lifetime: Mutex::new(HOUR),
            certificates: AtomicU32::new(0),
            profiles: Topic::new(Ok(DestinationProfile::default())),
            endpoints: Topic::new(Ok(Vec::new())),
            policies: Topic::new(Err(Code::NotFound)),
            inbound: Topic::new(Err(Code::NotFound)),
            garbage: Mutex::default(),
        });
        let listener = TcpListener::bind((NODE_V4, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let control = Self { authority, addr, answers, connections: Arc::default() };
        control.accept(listener);
        control
    }

    /// Closes the port and every connection; what was set stays set.
    pub async fn stop(&self) {
        let connections = self.connections.lock().unwrap().take();
        if let Some(mut connections) = connections {
            connections.shutdown().await;
        }
    }

    pub async fn start_again(&self) {
        self.accept(TcpListener::bind(self.addr).await.unwrap());
    }

    pub fn set_certificate_lifetime(&self, lifetime: Duration) {
        *self.answers.lifetime.lock().unwrap() = lifetime;
    }

    /// How many certificates have been asked for.
    pub fn certificates(&self) -> u32 {
        self.answers.certificates.load(Ordering::Relaxed)
    }

    /// `target` is `host:port`.
    pub fn set_profile(&self, target: &str, profile: DestinationProfile) {
        self.answers.profiles.set(target.to_owned(), Ok(profile));
    }

    /// The whole set; streams that are open get the difference.
    pub fn set_endpoints(&self, target: &str, endpoints: Vec<WeightedAddr>) {
        self.answers.endpoints.set(target.to_owned(), Ok(endpoints));
    }

    pub fn set_policy(&self, target: SocketAddr, policy: Result<OutboundPolicy, Code>) {
        self.answers.policies.set(target.to_string(), policy);
    }

    /// The same for a destination that is asked for by name: `name:port`.
    pub fn set_named_policy(&self, target: &str, policy: Result<OutboundPolicy, Code>) {
        self.answers.policies.set(target.to_owned(), policy);
    }

    pub fn set_inbound(&self, port: u16, server: Result<Server, Code>) {
        self.answers.inbound.set(port, server);
    }

    /// Every method answers as it should again.
    pub fn stop_garbage(&self) {
        self.answers.garbage.lock().unwrap().clear();
    }

    pub fn set_garbage(&self, method: &str, bytes: &[u8]) {
        self.answers.garbage.lock().unwrap().push((method.to_owned(), bytes.to_vec()));
    }

    fn accept(&self, listener: TcpListener) {
        let answers = self.answers.clone();
        let tls = TlsAcceptor::from(self.authority.server_config(self.authority.issue(CONTROL_PLANE), &[]));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // Dropped, and so ended, with the listener.
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (tls, answers) = (tls.clone(), answers.clone());
                connections.spawn(async move {
                    let Ok(stream) = tls.accept(tcp).await else { return };
                    let service = service_fn(move |request| answers.clone().answer(request));
                    let builder = http2::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        *self.connections.lock().unwrap() = Some(serving);
    }
}

impl Answers {
    async fn answer(
        self: Arc<Self>,
        request: hyper::Request<Incoming>,
    ) -> Result<hyper::Response<tonic::body::Body>, std::convert::Infallible> {
        let path = request.uri().path().to_owned();
        if let Some(bytes) = self.garbage(&path) {
            return Ok(message(&bytes));
        }
        match path.split('/').nth(1).unwrap_or_default() {
            "io.linkerd.proxy.identity.Identity" => IdentityServer::from_arc(self).call(request).await,
            "io.linkerd.proxy.destination.Destination" => DestinationServer::from_arc(self).call(request).await,
            "io.linkerd.proxy.inbound.InboundServerPolicies" => {
                InboundServerPoliciesServer::from_arc(self).call(request).await
            }
            _ => OutboundPoliciesServer::from_arc(self).call(request).await,
        }
    }
}

impl Answers {
    fn garbage(&self, path: &str) -> Option<Vec<u8>> {
        let garbage = self.garbage.lock().unwrap();
        garbage.iter().rev().find(|(method, _)| path.contains(method)).map(|(_, bytes)| bytes.clone())
    }
}

fn message(bytes: &[u8]) -> hyper::Response<tonic::body::Body> {
    let mut frame = vec![0];
    frame.extend((bytes.len() as u32).to_be_bytes());
    frame.extend(bytes);
    let body = tonic::body::Body::new(http_body_util::Full::new(bytes::Bytes::from(frame)));
    hyper::Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

#[tonic::async_trait]
impl Identity for Answers {
    async fn certify(&self, request: Request<CertifyRequest>) -> Result<Response<CertifyResponse>, Status> {
        let request = request.into_inner();
        if request.token.is_empty() {
            return Err(Status::invalid_argument("no token"));
        }
        let lifetime = *self.lifetime.lock().unwrap();
        let leaf = self.authority.sign(&request.certificate_signing_request, &request.identity, lifetime);
        self.certificates.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(CertifyResponse {
            leaf_certificate: leaf.to_vec(),
            intermediate_certificates: vec![self.authority.issuer_der.to_vec()],
            valid_until: Some((SystemTime::now() + lifetime).into()),
        }))
    }
}

#[tonic::async_trait]
impl Destination for Answers {
    type GetStream = Messages<Update>;
    type GetProfileStream = Messages<DestinationProfile>;

    async fn get(&self, request: Request<GetDestination>) -> Result<Response<Self::GetStream>, Status> {
        let mut sent: Option<Vec<WeightedAddr>> = None;
        let stream = self.endpoints.watch(request.into_inner().path, move |endpoints| {
            let messages = difference(sent.as_deref(), &endpoints);
            sent = Some(endpoints);
            messages
        });
        Ok(Response::new(stream))
    }

    async fn get_profile(&self, request: Request<GetDestination>) -> Result<Response<Self::GetProfileStream>, Status> {
        Ok(Response::new(self.profiles.watch(request.into_inner().path, |profile| vec![profile])))
    }
}

fn difference(sent: Option<&[WeightedAddr]>, endpoints: &[WeightedAddr]) -> Vec<Update> {
    if endpoints.is_empty() {
        let update = dst::update::Update::NoEndpoints(NoEndpoints { exists: true });
        return vec![Update { update: Some(update) }];
    }
    let before = sent.unwrap_or_default();
    let is_gone = |old: &&WeightedAddr| !endpoints.iter().any(|new| new.addr == old.addr);
    let gone: Vec<_> = before.iter().filter(is_gone).filter_map(|old| old.addr).collect();
    let added: Vec<_> = endpoints.iter().filter(|new| !before.contains(new)).cloned().collect();
    let mut updates = Vec::new();
    if !added.is_empty() {
        let set = WeightedAddrSet { addrs: added, ..Default::default() };
        updates.push(Update { update: Some(dst::update::Update::Add(set)) });
    }
    if !gone.is_empty() {
        updates.push(Update { update: Some(dst::update::Update::Remove(AddrSet { addrs: gone })) });
    }
    updates
}

#[tonic::async_trait]
impl InboundServerPolicies for Answers {
    type WatchPortStream = Messages<Server>;

    async fn get_port(&self, _: Request<PortSpec>) -> Result<Response<Server>, Status> {
        Err(Status::unimplemented("no proxy uses it"))
    }

    async fn watch_port(&self, request: Request<PortSpec>) -> Result<Response<Self::WatchPortStream>, Status> {
        let port = request.into_inner().port as u16;
        Ok(Response::new(self.inbound.watch(port, |server| vec![server])))
    }
}

#[tonic::async_trait]
impl OutboundPolicies for Answers {
    type WatchStream = Messages<OutboundPolicy>;

    async fn get(&self, _: Request<TrafficSpec>) -> Result<Response<OutboundPolicy>, Status> {
        Err(Status::unimplemented("no proxy uses it"))
    }

    async fn watch(&self, request: Request<TrafficSpec>) -> Result<Response<Self::WatchStream>, Status> {
        let target = match request.into_inner().target {
            Some(Target::Addr(addr)) => {
                let addr = SocketAddr::try_from(addr).map_err(|_| Status::invalid_argument("not an address"))?;
                addr.to_string()
            }
            Some(Target::Authority(name)) => name,
            None => return Err(Status::invalid_argument("no target")),
        };
        Ok(Response::new(self.policies.watch(target, |policy| vec![policy])))
    }
}
