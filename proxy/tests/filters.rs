//! What rules and their backends do to requests and responses.

use crate::{
    isolated,
    support::{
        policy,
        proxy::Proxy,
        replica::ask_times,
        script::{PATH, Reply, Service},
    },
};
use http::Request;
use http_route::filter::Kind;
use linkerd2_proxy_api::{
    grpc_route, http_route as api,
    http_types::{Headers, headers::Header},
    outbound::{OutboundPolicy, grpc_route as grpc, http_route},
};
use tulle_proxy::control::overlay;

const MIRRORS: &str = "outbound_http_route_mirrors_total";

fn filters(kinds: impl IntoIterator<Item = Kind>) -> Vec<http_route::Filter> {
    kinds.into_iter().map(|kind| http_route::Filter { kind: Some(kind) }).collect()
}

fn with(rule: impl IntoIterator<Item = Kind>, backend: impl IntoIterator<Item = Kind>) -> OutboundPolicy {
    let mut backend = Some(filters(backend));
    let mut made = http_route::Rule { filters: filters(rule), ..policy::http_rule(PATH) };
    if let Some(http_route::distribution::Kind::FirstAvailable(first)) =
        made.backends.as_mut().and_then(|d| d.kind.as_mut())
    {
        first.backends[0].filters = backend.take().unwrap();
    }
    policy::detected(PATH, made)
}

fn headers(pairs: &[(&str, &str)]) -> Option<Headers> {
    let header = |(name, value): &(&str, &str)| Header { name: (*name).into(), value: value.as_bytes().to_vec() };
    Some(Headers { headers: pairs.iter().map(header).collect() })
}

fn request_headers(add: &[(&str, &str)], set: &[(&str, &str)], remove: &[&str]) -> Kind {
    let remove = remove.iter().map(|name| (*name).into()).collect();
    Kind::RequestHeaderModifier(api::RequestHeaderModifier { add: headers(add), set: headers(set), remove })
}

fn failure(numerator: u32, denominator: u32) -> Kind {
    Kind::FailureInjector(api::HttpFailureInjector {
        status: 503,
        message: "on purpose".into(),
        ratio: Some(api::Ratio { numerator, denominator }),
    })
}

/// What a stock proxy is given in place of what it would not do.
fn refusal() -> Kind {
    Kind::FailureInjector(api::HttpFailureInjector {
        status: 500,
        message: "needs Tulle's proxy".into(),
        ratio: Some(api::Ratio { numerator: 1, denominator: 1 }),
    })
}

#[test]
fn headers_are_removed_set_and_added_by_rule_and_backend() {
    isolated!(|| async {
        let response = |set: &[(&str, &str)]| {
            Kind::ResponseHeaderModifier(api::ResponseHeaderModifier {
                add: headers(&[("seen-by", "proxy")]),
                set: headers(set),
                remove: vec!["secret".into()],
            })
        };
        let rule = [request_headers(&[("x", "added")], &[("y", "set")], &["z"]), response(&[("from", "rule")])];
        let backend = [request_headers(&[("x", "backend's")], &[], &[]), response(&[("from", "backend")])];
        let mut service = Service::start(with(rule, backend)).await;
        let app = service.add_one().await;
        app.set([Reply { headers: vec![("secret", "1".into()), ("from", "app".into())], ..Reply::ok("ok") }]);
        let ask = Request::get("/").header("host", "web").header("x", "own").header("y", "own").header("z", "own");
        let answer = service.ask(ask).await;
        let seen = app.take_seen().remove(0).headers;
        assert_eq!(seen.get_all("x").iter().collect::<Vec<_>>(), ["own", "added", "backend's"]);
        assert_eq!(seen.get_all("y").iter().collect::<Vec<_>>(), ["set"]);
        assert!(!seen.contains_key("z"));
        assert!(!answer.headers.contains_key("secret"));
        assert_eq!(answer.headers.get_all("seen-by").iter().count(), 2);
        assert_eq!(answer.header("from"), "rule", "the rule's come last");
    });
}

