//! What unit tests need of a control plane: one on loopback that answers gRPC calls from channels over plain HTTP/2, a
//! certificate authority, and a configuration that leads to them.

use super::Control;
use super::client::Connector;
use super::identity::{Identity, Publisher};
use crate::config::{Config, Environment};
use crate::dns::Resolver;
use crate::metrics::Registry;
use crate::tls::Trust;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use linkerd2_proxy_api::{meta, outbound};
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::Code;

/// One call that the proxy made, and the way to answer it.
pub struct Call {
    pub path: String,
    request: Bytes,
    reply: mpsc::UnboundedSender<Reply>,
}

enum Reply {
    Message(Bytes),
    End(Code),
}

pub struct FakeControlPlane {
    pub addr: SocketAddr,
    calls: mpsc::UnboundedReceiver<Call>,
    waiting: Vec<Call>,
}

impl FakeControlPlane {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let addr = listener.local_addr().expect("bound");
        let (tx, calls) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let tx = tx.clone();
                let service = hyper::service::service_fn(move |request| answer(request, tx.clone()));
                let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(tcp), service);
                tokio::spawn(connection);
            }
        });
        Self { addr, calls, waiting: Vec::new() }
    }

    /// The next call of this method, whatever others come before it.
    pub async fn next(&mut self, method: &str) -> Call {
        if let Some(at) = self.waiting.iter().position(|call| call.path.ends_with(method)) {
            return self.waiting.remove(at);
        }
        loop {
            let call = self.calls.recv().await.expect("the server lives as long as its fixture");
            if call.path.ends_with(method) {
                return call;
            }
            self.waiting.push(call);
        }
    }
}

impl Call {
    pub fn request<Q: prost::Message + Default>(&self) -> Q {
        Q::decode(self.request.slice(5..)).expect("a request of this type")
    }

    pub fn send(&self, message: &impl prost::Message) {
        self.send_bytes(&message.encode_to_vec());
    }

    pub fn send_bytes(&self, message: &[u8]) {
        let mut frame = BytesMut::with_capacity(message.len() + 5);
        frame.put_u8(0);
        frame.put_u32(message.len() as u32);
        frame.put_slice(message);
        let _ = self.reply.send(Reply::Message(frame.freeze()));
    }

    pub fn end(&self, code: Code) {
        let _ = self.reply.send(Reply::End(code));
    }
}

async fn answer(
    request: Request<Incoming>,
    calls: mpsc::UnboundedSender<Call>,
) -> Result<Response<Replies>, Infallible> {
    let path = request.uri().path().to_owned();
    let request = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let (reply, replies) = mpsc::unbounded_channel();
    let _ = calls.send(Call { path, request, reply });
    let response = Response::builder().header("content-type", "application/grpc").body(Replies(replies));
    Ok(response.expect("a valid response"))
}

struct Replies(mpsc::UnboundedReceiver<Reply>);

impl Body for Replies {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|reply| {
            reply.map(|reply| {
                Ok(match reply {
                    Reply::Message(bytes) => Frame::data(bytes),
                    Reply::End(code) => {
                        let status = HeaderValue::from(code as i32);
                        Frame::trailers(HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), status)]))
                    }
                })
            })
        })
    }
}

/// Any file will do for a token.
const TOKEN_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
pub const OWN: &str = "web.ns.serviceaccount.identity.linkerd.cluster.local";

pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn create() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    pub fn sign(&self, csr: &[u8]) -> Vec<u8> {
        let csr = CertificateSigningRequestParams::from_der(&csr.to_vec().into()).expect("a request");
        csr.signed_by(&self.issuer).expect("a certificate").der().to_vec()
    }
}

