//! Listeners of the proxy itself, which are under the policy of their port as the application's are: what the admin server
//! asks before it answers. What comes there is counted as what comes to the application is.

use super::{
    client::{Client, Tls},
    metrics::{self, Events},
};
use crate::{
    control::model::{
        PeerId,
        inbound::{Protocol, ServerPolicy},
        route,
    },
    http::{Error, stats::RequestStats},
    metrics::Registry,
    transport::sensor::Sensor,
};
use http::Request;
use std::{net::SocketAddr, sync::Arc};

/// Counts a connection while it is open. `mesh` is what `accept_mesh` found.
pub fn sensor(registry: &Registry, addr: SocketAddr, policy: &ServerPolicy, mesh: Option<&Option<PeerId>>) -> Sensor {
    metrics::accept(registry, addr, &tls(mesh), policy).open()
}

/// Decides about one request, counts it, and logs it where it is refused. What its response is counted in, where it may
/// pass.
pub fn judge<B>(
    registry: &Registry,
    addr: SocketAddr,
    policy: &ServerPolicy,
    peer: SocketAddr,
    mesh: Option<&Option<PeerId>>,
    request: &Request<B>,
) -> Result<Arc<RequestStats>, Error> {
    let client = Client { addr: peer, tls: tls(mesh) };
    let events = Events { registry, addr, policy };
    if let Protocol::Invalid(reason) = &policy.protocol {
        return Err(Error::InvalidPolicy(reason.clone()));
    }
    let Some(http) = policy.http() else {
        // The proxy speaks HTTP here, whatever the policy expects: then its connections are what is judged.
        let authz = policy.check(peer.ip(), client.tls()).ok_or_else(|| {
            events.tcp_denied(&client);
            Error::Unauthorized
        })?;
        events.tcp_allowed(&client, authz);
        return Ok(events.requests(&client, None, authz));
    };
    let (_, rule) = http.find(route::Request::new(request)).ok_or_else(|| {
        events.http_no_route(&client);
        Error::NoRoute
    })?;
    let authz = rule.check(peer.ip(), client.tls()).ok_or_else(|| {
        events.http_denied(&client, rule);
        Error::Unauthorized
    })?;
    events.http_allowed(&client, rule, authz);
    Ok(events.requests(&client, Some(rule), authz))
}

fn tls(mesh: Option<&Option<PeerId>>) -> Tls {
    mesh.map_or(Tls::None, |id| Tls::Mesh(id.clone()))
}