#[test]
fn failures_are_injected_for_their_share() {
    isolated!(|| async {
        let mut service = Service::start(policy::balanced(PATH)).await;
        service.add_one().await;
        for (policy, expected) in [
            (with([failure(1, 1)], []), 40..=40),
            (with([], [failure(1, 1)]), 40..=40),
            (with([failure(0, 1)], []), 0..=0),
            (with([failure(1, 2)], []), 6..=34),
        ] {
            service.set(policy);
            let mut failed = 0;
            for _ in 0..40 {
                let answer = service.get("/").await;
                if answer.status == 503 {
                    failed += 1;
                    assert_eq!((answer.error(), answer.header("connection")), ("on purpose", ""));
                }
            }
            assert!(expected.contains(&failed), "{failed} of {expected:?}");
        }
    });
}

#[test]
fn grpc_failures_have_their_code_and_message() {
    isolated!(|| async {
        let failure = grpc_route::GrpcFailureInjector {
            code: 8,
            message: "enough".into(),
            ratio: Some(api::Ratio { numerator: 1, denominator: 1 }),
        };
        let kind = Some(grpc::filter::Kind::FailureInjector(failure));
        let policy = policy::grpc(PATH, |rule| rule.filters = vec![grpc::Filter { kind }]);
        let service = Service::start(policy).await;
        let answer = service.call("/test.Echo/Echo").await;
        assert_eq!((answer.status, answer.grpc_status(), answer.header("grpc-message")), (200, "8", "enough"));
        // Who does not speak gRPC must not take it for a success.
        let answer = service.send(Request::get("http://web/"), "", true).await;
        assert_eq!(answer.status, 500);
    });
}

#[test]
fn redirects_say_where_to_go() {
    isolated!(|| async {
        use api::path_modifier::Replace;
        let to = |host: &str, port, status, path: Option<Replace>| {
            let path = path.map(|replace| api::PathModifier { replace: Some(replace) });
            api::RequestRedirect { host: host.into(), port, status, path, ..Default::default() }
        };
        let https = api::RequestRedirect { scheme: Some((&http::uri::Scheme::HTTPS).into()), ..to("", 0, 308, None) };
        let mut service = Service::start(policy::balanced(PATH)).await;
        for (redirect, status, location) in [
            (to("other", 0, 302, None), 302, "http://other:8080/old/x?q"),
            (to("", 80, 0, None), 301, "http://web/old/x?q"),
            (to("", 81, 307, Some(Replace::Full("/new".into()))), 307, "http://web:81/new"),
            (to("", 0, 303, Some(Replace::Prefix("/new".into()))), 303, "http://web:8080/new/x?q"),
            (https, 308, "https://web/old/x?q"),
            (to("", 0, 303, None), 303, "http://web:8080/old/x?q"),
        ] {
            let prefix = api::PathMatch { kind: Some(api::path_match::Kind::Prefix("/old".into())) };
            let matches = vec![api::HttpRouteMatch { path: Some(prefix), ..Default::default() }];
            let rule =
                http_route::Rule { matches, filters: filters([Kind::Redirect(redirect)]), ..policy::http_rule(PATH) };
            service.set(policy::detected(PATH, rule));
            let answer = service.ask(Request::get("/old/x?q").header("host", "web:8080")).await;
            assert_eq!((answer.status, answer.header("location")), (status, location));
        }
    });
}

fn ours(rule: overlay::HttpRule) -> overlay::OutboundPolicy {
    overlay::OutboundPolicy { http_rules: vec![rule], ..Default::default() }
}