pub fn config(addr: SocketAddr, anchors: &str, more: &[(&str, &str)]) -> Arc<Config> {
    let addr = format!("localhost.:{}", addr.port());
    let fixed = [
        ("DESTINATION_SVC_ADDR", addr.as_str()),
        ("POLICY_SVC_ADDR", &addr),
        ("IDENTITY_SVC_ADDR", &addr),
        ("POLICY_WORKLOAD", "{\"ns\":\"ns\",\"pod\":\"web\"}"),
        ("DESTINATION_CONTEXT", "context"),
        ("IDENTITY_DIR", "/nonexistent"),
        ("IDENTITY_TRUST_ANCHORS", anchors),
        ("IDENTITY_TOKEN_FILE", TOKEN_FILE),
        ("IDENTITY_LOCAL_NAME", OWN),
        ("DESTINATION_PROFILE_NETWORKS", "10.0.0.0/8"),
    ];
    let vars = fixed.iter().chain(more).map(|(k, v)| (format!("LINKERD2_PROXY_{k}"), (*v).to_owned()));
    Arc::new(Config::read(Environment::new(vars)).expect("a valid configuration"))
}

pub fn connector(config: &Config) -> (Connector, Publisher) {
    let (identity, publisher) = Identity::new(&config.identity);
    let trust = Arc::new(Trust::new(&config.identity.trust_anchors_pem).expect("anchors"));
    let settings = Arc::new(config.control.clone());
    let registry = Registry::new(Duration::from_secs(600));
    let resolver = Resolver::default();
    (Connector { settings, resolver, dns: config.dns, registry, trust, identity }, publisher)
}

/// For tests of what only needs to have a control: nobody is at the other end.
pub fn control_without_plane(more: &[(&str, &str)]) -> (Arc<Config>, Control) {
    let config = config(([127, 0, 0, 1], 1).into(), &Authority::create().pem, more);
    let (connector, _) = connector(&config);
    (config.clone(), Control::new(config, connector))
}

/// An identity without a certificate.
pub fn identity() -> Identity {
    let config = config(([127, 0, 0, 1], 1).into(), &Authority::create().pem, &[]);
    connector(&config).0.identity
}

pub fn default_meta(name: &str) -> Option<meta::Metadata> {
    Some(meta::Metadata { kind: Some(meta::metadata::Kind::Default(name.to_owned())) })
}

/// A policy with one route to the balancer `path`.
pub fn balanced(name: &str, path: &str) -> outbound::OutboundPolicy {
    use outbound::{backend, http_route, proxy_protocol};
    let ms = |ms: i32| Some(prost_types::Duration { seconds: 0, nanos: ms * 1_000_000 });
    let discovery =
        backend::endpoint_discovery::Kind::Dst(backend::endpoint_discovery::DestinationGet { path: path.into() });
    let balancer = backend::BalanceP2c {
        discovery: Some(backend::EndpointDiscovery { kind: Some(discovery) }),
        load: Some(backend::balance_p2c::Load::PeakEwma(backend::balance_p2c::PeakEwma {
            default_rtt: ms(30),
            decay: ms(900),
        })),
    };
    let backend = outbound::Backend {
        metadata: default_meta("backend"),
        kind: Some(backend::Kind::Balancer(balancer)),
        queue: Some(outbound::Queue { capacity: 100, failfast_timeout: ms(300) }),
    };
    let rule = http_route::Rule {
        backends: Some(http_route::Distribution {
            kind: Some(http_route::distribution::Kind::FirstAvailable(http_route::distribution::FirstAvailable {
                backends: vec![http_route::RouteBackend { backend: Some(backend), ..Default::default() }],
            })),
        }),
        ..Default::default()
    };
    let route = outbound::HttpRoute { metadata: default_meta("http"), hosts: vec![], rules: vec![rule] };
    let kind = proxy_protocol::Kind::Http1(proxy_protocol::Http1 { routes: vec![route], failure_accrual: None });
    outbound::OutboundPolicy {
        protocol: Some(outbound::ProxyProtocol { kind: Some(kind) }),
        metadata: default_meta(name),
    }
}
