//! The way out for a gateway: what comes in from another cluster goes to a destination by its name.

use super::{
    context::Context,
    http::HttpService,
    opaque,
    target::{Target, Worker},
};
use crate::{
    control::{Destination, DiscoveryError, model::Meta},
    drain,
    http::{Body, Error},
    transport::{Stream, detect::HttpVersion},
};
use http::{Request, Response, Version};
use std::{io, net::IpAddr, sync::Arc};

/// One worker's destinations by name.
pub struct Named(Arc<Worker>);

/// A destination as the control plane knows it.
pub struct NamedDestination {
    worker: Arc<Worker>,
    target: Arc<Target>,
}

impl Named {
    pub fn new(context: Arc<Context>) -> Self {
        Self(Worker::new(context))
    }

    /// `authority` is `name:port`. Waits, without a limit, until the control plane has answered.
    pub async fn destination(&self, authority: &str) -> Result<NamedDestination, DiscoveryError> {
        let target = self.0.target(Destination::Name(authority.into())).await?;
        Ok(NamedDestination { worker: self.0.clone(), target })
    }
}

impl NamedDestination {
    /// Whether the control plane has said where it is: a name alone leads nowhere.
    pub fn is_known(&self) -> bool {
        let policy = self.target.policy();
        policy.logical.is_some() || *policy.parent != Meta::default_named("fallback")
    }

    /// Routes and sends a request in the version that it has.
    pub async fn send(
        &self,
        request: Box<Request<Body>>,
        is_grpc: bool,
        client: IpAddr,
        drain: drain::Watch,
    ) -> Result<Response<Body>, Error> {
        let version = if request.version() == Version::HTTP_2 { HttpVersion::Http2 } else { HttpVersion::Http1 };
        let service = HttpService::new(self.worker.clone(), self.target.clone(), version, client, drain);
        service.handle(request, is_grpc).await
    }

    /// Copies a connection's bytes both ways to its end.
    pub async fn forward(&self, client: Stream, drain: drain::Watch) -> io::Result<()> {
        opaque::forward(&self.worker, &self.target, client, drain).await
    }
}
