//! Policies of inbound ports.

use super::{Invalid, duration, each, filter, meta, route};
use crate::control::model::Meta;
use crate::control::model::filter::Filter;
use crate::control::model::inbound::*;
use crate::control::model::route::{HostMatch, RequestMatch, Route, Rule};
use crate::metrics::Labels;
use ipnet::IpNet;
use linkerd2_proxy_api::{http_route, inbound as wire};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What a control plane that sends no detection timeout means.
const DETECT_TIMEOUT: Duration = Duration::from_secs(10);

pub fn server(wire: wire::Server) -> Result<ServerPolicy, Invalid> {
    use wire::proxy_protocol::Kind;
    let meta = meta_from_labels(&wire.labels, "server").map_err(|invalid| invalid.within("labels"))?;
    let mut list = authorizations(wire.authorizations)?;
    list.extend(loopback());
    let authorizations = Authorizations::new(list);
    let kind = wire.protocol.and_then(|p| p.kind).ok_or_else(|| Invalid::missing("protocol"))?;
    let protocol = match kind {
        Kind::Detect(d) => Protocol::Detect {
            timeout: d.timeout.map_or(Ok(DETECT_TIMEOUT), |t| duration("detection timeout", t))?,
            http: http(d.http_routes, d.http_local_rate_limit, &authorizations)?,
        },
        Kind::Http1(h) => Protocol::Http1(http(h.routes, h.local_rate_limit, &authorizations)?),
        Kind::Http2(h) => Protocol::Http2(http(h.routes, h.local_rate_limit, &authorizations)?),
        Kind::Grpc(g) => Protocol::Grpc(grpc(g.routes, &authorizations)?),
        Kind::Opaque(_) => Protocol::Opaque,
        Kind::Tls(_) => Protocol::Tls,
    };
    Ok(assembled(meta, protocol, authorizations))
}

/// What stands for a policy that cannot be obeyed: the port's name is kept as far as it is known, and nobody passes.
pub fn refusing(wire: &HashMap<String, String>, reason: &str) -> ServerPolicy {
    let meta = meta_from_labels(wire, "server").unwrap_or_else(|_| Meta::default_named("invalid"));
    assembled(meta, Protocol::Invalid(reason.into()), Authorizations::new(Vec::new()))
}

fn assembled(meta: Meta, protocol: Protocol, authorizations: Authorizations) -> ServerPolicy {
    ServerPolicy { labels: meta.short_labels("srv_"), meta: Arc::new(meta), protocol, authorizations }
}

/// Routes and rate limit for a server; without routes, one that takes everything.
fn http(
    routes: Vec<wire::HttpRoute>,
    rate_limit: Option<wire::HttpLocalRateLimit>,
    server: &Authorizations,
) -> Result<Http, Invalid> {
    let rate_limit = rate_limit.map(self::rate_limit).transpose()?.map(Arc::new);
    if routes.is_empty() {
        return Ok(Http::new(vec![default_route(server, false)], rate_limit));
    }
    let rule = |rule: wire::http_route::Rule| {
        let matches = each("matches", rule.matches, route::http_match)?;
        Ok((matches, each("filters", rule.filters, |f| http_filter(f.kind))?))
    };
    let one = |r: wire::HttpRoute| {
        let rules = each("rules", r.rules, rule)?;
        assemble(meta(r.metadata)?, r.hosts, r.authorizations, rules, server, false)
    };
    Ok(Http::new(each("routes", routes, one)?, rate_limit))
}

fn grpc(routes: Vec<wire::GrpcRoute>, server: &Authorizations) -> Result<Http, Invalid> {
    if routes.is_empty() {
        return Ok(Http::new(vec![default_route(server, true)], None));
    }
    let rule = |rule: wire::grpc_route::Rule| {
        let matches = each("matches", rule.matches, route::grpc_match)?;
        Ok((matches, each("filters", rule.filters, |f| grpc_filter(f.kind))?))
    };
    let one = |r: wire::GrpcRoute| {
        let rules = each("rules", r.rules, rule)?;
        assemble(meta(r.metadata)?, r.hosts, r.authorizations, rules, server, true)
    };
    Ok(Http::new(each("routes", routes, one)?, None))
}

