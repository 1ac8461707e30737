//! Which rule a request finds, among how its backends are chosen, and what happens where there is none.

use crate::{
    isolated,
    support::{
        policy::{self, named},
        script::{PATH, Reply, Service},
    },
};
use http::Request;
use linkerd2_proxy_api::{
    grpc_route as grpc_api, http_route as api,
    http_types::HttpMethod,
    outbound::{
        GrpcRoute, HttpRoute, OutboundPolicy, ProxyProtocol, backend, grpc_route, http_route,
        http_route::distribution::{FirstAvailable, Kind as Distribution, RandomAvailable},
        opaque_route,
        proxy_protocol::{Grpc, Http1, Kind},
    },
};
use std::collections::HashMap;

fn http1(routes: Vec<HttpRoute>) -> OutboundPolicy {
    let kind = Some(Kind::Http1(Http1 { routes, failure_accrual: None }));
    OutboundPolicy { protocol: Some(ProxyProtocol { kind }), metadata: named("web") }
}

/// A rule that answers with its name.
fn saying(name: &str, matches: Vec<api::HttpRouteMatch>) -> http_route::Rule {
    let failure = api::HttpFailureInjector { status: 418, message: name.into(), ratio: None };
    let kind = Some(http_route::filter::Kind::FailureInjector(failure));
    http_route::Rule { matches, filters: vec![http_route::Filter { kind }], ..policy::http_rule(PATH) }
}

fn route(hosts: Vec<api::HostMatch>, rules: Vec<http_route::Rule>) -> HttpRoute {
    HttpRoute { metadata: named("http"), hosts, rules }
}

