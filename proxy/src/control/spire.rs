//! Certificates from SPIRE's Workload API, for proxies outside the cluster: the agent makes key and certificate, and sends new
//! ones over a stream before the old ones expire.

use super::backoff::Attempts;
use super::codec::PairCodec;
use super::identity::{Counters, Publisher};
use super::model::PeerId;
use crate::BoxError;
use crate::config;
use crate::metrics::Registry;
use crate::tls::{Credentials, Trust};
use crate::x509;
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;
use tokio::net::UnixStream;
use tonic::body::Body;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

const FETCH: &str = "/SpiffeWorkloadAPI/FetchX509SVID";
/// The Workload API's proof that a caller does not merely pass on somebody else's request.
const SECURITY_HEADER: &str = "workload.spiffe.io";

#[derive(Clone, PartialEq, prost::Message)]
struct Request {}

#[derive(Clone, PartialEq, prost::Message)]
struct Response {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<Svid>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Svid {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    /// The chain, leaf first, one certificate after the other.
    #[prost(bytes = "vec", tag = "2")]
    x509_svid: Vec<u8>,
    /// PKCS#8.
    #[prost(bytes = "vec", tag = "3")]
    x509_svid_key: Vec<u8>,
}

/// Takes certificates for ever.
pub struct Spire {
    pub config: config::Spire,
    pub local_id: PeerId,
    pub trust: Arc<Trust>,
    pub publisher: Publisher,
    pub metrics: Registry,
}

impl Spire {
    pub async fn run(self) {
        let counters = Counters::new(&self.metrics);
        let mut attempts = Attempts::new(self.config.backoff);
        let socket = self.config.socket.display();
        loop {
            match self.follow(&counters, &mut attempts).await {
                Ok(()) => {}
                Err(status) if status.code() == Code::InvalidArgument => {
                    log::error!(target: "identity", "SPIRE at {socket} refuses: {}", super::describe(&status));
                    return;
                }
                Err(status) => {
                    counters.failed.incr();
                    log::warn!(target: "identity", "SPIRE at {socket}: {}", super::describe(&status));
                }
            }
            attempts.wait().await;
        }
    }

    async fn follow(&self, counters: &Counters, attempts: &mut Attempts) -> Result<(), Status> {
        let agent = Agent::connect(&self.config.socket).await.map_err(|e| Status::unavailable(e.to_string()))?;
        let origin = http::Uri::from_static("http://localhost/");
        let mut grpc = tonic::client::Grpc::with_origin(agent, origin);
        let mut request = tonic::Request::new(Request {});
        request.metadata_mut().insert(SECURITY_HEADER, MetadataValue::from_static("true"));
        let codec = PairCodec::<Request, Response, ()>::default();
        let response = grpc.server_streaming(request, PathAndQuery::from_static(FETCH), codec).await?;
        let mut stream = response.into_inner();
        while let Some((response, ())) = stream.message().await? {
            match self.credentials(response) {
                Ok(credentials) => {
                    attempts.reset();
                    counters.renewed(credentials.expiry, SystemTime::now());
                    log::debug!(target: "identity", "SPIRE has certified {}", self.local_id);
                    self.publisher.send_replace(Some(Arc::new(credentials)));
                }
                // The certificate that is there goes on; the agent may send a better one.
                Err(error) => {
                    counters.failed.incr();
                    log::warn!(target: "identity", "SPIRE's certificate for {}: {error}", self.local_id);
                }
            }
        }
        Ok(())
    }

    fn credentials(&self, response: Response) -> Result<Credentials, BoxError> {
        let known: Vec<_> = response.svids.iter().map(|svid| svid.spiffe_id.clone()).collect();
        let svid = response.svids.into_iter().find(|svid| svid.spiffe_id == self.local_id.as_str());
        let svid = svid.ok_or_else(|| format!("there are only ones for [{}]", known.join(", ")))?;
        let chain = x509::split(&svid.x509_svid).ok_or("the chain is not a list of certificates")?;
        let expiry = chain.first().and_then(|leaf| x509::not_after(leaf)).ok_or("it does not say when it ends")?;
        if expiry <= SystemTime::now() {
            return Err("it has expired".into());
        }
        let key = PrivatePkcs8KeyDer::from(svid.x509_svid_key).into();
        Ok(self.trust.credentials(&self.local_id, chain, &key, expiry)?)
    }
}

/// A connection to the agent.
struct Agent(SendRequest<Body>);

impl Agent {
    async fn connect(socket: &std::path::Path) -> Result<Self, BoxError> {
        let stream = UnixStream::connect(socket).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!(target: "identity", "connection to SPIRE closed: {error}");
            }
        });
        Ok(Self(sender))
    }
}

impl tower_service::Service<http::Request<Body>> for Agent {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