type Rules = Vec<(Vec<RequestMatch>, Vec<Filter>)>;

fn assemble(
    meta: Meta,
    hosts: Vec<http_route::HostMatch>,
    own: Vec<wire::Authz>,
    rules: Rules,
    server: &Authorizations,
    is_grpc: bool,
) -> Result<Route<HttpPolicy>, Invalid> {
    let hosts: Vec<HostMatch> = each("hosts", hosts, route::host)?;
    let own = Authorizations::new(authorizations(own)?);
    let labels = meta.short_labels("route_");
    let rule = |(matches, filters)| {
        let (own, server, labels) = (own.clone(), server.clone(), labels.clone());
        Rule { matches, policy: HttpPolicy { filters, own, server, labels, is_grpc } }
    };
    Ok(Route { meta: Arc::new(meta), hosts, rules: rules.into_iter().map(rule).collect() })
}

fn default_route(server: &Authorizations, is_grpc: bool) -> Route<HttpPolicy> {
    let meta = Meta::default_named("default");
    let labels = meta.short_labels("route_");
    let own = Authorizations::new(Vec::new());
    let policy = HttpPolicy { filters: Vec::new(), own, server: server.clone(), labels, is_grpc };
    Route { meta: Arc::new(meta), hosts: Vec::new(), rules: vec![Rule { matches: Vec::new(), policy }] }
}

fn http_filter(kind: Option<wire::http_route::filter::Kind>) -> Result<Filter, Invalid> {
    use wire::http_route::filter::Kind;
    match kind {
        Some(Kind::FailureInjector(f)) => filter::http_failure(f),
        Some(Kind::RequestHeaderModifier(m)) => filter::request_headers(m),
        Some(Kind::Redirect(r)) => filter::redirect(r),
        None => Ok(Filter::Unknown),
    }
}

fn grpc_filter(kind: Option<wire::grpc_route::filter::Kind>) -> Result<Filter, Invalid> {
    use wire::grpc_route::filter::Kind;
    match kind {
        Some(Kind::FailureInjector(f)) => filter::grpc_failure(f),
        Some(Kind::RequestHeaderModifier(m)) => filter::request_headers(m),
        None => Ok(Filter::Unknown),
    }
}

fn rate_limit(wire: wire::HttpLocalRateLimit) -> Result<RateLimit, Invalid> {
    let positive =
        |limit: Option<wire::http_local_rate_limit::Limit>| limit.map(|l| l.requests_per_second).filter(|rps| *rps > 0);
    let overrides = wire.overrides.into_iter().filter_map(|o| {
        let clients = o.clients.unwrap_or_default().identities.into_iter().map(|i| i.name.into()).collect();
        Some((positive(o.limit)?, clients))
    });
    Ok(RateLimit {
        // Only what is counted needs a name.
        meta: Arc::new(wire.metadata.map_or_else(|| Ok(Meta::default_named("")), |m| meta(Some(m)))?),
        total: positive(wire.total),
        identity: positive(wire.identity),
        overrides: overrides.collect(),
    })
}

fn authorizations(wire: Vec<wire::Authz>) -> Result<Vec<Authz>, Invalid> {
    each("authorizations", wire, authz)
}