fn exact_host(name: &str) -> api::HostMatch {
    api::HostMatch { r#match: Some(api::host_match::Match::Exact(name.into())) }
}

fn any_below(name: &str) -> api::HostMatch {
    let reverse_labels = name.rsplit('.').map(str::to_owned).collect();
    api::HostMatch { r#match: Some(api::host_match::Match::Suffix(api::host_match::Suffix { reverse_labels })) }
}

fn path(kind: api::path_match::Kind) -> api::HttpRouteMatch {
    api::HttpRouteMatch { path: Some(api::PathMatch { kind: Some(kind) }), ..Default::default() }
}

#[test]
fn requests_find_the_rule_that_fits_best() {
    isolated!(|| async {
        use api::path_match::Kind::{Exact, Prefix, Regex};
        let header = |name: &str, value| api::HeaderMatch { name: name.into(), value: Some(value) };
        let query = |name: &str, value| api::QueryParamMatch { name: name.into(), value: Some(value) };
        let of_header = api::header_match::Value::Exact(b"1".to_vec());
        let of_regex = api::header_match::Value::Regex("a+".into());
        let of_query = api::query_param_match::Value::Exact("x y".into());
        let plain = path(Prefix("/q".into()));
        let rules = vec![
            saying("regex", vec![path(Regex("/r[0-9]+".into()))]),
            saying("short", vec![path(Prefix("/".into()))]),
            saying("long", vec![path(Prefix("/a/b".into()))]),
            saying("exact", vec![path(Exact("/a/b/c".into()))]),
            saying("plain", vec![plain.clone()]),
            saying("header", vec![api::HttpRouteMatch { headers: vec![header("x", of_header)], ..plain.clone() }]),
            saying("regex header", vec![api::HttpRouteMatch { headers: vec![header("y", of_regex)], ..plain.clone() }]),
            saying("query", vec![api::HttpRouteMatch { query_params: vec![query("p", of_query)], ..plain.clone() }]),
            saying("method", vec![api::HttpRouteMatch { method: Some(HttpMethod::from(http::Method::POST)), ..plain }]),
        ];
        let routes = vec![
            route(vec![exact_host("web.example.com")], vec![saying("host", vec![])]),
            route(vec![any_below("example.com")], vec![saying("wildcard", vec![])]),
            route(vec![], rules),
        ];
        let service = Service::start(http1(routes)).await;
        let get = |path: &str| Request::get(path.to_owned());
        for (request, name) in [
            (get("/x").header("host", "web.example.com"), "host"),
            (get("/x").header("host", "WEB.example.com:8080"), "host"),
            (get("/x").header("host", "other.example.com:80"), "wildcard"),
            (get("/x").header("host", "example.com"), "short"),
            (get("http://web.example.com/x").header("host", "elsewhere"), "host"),
            (get("/a/b/c").header("host", "a"), "exact"),
            (get("/a/b/d").header("host", "a"), "long"),
            (get("/a/b").header("host", "a"), "long"),
            (get("/a/bc").header("host", "a"), "short"),
            (get("/r12").header("host", "a"), "regex"),
            (get("/q").header("host", "a"), "plain"),
            (get("/q").header("host", "a").header("x", "1"), "header"),
            (get("/q").header("host", "a").header("x", "2"), "plain"),
            (get("/q").header("host", "a").header("y", "aaa"), "regex header"),
            (get("/q").header("host", "a").header("y", "aab"), "plain"),
            (get("/q?o&p=x%20y").header("host", "a"), "query"),
            (get("/q?p=x").header("host", "a"), "plain"),
            (Request::post("/q?p=x+y").header("host", "a").header("x", "1"), "method"),
        ] {
            let asked = format!("{request:?}");
            let answer = service.ask(request).await;
            assert_eq!((answer.status, answer.error()), (418, name), "{asked}");
        }
    });
}

#[test]
fn expressions_take_the_whole_path_and_what_fits_nothing_is_not_found() {
    isolated!(|| async {
        let rules = vec![
            saying("prefix", vec![path(api::path_match::Kind::Prefix("/p".into()))]),
            saying("regex", vec![path(api::path_match::Kind::Regex("/p?/?r[0-9]+".into()))]),
        ];
        let mut service = Service::start(http1(vec![route(vec![], rules)])).await;
        assert_eq!(service.get("/r12").await.error(), "regex");
        assert_eq!(service.get("/p/r12").await.error(), "regex", "it matches more than the prefix");
        assert_eq!(service.get("/p/r").await.error(), "prefix");
        let answer = service.get("/r12x").await;
        assert_eq!((answer.status, answer.header("connection")), (404, ""));
        // A policy that comes while the connection lives is the one that holds.
        service.set(http1(vec![route(vec![exact_host("a")], vec![saying("a", vec![])])]));
        assert_eq!(service.ask(Request::get("/").header("host", "b")).await.status, 404);
        let to = service.to;
        service.control.set_policy(to, Ok(http1(vec![route(vec![], vec![saying("all", vec![])])])));
        while service.ask(Request::get("/").header("host", "b")).await.status == 404 {}
        assert_eq!(service.ask(Request::get("/").header("host", "b")).await.error(), "all");
    });
}

/// The opaque part of a policy, alone.
fn opaque_part(mut policy: OutboundPolicy) -> OutboundPolicy {
    let kind = policy.protocol.as_mut().and_then(|protocol| protocol.kind.as_mut()).unwrap();
    let Kind::Detect(detect) = kind else { panic!("{kind:?}") };
    *kind = Kind::Opaque(detect.opaque.take().unwrap());
    policy
}

#[test]
fn a_connection_outlives_the_protocol_of_its_policy_but_not_what_that_forbids() {
    isolated!(|| async {
        let mut service = Service::start(policy::balanced(PATH)).await;
        service.add_one().await;
        let (to, control) = (service.to, service.control.clone());
        let (ask, mut asked) = tokio::sync::mpsc::channel::<tokio::sync::oneshot::Sender<u16>>(1);
        // One connection for all of it.
        let client = service.client.clone();
        tokio::spawn(async move {
            client
                .run(move || async move {
                    let stream = tokio::net::TcpStream::connect(to).await.unwrap();
                    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
                    tokio::spawn(connection);
                    while let Some(answer) = asked.recv().await {
                        let mut sender = sender.clone().ready().await.unwrap();
                        let request = Request::get("http://web/").body(()).unwrap();
                        let response = sender.send_request(request, true).unwrap().0.await.unwrap();
                        let _ = answer.send(response.status().as_u16());
                    }
                })
                .await;
        });
        let get = async || {
            let (answer, answered) = tokio::sync::oneshot::channel();
            ask.send(answer).await.unwrap();
            answered.await.unwrap()
        };
        assert_eq!(get().await, 200);
        let opaque = opaque_part(policy::balanced(PATH));
        let mut forbidden = opaque.clone();
        if let Some(Kind::Opaque(opaque)) = forbidden.protocol.as_mut().and_then(|p| p.kind.as_mut()) {
            let kind = Some(opaque_route::filter::Kind::Forbidden(Default::default()));
            opaque.routes[0].rules[0].filters = vec![opaque_route::Filter { kind }];
        }
        control.set_policy(to, Ok(forbidden));
        while get().await == 200 {}
        assert_eq!(get().await, 403);
        control.set_policy(to, Ok(opaque));
        while get().await == 403 {}
        assert_eq!(get().await, 200);
        // Of the other version of HTTP.
        let rules = vec![saying("http1", vec![])];
        control.set_policy(to, Ok(http1(vec![route(vec![], rules)])));
        while get().await == 200 {}
        assert_eq!(get().await, 418);
    });
}

#[test]
fn grpc_calls_find_their_rule_by_service_method_and_headers() {
    isolated!(|| async {
        let saying = |name: &str, service: &str, method: &str, headers| {
            let failure = grpc_api::GrpcFailureInjector { code: 9, message: name.into(), ratio: None };
            let kind = Some(grpc_route::filter::Kind::FailureInjector(failure));
            let rpc = Some(grpc_api::GrpcRpcMatch { service: service.into(), method: method.into() });
            grpc_route::Rule {
                matches: vec![grpc_api::GrpcRouteMatch { rpc, headers }],
                filters: vec![grpc_route::Filter { kind }],
                ..grpc_rule()
            }
        };
        let value = Some(api::header_match::Value::Exact(b"application/grpc".to_vec()));
        let header = api::HeaderMatch { name: "content-type".into(), value };
        let rules = vec![
            saying("method", "", "Echo", vec![]),
            saying("service", "test.Echo", "", vec![]),
            saying("both", "test.Echo", "Echo", vec![]),
            saying("header", "test.Other", "", vec![header]),
            saying("no header", "test.Other", "", vec![]),
        ];
        let route = GrpcRoute { metadata: named("grpc"), hosts: vec![], rules };
        let kind = Some(Kind::Grpc(Grpc { routes: vec![route], failure_accrual: None }));
        let policy = OutboundPolicy { protocol: Some(ProxyProtocol { kind }), metadata: named("web") };
        let service = Service::start(policy).await;
        for (path, name) in [
            ("/test.Echo/Echo", "both"),
            ("/test.Echo/Ping", "service"),
            ("/test.Third/Echo", "method"),
            ("/test.Other/Ping", "header"),
        ] {
            let answer = service.call(path).await;
            assert_eq!((answer.grpc_status(), answer.header("grpc-message")), ("9", name), "{path}");
        }
        assert_eq!(service.call("/test.Third/Ping").await.grpc_status(), "5");
    });
}

fn grpc_rule() -> grpc_route::Rule {
    let mut rule = grpc_route::Rule::default();
    policy::grpc(PATH, |made| rule = made.clone());
    rule
}

fn with_backends(kind: Distribution) -> OutboundPolicy {
    let backends = Some(http_route::Distribution { kind: Some(kind) });
    http1(vec![route(vec![], vec![http_route::Rule { backends, ..Default::default() }])])
}

fn to(path: &str) -> http_route::RouteBackend {
    http_route::RouteBackend { backend: policy::backend(path), ..Default::default() }
}

fn weighted(backends: &[(&str, u32)]) -> OutboundPolicy {
    let one =
        |(path, weight): &(&str, u32)| http_route::WeightedRouteBackend { backend: Some(to(path)), weight: *weight };
    with_backends(Distribution::RandomAvailable(RandomAvailable { backends: backends.iter().map(one).collect() }))
}

#[test]
fn backends_get_the_share_of_their_weight_and_the_first_available_gets_all() {
    isolated!(|| async {
        let mut service = Service::start(weighted(&[("a:80", 1), ("b:80", 3), ("c:80", 0)])).await;
        for path in ["a:80", "b:80", "c:80"] {
            let app = service.add(path, 1).await.remove(0);
            app.set([Reply { headers: vec![("name", path.into())], ..Reply::ok("") }]);
        }
        let count = async |service: &Service| {
            let mut counts = HashMap::<String, usize>::new();
            for _ in 0..120 {
                *counts.entry(service.get("/").await.header("name").to_owned()).or_default() += 1;
            }
            counts
        };
        let counts = count(&service).await;
        assert!(counts.len() == 2 && (12..=50).contains(&counts["a:80"]), "{counts:?}");
        let first = FirstAvailable { backends: vec![to("b:80"), to("a:80")] };
        service.set(with_backends(Distribution::FirstAvailable(first)));
        assert_eq!(count(&service).await, HashMap::from([("b:80".to_owned(), 120)]));
    });
}

#[test]
fn a_backend_without_endpoints_is_passed_over() {
    isolated!(|| async {
        let first = FirstAvailable { backends: vec![to("none:80"), to("a:80")] };
        let policy = with_backends(Distribution::FirstAvailable(first));
        let settings = [("OUTBOUND_HTTP_FAILFAST_TIMEOUT", "1500ms")];
        let mut service = Service::start_with(policy, Default::default(), &settings).await;
        service.add("a:80", 1).await;
        let answer = service.get("/").await;
        assert!(answer.body == "ok" && answer.took.as_millis() < 1_500, "{answer:?}");
        // With neither they fail after the time that there is for one.
        service.set_endpoints("a:80", []);
        while service.get("/").await.status == 200 {}
        assert_eq!(service.get("/").await.status, 504);
        service.add("none:80", 1).await;
        while service.get("/").await.status != 200 {}
    });
}

#[test]
fn what_leads_nowhere_is_a_bad_gateway_and_what_cannot_be_obeyed_says_so() {
    isolated!(|| async {
        let mut nowhere = to(PATH);
        nowhere.backend.as_mut().unwrap().kind = None;
        let nowhere = FirstAvailable { backends: vec![nowhere] };
        let mut service = Service::start(with_backends(Distribution::FirstAvailable(nowhere))).await;
        assert_eq!(service.get("/").await.status, 502);
        service.set(with_backends(Distribution::Empty(http_route::distribution::Empty {})));
        assert_eq!(service.get("/").await.status, 502);
        service.set(weighted(&[("a:80", 0)]));
        assert_eq!(service.get("/").await.status, 502);

        let unknown = http_route::Rule { filters: vec![http_route::Filter { kind: None }], ..policy::http_rule(PATH) };
        service.set(http1(vec![route(vec![], vec![unknown])]));
        let answer = service.get("/").await;
        assert_eq!((answer.status, answer.error()), (500, "invalid policy: unknown filter"));

        let mut bad = to(PATH);
        if let Some(backend::Kind::Balancer(balancer)) = bad.backend.as_mut().and_then(|b| b.kind.as_mut()) {
            balancer.load = None;
        }
        let good = || FirstAvailable { backends: vec![to(PATH)] };
        let mut policy = with_backends(Distribution::FirstAvailable(good()));
        if let Some(Kind::Http1(http)) = policy.protocol.as_mut().and_then(|p| p.kind.as_mut()) {
            let kind = Some(Distribution::FirstAvailable(FirstAvailable { backends: vec![to(PATH), bad] }));
            let backends = Some(http_route::Distribution { kind });
            http.routes[0].rules.push(http_route::Rule { backends, ..Default::default() });
        }
        service.set(policy);
        let answer = service.get("/").await;
        let error = "invalid policy: routes[0].rules[1].backends[1]: load is missing";
        assert_eq!((answer.status, answer.error(), answer.header("connection")), (500, error, "close"));
    });
}