#[test]
fn rewrites_change_host_and_path_and_a_refusal_is_left_out() {
    isolated!(|| async {
        let mut policy = with([refusal()], [refusal()]);
        let matches = |policy: &mut OutboundPolicy| {
            use linkerd2_proxy_api::outbound::proxy_protocol::Kind;
            let Some(Kind::Detect(detect)) = policy.protocol.as_mut().and_then(|p| p.kind.as_mut()) else { return };
            let routes = [&mut detect.http1.as_mut().unwrap().routes, &mut detect.http2.as_mut().unwrap().routes];
            for route in routes.into_iter().flatten() {
                let prefix = api::PathMatch { kind: Some(api::path_match::Kind::Prefix("/old".into())) };
                route.rules[0].matches = vec![api::HttpRouteMatch { path: Some(prefix), ..Default::default() }];
            }
        };
        matches(&mut policy);
        let rewrite = |host: &str, path| Some(overlay::UrlRewrite { host: host.into(), path });
        let rule = overlay::HttpRule {
            has_refusal: true,
            url_rewrite: rewrite("inner", Some(overlay::PathRewrite::Prefix("/new".into()))),
            backends: vec![overlay::HttpBackend {
                has_refusal: true,
                url_rewrite: rewrite("innermost", None),
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut service = Service::start_with(policy, ours(rule), &[]).await;
        let app = service.add_one().await;
        let answer = service.get("/old/x?q=/old").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = app.take_seen().remove(0);
        assert_eq!(
            (&seen.uri[..], &seen.headers["host"]),
            ("/new/x?q=/old", &"innermost".parse::<http::HeaderValue>().unwrap())
        );
        let answer = service.send(Request::get("http://web/old"), "", true).await;
        assert_eq!((answer.status, &app.take_seen()[0].uri[..]), (200, "http://innermost/new"));
    });
}

#[test]
fn responses_of_grpc_are_changed_by_rule_and_backend() {
    isolated!(|| async {
        let change = |name: &str| api::ResponseHeaderModifier {
            set: headers(&[(name, "set"), ("both", name)]),
            remove: vec!["secret".into()],
            ..Default::default()
        };
        let rule = overlay::HttpRule {
            response_headers: vec![change("of-rule")],
            backends: vec![overlay::HttpBackend { response_headers: vec![change("of-backend")], ..Default::default() }],
            ..Default::default()
        };
        let mut service = Service::start_with(policy::grpc(PATH, |_| {}), ours(rule), &[]).await;
        let app = service.add_one().await;
        app.set([Reply::grpc(&[(0, "hi")], "0")].map(|mut reply| {
            reply.headers.push(("secret", "1".into()));
            reply
        }));
        let answer = service.call("/test.Echo/Echo").await;
        assert_eq!((answer.grpc_status(), answer.header("of-rule"), answer.header("of-backend")), ("0", "set", "set"));
        assert_eq!((answer.header("both"), answer.headers.contains_key("secret")), ("of-rule", false));
    });
}

#[test]
fn without_the_fields_that_it_stands_for_a_refusal_refuses() {
    isolated!(|| async {
        let mut service = Service::start(with([refusal()], [])).await;
        service.add_one().await;
        let answer = service.get("/").await;
        assert_eq!((answer.status, answer.error()), (500, "needs Tulle's proxy"));
    });
}

#[test]
fn copies_go_to_the_mirror_and_cost_the_request_nothing() {
    isolated!(|| async {
        const COPY: &str = "copy.test.svc.cluster.local:80";
        let mirror = overlay::Mirror { authority: COPY.into(), name: "copy".into(), port: 80, ..Default::default() };
        let none = overlay::Mirror { numerator: 0, denominator: 10, ..mirror.clone() };
        let rule = overlay::HttpRule { mirrors: vec![mirror, none], ..Default::default() };
        let mut service = Service::start_with(policy::balanced(PATH), ours(rule), &[]).await;
        let app = service.add_one().await;
        let copy = service.add(COPY, 1).await.remove(0);
        // Its answers are late and bad, which nobody notices.
        copy.set([Reply::after(2_000, Reply::status(500))]);
        let count = async |service: &Service, result: &str| {
            let labels = [&format!("result=\"{result}\"")[..], "backend_name=\"copy\""];
            service.count(MIRRORS, &labels).await
        };
        let post = |n: u32| Request::post("/x?y").header("host", "web").header("n", n);
        let answer = service.send(post(1), "a body", false).await;
        assert!(answer.body == "ok" && answer.took.as_millis() < 1_900, "{answer:?}");
        assert_eq!(service.send(post(2), "x".repeat(64 * 1024 + 1), false).await.body, "ok");
        assert_eq!(service.get("/bare").await.body, "ok");
        service
            .proxy
            .wait_for("two answers", async |proxy| proxy.metric(MIRRORS, &["result=\"answered\""]).await == Some(2.0))
            .await;
        let mut seen = copy.take_seen();
        seen.sort_by_key(|seen| seen.uri.clone());
        let [bare, whole] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((&bare.uri[..], &whole.uri[..], &whole.body[..]), ("/bare", "/x?y", &b"a body"[..]));
        assert_eq!(
            (&whole.headers["n"], &whole.headers["host"]),
            (&"1".parse::<http::HeaderValue>().unwrap(), &"web".parse::<http::HeaderValue>().unwrap())
        );
        assert_eq!(app.take_seen().len(), 3);
        assert_eq!((count(&service, "incomplete").await, count(&service, "failed").await), (1.0, 0.0));
    });
}

#[test]
fn copies_are_left_out_when_too_many_are_under_way() {
    isolated!(|| async {
        const COPY: &str = "copy.test.svc.cluster.local:80";
        // The proxy's limit, and some more.
        const LIMIT: usize = 256;
        const MORE: usize = 8;
        let mirror = overlay::Mirror { authority: COPY.into(), name: "copy".into(), port: 80, ..Default::default() };
        let rule = overlay::HttpRule { mirrors: vec![mirror], ..Default::default() };
        let mut service = Service::start_with(policy::balanced(PATH), ours(rule), &[]).await;
        service.add_one().await;
        let copy = service.add(COPY, 1).await.remove(0);
        copy.set([Reply::after(60_000, Reply::ok("late"))]);
        let answers = ask_times(&service.client, service.to, LIMIT + MORE).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        assert_eq!(service.count(MIRRORS, &["result=\"overflow\""]).await, MORE as f64);
        let arrived = async |_: &Proxy| copy.count() == LIMIT;
        service.proxy.wait_for("the copies", arrived).await;
    });
}

#[test]
fn a_mirror_that_is_not_there_fails_nothing() {
    isolated!(|| async {
        let mirror = overlay::Mirror { authority: "gone:80".into(), name: "gone".into(), ..Default::default() };
        let backends = vec![overlay::HttpBackend { mirrors: vec![mirror], ..Default::default() }];
        let rule = overlay::HttpRule { backends, ..Default::default() };
        let settings = [("OUTBOUND_HTTP_FAILFAST_TIMEOUT", "1500ms")];
        let mut service = Service::start_with(policy::balanced(PATH), ours(rule), &settings).await;
        service.add_one().await;
        let answer = service.get("/").await;
        assert!(answer.status == 200 && answer.took.as_millis() < 1_400, "{answer:?}");
        service
            .proxy
            .wait_for("the failure", async |proxy| proxy.metric(MIRRORS, &["result=\"failed\""]).await == Some(1.0))
            .await;
    });
}

fn session(kind: overlay::SessionKind, absolute_timeout_ms: u64, idle_timeout_ms: u64) -> overlay::OutboundPolicy {
    ours(overlay::HttpRule {
        has_refusal: true,
        session_persistence: Some(overlay::SessionPersistence {
            kind: kind.into(),
            name: "x-session".into(),
            absolute_timeout_ms,
            idle_timeout_ms,
            is_permanent: absolute_timeout_ms > 0,
        }),
        ..Default::default()
    })
}

#[test]
fn a_cookie_keeps_a_session_at_its_endpoint_until_that_is_gone() {
    isolated!(|| async {
        let ours = session(overlay::SessionKind::Cookie, 3_600_000, 0);
        let mut service = Service::start_with(with([refusal()], []), ours, &[]).await;
        let apps = service.add(PATH, 3).await;
        let first = service.get("/").await;
        let cookie = first.header("set-cookie").to_owned();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert!(pair.starts_with("x-session=") && !cookie.contains(&apps[0].addr.ip().to_string()), "{cookie}");
        assert!(attributes.starts_with("Path=/; HttpOnly; Max-Age=3"), "{cookie}");
        let ask = |pair: &str| Request::get("/").header("host", "web").header("cookie", format!("a=b; {pair}"));
        for _ in 0..30 {
            let answer = service.ask(ask(pair)).await;
            assert_eq!((answer.header("app"), answer.header("set-cookie")), (first.header("app"), ""));
        }
        let others = apps.iter().map(|app| app.addr).filter(|addr| addr.to_string() != first.header("app"));
        service.set_endpoints(PATH, others);
        service
            .proxy
            .wait_for("the new set", async |proxy| {
                proxy.metric("outbound_http_balancer_p2c_endpoints", &[]).await == Some(2.0)
            })
            .await;
        let moved = service.ask(ask(pair)).await;
        assert_ne!(moved.header("app"), first.header("app"));
        let pair = moved.header("set-cookie").split_once("; ").unwrap().0;
        for _ in 0..10 {
            assert_eq!(service.ask(ask(pair)).await.header("app"), moved.header("app"));
        }
        // What nobody has sealed leads nowhere in particular.
        assert!(!service.ask(ask("x-session=nonsense")).await.header("set-cookie").is_empty());
    });
}

#[test]
fn a_session_ends_in_its_time_however_much_it_is_used() {
    isolated!(|| async {
        let ours = session(overlay::SessionKind::Cookie, 1_500, 0);
        let mut service = Service::start_with(with([refusal()], []), ours, &[]).await;
        service.add(PATH, 3).await;
        let began = std::time::Instant::now();
        let first = service.get("/").await;
        let (pair, attributes) = first.header("set-cookie").split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; Max-Age=1");
        loop {
            let answer = service.ask(Request::get("/").header("host", "web").header("cookie", pair)).await;
            if !answer.header("set-cookie").is_empty() {
                break;
            }
            assert_eq!(answer.header("app"), first.header("app"));
        }
        assert!(began.elapsed().as_millis() >= 1_500, "{:?}", began.elapsed());
    });
}

#[test]
fn a_header_keeps_a_grpc_session_and_idle_ones_end() {
    isolated!(|| async {
        let ours = session(overlay::SessionKind::Header, 0, 1_500);
        let mut service = Service::start_with(with([refusal()], []), ours, &[]).await;
        let apps = service.add(PATH, 3).await;
        for app in &apps {
            app.set([Reply::grpc(&[(0, "hi")], "0")]);
        }
        let call = async |token: &str| {
            let request = Request::post("http://web/test.Echo/Echo").header("content-type", "application/grpc");
            let request = if token.is_empty() { request } else { request.header("x-session", token) };
            service.send(request, "message", true).await
        };
        let first = call("").await;
        assert_eq!((first.grpc_status(), &first.body[..]), ("0", "hi"));
        let mut token = first.header("x-session").to_owned();
        for _ in 0..20 {
            let answer = call(&token).await;
            assert_eq!(answer.header("app"), first.header("app"));
            token = answer.header("x-session").to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(1_600)).await;
        let mut places = std::collections::HashSet::new();
        for _ in 0..20 {
            places.insert(call(&token).await.header("app").to_owned());
        }
        assert!(places.len() > 1, "{places:?}");
    });
}
