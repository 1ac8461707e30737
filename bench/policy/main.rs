//! Judges requests by a policy of a given size, and nothing else, so that what is counted of this process is that.
//!
//!   tulle-policy CASE COUNT REQUESTS
//!
//! CASE is `inbound-routes` (COUNT routes, of which the last fits), `inbound-authorizations` (COUNT that fit nobody come
//! before the one that fits) or `outbound-routes`.

use http::Request;
use linkerd2_proxy_api::{
    http_route::{HttpRouteMatch, PathMatch, path_match},
    inbound::{
        self, Authn, Authz, Identity, Network, ProxyProtocol, Server,
        authn::{
            Permit, PermitMeshTls,
            permit_mesh_tls::{Clients, PermitClientIdentities},
        },
        proxy_protocol::{Http1, Kind},
    },
    meta, net,
};
use std::{env, error::Error, hint::black_box, net::IpAddr, process::ExitCode};
use tulle_proxy::control::{
    decode_inbound,
    model::{
        PeerId,
        inbound::ClientTls,
        meta::Meta,
        route::{self, PathMatch as ModelPath, RequestMatch, Route, RouteIndex, Rule},
    },
};

const CLIENT: &str = "web.emojivoto.serviceaccount.identity.linkerd.cluster.local";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tulle-policy {}: {error}", args.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let [case, count, requests] = args else { return Err("takes CASE COUNT REQUESTS".into()) };
    let (count, requests) = (count.parse()?, requests.parse()?);
    match case.as_str() {
        "inbound-routes" => judge(server(routes(count), vec![allow(CLIENT)]), count, requests),
        "inbound-authorizations" => {
            let strangers = (1..count).map(|n| allow(&format!("stranger-{n}.emojivoto.serviceaccount.example")));
            judge(server(routes(1), strangers.chain([allow(CLIENT)]).collect()), 1, requests)
        }
        "outbound-routes" => find(count, requests),
        _ => Err("no such case".into()),
    }
}

/// Finds the route and authorization of each request, as the proxy does when one comes in.
fn judge(server: Server, routes: usize, requests: usize) -> Result<(), Box<dyn Error>> {
    let policy = decode_inbound(server).map_err(|invalid| invalid.to_string())?;
    let http = policy.http().ok_or("the policy is not HTTP")?;
    let request = Request::get(format!("http://web.emojivoto:8080/path/{}", routes - 1)).body(())?;
    let client = PeerId::Dns(CLIENT.into());
    let ip = IpAddr::from([10, 42, 0, 7]);
    for _ in 0..requests {
        let (_, rule) = http.find(route::Request::new(black_box(&request))).ok_or("no route")?;
        black_box(rule.check(black_box(ip), ClientTls::Mesh(Some(&client))).ok_or("denied")?);
    }
    Ok(())
}

fn find(count: usize, requests: usize) -> Result<(), Box<dyn Error>> {
    let of = |n| {
        let path = Some(ModelPath::Exact(format!("/path/{n}").into()));
        let rule = Rule { matches: vec![RequestMatch { path, ..RequestMatch::default() }], policy: () };
        Route { meta: Meta::default_named("route").into(), hosts: Vec::new(), rules: vec![rule] }
    };
    let routes: Vec<Route<()>> = (0..count).map(of).collect();
    let index = RouteIndex::new(&routes);
    let request = Request::get(format!("http://web.emojivoto:8080/path/{}", count - 1)).body(())?;
    for _ in 0..requests {
        black_box(index.find(&routes, route::Request::new(black_box(&request))).ok_or("no route")?);
    }
    Ok(())
}

fn named(name: &str) -> Option<meta::Metadata> {
    Some(meta::Metadata { kind: Some(meta::metadata::Kind::Default(name.to_owned())) })
}

fn routes(count: usize) -> Vec<inbound::HttpRoute> {
    let of = |n| {
        let path = PathMatch { kind: Some(path_match::Kind::Exact(format!("/path/{n}"))) };
        let matches = vec![HttpRouteMatch { path: Some(path), ..HttpRouteMatch::default() }];
        let rules = vec![inbound::http_route::Rule { matches, filters: Vec::new() }];
        inbound::HttpRoute { metadata: named("route"), rules, ..inbound::HttpRoute::default() }
    };
    (0..count).map(of).collect()
}

fn allow(identity: &str) -> Authz {
    let everywhere = net::IpNetwork { ip: Some(IpAddr::from([0, 0, 0, 0]).into()), prefix_len: 0 };
    let identities = vec![Identity { name: identity.to_owned() }];
    let clients = Clients::Identities(PermitClientIdentities { identities, suffixes: Vec::new() });
    Authz {
        networks: vec![Network { net: Some(everywhere), except: Vec::new() }],
        authentication: Some(Authn { permit: Some(Permit::MeshTls(PermitMeshTls { clients: Some(clients) })) }),
        metadata: named("authz"),
        ..Authz::default()
    }
}

fn server(routes: Vec<inbound::HttpRoute>, authorizations: Vec<Authz>) -> Server {
    let labels = [("group", ""), ("kind", "default"), ("name", "bench")];
    Server {
        protocol: Some(ProxyProtocol { kind: Some(Kind::Http1(Http1 { routes, local_rate_limit: None })) }),
        authorizations,
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..Server::default()
    }
}