fn authz(wire: wire::Authz) -> Result<Authz, Invalid> {
    use wire::authn::Permit;
    use wire::authn::permit_mesh_tls::Clients;
    if wire.networks.is_empty() {
        return Err(Invalid::missing("networks of an authorization"));
    }
    let networks = each("networks", wire.networks, |n| {
        let net = ip_net(n.net.ok_or_else(|| Invalid::missing("network"))?)?;
        Ok(Network { net, except: each("except", n.except, ip_net)? })
    })?;
    let permit = wire.authentication.and_then(|a| a.permit).ok_or_else(|| Invalid::missing("authentication"))?;
    let authn = match permit {
        Permit::Unauthenticated(_) => Authn::Unauthenticated,
        Permit::MeshTls(tls) => match tls.clients.ok_or_else(|| Invalid::missing("mesh TLS clients"))? {
            Clients::Unauthenticated(_) => Authn::TlsUnauthenticated,
            // Neither an identity nor a suffix: nobody.
            Clients::Identities(ids) => Authn::TlsAuthenticated {
                identities: ids.identities.into_iter().map(|i| i.name.into()).collect(),
                suffixes: ids.suffixes.into_iter().map(|s| suffix(&s.parts)).collect(),
            },
        },
    };
    let meta = match wire.metadata {
        Some(metadata) => meta(Some(metadata))?,
        // Older control planes name the authorization by labels.
        None => meta_from_labels(&wire.labels, "serverauthorization")?,
    };
    let labels = meta.short_labels("authz_");
    Ok(Authz { meta: Arc::new(meta), networks, authn, labels })
}

/// `a`, `b` becomes `.a.b`; no part fits every name.
fn suffix(parts: &[String]) -> Box<str> {
    parts.iter().map(|part| format!(".{part}")).collect::<String>().into()
}

fn ip_net(wire: linkerd2_proxy_api::net::IpNetwork) -> Result<IpNet, Invalid> {
    let net: IpNet = wire.try_into().map_err(|e| Invalid::bad("network", e))?;
    // Clients are known by their IPv4 address, however a control plane writes it.
    Ok(match (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) {
        (addr @ IpAddr::V4(_), Some(length)) if net.addr().is_ipv6() => IpNet::new(addr, length).unwrap_or(net),
        _ => net,
    })
}

/// Old control planes say no group, and write a kind other than `kind` before the name: `default:deny`.
fn meta_from_labels(labels: &HashMap<String, String>, kind: &str) -> Result<Meta, Invalid> {
    let get = |name: &str| labels.get(name).map(String::as_str);
    let name = get("name").ok_or_else(|| Invalid::missing("label name"))?;
    let (kind, name) = match get("kind") {
        Some(kind) => (kind, name),
        None => name.split_once(':').unwrap_or((kind, name)),
    };
    let is_old_default = kind == "default" && !labels.contains_key("kind");
    let group = if is_old_default { "" } else { get("group").unwrap_or("policy.linkerd.io") };
    Ok(Meta {
        group: group.into(),
        namespace: get("namespace").unwrap_or_default().into(),
        name: name.into(),
        ..Meta::of_kind(kind)
    })
}

/// A pod may always talk to itself.
fn loopback() -> [Authz; 1] {
    let meta = Meta::default_named("localhost");
    let labels = meta.short_labels("authz_");
    let host = |ip: [u8; 4]| Network { net: IpNet::from(std::net::IpAddr::from(ip)), except: Vec::new() };
    let v6 = Network { net: IpNet::from(std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)), except: Vec::new() };
    [Authz { meta: Arc::new(meta), networks: vec![host([127, 0, 0, 1]), v6], authn: Authn::Unauthenticated, labels }]
}

/// The policy of a port of which the control plane has said nothing: `authz` are its only authorizations.
pub fn default_server(name: &str, authz: Option<(Vec<Network>, Authn)>, protocol: DefaultProtocol) -> ServerPolicy {
    let meta = Arc::new(Meta::default_named(name));
    let labels = meta.short_labels("srv_");
    let mut list = Vec::new();
    if let Some((networks, authn)) = authz {
        let labels: Labels = meta.short_labels("authz_");
        list.push(Authz { meta: meta.clone(), networks, authn, labels });
    }
    list.extend(loopback());
    let authorizations = Authorizations::new(list);
    let protocol = match protocol {
        DefaultProtocol::Opaque => Protocol::Opaque,
        DefaultProtocol::Detect(timeout) => {
            Protocol::Detect { timeout, http: Http::new(vec![default_route(&authorizations, false)], None) }
        }
    };
    ServerPolicy { meta, labels, protocol, authorizations }
}

#[derive(Clone, Copy, Debug)]
pub enum DefaultProtocol {
    Opaque,
    Detect(Duration),
}
