//! Connections that are not HTTP: a rule is found by TLS server name or is the only one, an endpoint is chosen, and
//! bytes are copied.

use super::{
    hash_key::hash_ip,
    metrics,
    router::{ConnectionBackend, ConnectionRules, Router},
    target::{Target, Worker},
};
use crate::{
    balance::{Pending, PickError},
    control::model::{filter::ConnectionFilter, outbound::Protocol, route::find_by_name},
    drain,
    transport::{Stream, copy, detect, failure::Failure},
};
use std::{io, sync::Arc, time::Instant};

pub async fn forward(
    worker: &Arc<Worker>,
    target: &Arc<Target>,
    mut client: Stream,
    _drain: drain::Watch,
) -> io::Result<()> {
    let router = target.router();
    let (rules, name) = rules(worker, &router, &client).await?;
    let context = &worker.context;
    let is_tls = matches!(router.policy.protocol, Protocol::Tls(_));
    let hostname = name.as_deref().filter(|_| context.config.outbound.has_hostname_labels).unwrap_or_default();
    let route = metrics::ConnectionRoute::new(&context.metrics, &router.policy.parent, &rules.meta, is_tls, hostname);
    route.opened();
    let outcome = copy_to_backend(rules, &mut client).await;
    route.closed(&outcome);
    outcome
}

/// The connection's rule, and the TLS server name that it was found by.
async fn rules<'a>(
    worker: &Arc<Worker>,
    router: &'a Router,
    client: &Stream,
) -> io::Result<(&'a ConnectionRules, Option<String>)> {
    let all = router.connections(worker);
    let mut name = None;
    let at = match &router.policy.protocol {
        Protocol::Invalid(reason) => return Err(io::Error::other(format!("invalid policy: {reason}"))),
        Protocol::Tls(tls) => {
            let timeout = worker.context.direction().detect_timeout;
            if let Some(tcp) = client.as_plain() {
                name = detect::server_name(tcp, timeout).await?.map(|name| name.to_ascii_lowercase());
            }
            name.as_deref().and_then(|name| find_by_name(tls.routes.iter().map(|r| &r.snis[..]), name))
        }
        _ => Some(0),
    };
    let rules = at.and_then(|at| all.get(at)).ok_or_else(|| io::Error::other("no route for the connection"))?;
    Ok((rules, name))
}

async fn copy_to_backend(rules: &ConnectionRules, client: &mut Stream) -> io::Result<()> {
    check(&rules.filters)?;
    let backend = rules.backends.choose().ok_or_else(|| io::Error::other("the route has no backend"))?;
    check(&backend.filters)?;
    let key = client.as_plain().filter(|_| backend.goes_by_source).and_then(|tcp| tcp.peer_addr().ok());
    let (mut server, _pending) = connect(backend, key.map(|peer| hash_ip(peer.ip()))).await?;
    copy::copy_streams(client, &mut server).await
}

fn check(filters: &[ConnectionFilter]) -> io::Result<()> {
    match filters.first() {
        None => Ok(()),
        Some(ConnectionFilter::Forbidden) => Err(Failure::Forbidden.into()),
        Some(ConnectionFilter::Invalid(message)) => {
            log::debug!(target: "policy", "invalid route: {message}");
            Err(Failure::InvalidRoute.into())
        }
    }
}

/// Connects to an endpoint, or to another one, until the failfast time is over.
async fn connect(backend: &ConnectionBackend, key: Option<u64>) -> io::Result<(Stream, Pending)> {
    let since = Instant::now();
    loop {
        let member = match backend.to.pick(key, since).await {
            Ok(member) => member.ok_or_else(|| io::Error::other("the route has no backend"))?,
            Err(PickError::FailFast) => return Err(Failure::FailFast.into()),
            Err(PickError::Full) => return Err(Failure::LoadShed.into()),
        };
        let started = Instant::now();
        // Open connections count as load, the time to connect as latency.
        let open = member.load.begin(started);
        match member.peer.connect().await {
            Ok(stream) => {
                member.connected();
                member.load.begin(started).complete();
                return Ok((stream, open));
            }
            Err(error) => {
                member.failed();
                if !backend.to.is_balanced() {
                    return Err(error.into());
                }
            }
        }
    }
}
