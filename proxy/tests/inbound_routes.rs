//! Routes of inbound ports: which one a request has, what its filters do, and that every request is judged anew.

use crate::{
    inbound_policy::guarded,
    isolated,
    mesh::{BOT, HTTP1, HTTP2},
    support::inbound::{ask, ask_as, connect_as, detect_with, everybody, named, only, server},
};
use linkerd2_proxy_api::{
    destination as dst, grpc_route as grpc_matches, http_route as matches, http_types,
    inbound::{
        GrpcRoute, HttpRoute, grpc_route, http_route,
        proxy_protocol::{Grpc, Kind},
    },
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

type Filter = http_route::filter::Kind;

fn path(kind: matches::path_match::Kind) -> matches::HttpRouteMatch {
    matches::HttpRouteMatch { path: Some(matches::PathMatch { kind: Some(kind) }), ..Default::default() }
}

fn exact(text: &str) -> matches::HttpRouteMatch {
    path(matches::path_match::Kind::Exact(text.into()))
}

fn prefix(text: &str) -> matches::HttpRouteMatch {
    path(matches::path_match::Kind::Prefix(text.into()))
}

fn route(name: &str, matched: matches::HttpRouteMatch, filters: Vec<Filter>) -> HttpRoute {
    let filters = filters.into_iter().map(|kind| http_route::Filter { kind: Some(kind) }).collect();
    let rules = vec![http_route::Rule { matches: vec![matched], filters }];
    HttpRoute { metadata: named(name), authorizations: vec![everybody()], rules, ..Default::default() }
}

fn header(name: &str, value: &str) -> http_types::headers::Header {
    http_types::headers::Header { name: name.into(), value: value.into() }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: web.test:8080\r\nConnection: close\r\n\r\n")
}

#[test]
fn requests_have_the_route_that_fits_best_and_its_filters() {
    isolated!(|| async {
        let refuse = Filter::FailureInjector(matches::HttpFailureInjector {
            status: 418,
            message: "a teapot".into(),
            ratio: Some(matches::Ratio { numerator: 1, denominator: 1 }),
        });
        let headers = |list: Vec<_>| Some(http_types::Headers { headers: list });
        let modify = Filter::RequestHeaderModifier(matches::RequestHeaderModifier {
            add: headers(vec![header("x-added", "1")]),
            set: headers(vec![header("x-set", "2")]),
            remove: vec!["x-removed".into()],
        });
        let replace = matches::path_modifier::Replace::Prefix("/new".into());
        let redirect = Filter::Redirect(matches::RequestRedirect {
            host: "other.test".into(),
            path: Some(matches::PathModifier { replace: Some(replace) }),
            status: 307,
            ..Default::default()
        });
        let mut other_host = route("other-host", prefix("/"), vec![]);
        let host = matches::host_match::Match::Exact("other.host".into());
        other_host.hosts = vec![matches::HostMatch { r#match: Some(host) }];
        let routes = vec![
            route("prefix", prefix("/a"), vec![]),
            route("exact", exact("/a/b"), vec![refuse]),
            route("modified", exact("/modified"), vec![modify]),
            route("redirected", prefix("/old"), vec![redirect]),
            other_host,
        ];
        let guarded = guarded(vec![(HTTP1, server(Kind::Detect(detect_with(routes)), vec![]))], &[]).await;
        let (to, authority) = (guarded.addr(HTTP1), guarded.authority.clone());

        assert!(ask(to, &get("/a/c")).await.starts_with("HTTP/1.1 200 "));
        let answer = ask_as(&authority, Some(BOT), to, &get("/a/b")).await;
        assert!(answer.starts_with("HTTP/1.1 418 ") && answer.contains("l5d-proxy-error: a teapot\r\n"), "{answer}");
        let request = "GET /modified HTTP/1.1\r\nHost: web\r\nConnection: close\r\nX-Removed: 0\r\nX-Set: 1\r\n\r\n";
        let answer = ask(to, request).await;
        assert!(answer.contains("saw-x-added: 1\r\n") && answer.contains("saw-x-set: 2\r\n"), "{answer}");
        assert!(!answer.contains("saw-x-removed"), "{answer}");
        let answer = ask(to, &get("/old/page?q")).await;
        assert!(answer.starts_with("HTTP/1.1 307 "), "{answer}");
        assert!(answer.contains("location: http://other.test:8080/new/page?q\r\n"), "{answer}");
        assert!(ask(to, &get("/elsewhere")).await.starts_with("HTTP/1.1 404 "));
        let request = "GET /elsewhere HTTP/1.1\r\nHost: OTHER.host:8080\r\nConnection: close\r\n\r\n";
        assert!(ask(to, request).await.starts_with("HTTP/1.1 200 "));
        let labels = ["srv_name=\"web\"", "srv_port=\"8080\"", "target_addr=", "tls=\"no_identity\""];
        assert_eq!(guarded.proxy.metric("inbound_http_route_not_found_total", &labels).await, Some(1.0));
        let labels = ["route_name=\"prefix\"", "authz_name=\"authz\""];
        assert_eq!(guarded.proxy.metric("inbound_http_authz_allow_total", &labels).await, Some(1.0));
        assert_eq!(guarded.proxy.metric("inbound_http_requests_total", &["route_name=\"prefix\""]).await, Some(1.0));
    });
}

#[test]
fn grpc_requests_are_answered_in_grpc() {
    isolated!(|| async {
        let rule = |service: &str, method: &str, filters| {
            let rpc = grpc_matches::GrpcRpcMatch { service: service.into(), method: method.into() };
            let matches = vec![grpc_matches::GrpcRouteMatch { rpc: Some(rpc), headers: vec![] }];
            grpc_route::Rule { matches, filters }
        };
        let failure = grpc_matches::GrpcFailureInjector { code: 9, message: "not now".into(), ratio: None };
        let failure = vec![grpc_route::Filter { kind: Some(grpc_route::filter::Kind::FailureInjector(failure)) }];
        let of =
            |name: &str, authz, rules| GrpcRoute { metadata: named(name), hosts: vec![], authorizations: authz, rules };
        let routes = vec![
            of("open", vec![everybody()], vec![rule("a.A", "", vec![]), rule("a.A", "Fail", failure)]),
            of("closed", vec![only("nobody")], vec![rule("a.A", "Closed", vec![])]),
        ];
        let guarded = guarded(vec![(HTTP2, server(Kind::Grpc(Grpc { routes }), vec![]))], &[]).await;
        let stream = connect_as(&guarded.authority, Some(BOT), &[], guarded.addr(HTTP2)).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        // The last are gRPC's own: failed precondition, permission denied, not found.
        let cases = [("/a.A/Other", None), ("/a.A/Fail", Some("9")), ("/a.A/Closed", Some("7")), ("/b.B/X", Some("5"))];
        for (path, code) in cases {
            let request =
                http::Request::post(format!("http://web{path}")).header("content-type", "application/grpc+proto");
            sender = sender.ready().await.unwrap();
            let (response, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
            let head = response.await.unwrap().into_parts().0;
            assert_eq!(head.status, 200, "{path}");
            assert_eq!(head.headers.contains_key("saw-version"), code.is_none(), "{path}");
            if let Some(code) = code {
                assert_eq!(head.headers["grpc-status"], code, "{path}");
                assert_eq!(head.headers["content-type"], "application/grpc", "{path}");
                // The client is meshed, so it is told why.
                assert_eq!(head.headers["grpc-message"], head.headers["l5d-proxy-error"], "{path}");
            }
        }
        assert_eq!(guarded.proxy.metric("inbound_grpc_requests_total", &["route_name=\"open\""]).await, Some(1.0));
    });
}

#[test]
fn every_request_of_a_connection_is_judged_by_the_policy_of_the_moment() {
    isolated!(|| async {
        let policy = |authz| Ok(server(Kind::Detect(detect_with(vec![])), vec![authz]));
        let mut guarded = guarded(vec![(HTTP1, policy(everybody()).unwrap())], &[]).await;
        let stream = connect_as(&guarded.authority, Some(BOT), &[], guarded.addr(HTTP1)).await.unwrap();
        let stream = tokio::sync::Mutex::new(BufReader::new(stream));
        // One request on the connection that stays.
        let status = async || {
            let mut stream = stream.lock().await;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n").await.unwrap();
            stream.flush().await.unwrap();
            let (mut status, mut length) = (String::new(), 0);
            stream.read_line(&mut status).await.unwrap();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                if line == "\r\n" || line.is_empty() {
                    break;
                }
                let line = line.to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
                // The application sends its empty body in one chunk.
                if line.starts_with("transfer-encoding: chunked") {
                    length = "0\r\n\r\n".len();
                }
            }
            stream.read_exact(&mut vec![0; length]).await.unwrap();
            status.split(' ').nth(1).unwrap_or_default().to_owned()
        };
        assert_eq!(status().await, "200");
        for (authz, expected) in [(only("nobody"), "403"), (only(BOT), "200"), (only("nobody"), "403")] {
            guarded.control.set_inbound(HTTP1, policy(authz));
            guarded.proxy.wait_for("the policy", async |_| status().await == expected).await;
        }
        // A port that is no longer HTTP has no routes for what still is.
        let opaque = Kind::Opaque(linkerd2_proxy_api::inbound::proxy_protocol::Opaque {});
        guarded.control.set_inbound(HTTP1, Ok(server(opaque, vec![everybody()])));
        guarded.proxy.wait_for("the policy", async |_| status().await == "404").await;
        let labels = ["peer=\"src\"", "tls=\"true\""];
        assert_eq!(guarded.proxy.metric("tcp_open_total", &labels).await, Some(1.0));
    });
}

#[test]
fn requests_are_counted_by_the_routes_of_the_profile_that_they_are_for() {
    isolated!(|| async {
        const WEB_PATH: &str = "web.test.svc.cluster.local:8080";
        const CANONICAL: &str = "other.test.svc.cluster.local:80";
        let policy = server(Kind::Detect(detect_with(vec![])), vec![everybody()]);
        let guarded = guarded(vec![(HTTP1, policy)], &[]).await;
        let profile = |name: &str, label: &str| {
            let method = dst::request_match::Match::Method(http::Method::GET.into());
            let conflict = dst::response_match::Match::Status(dst::HttpStatusRange { min: 409, max: 409 });
            let class = dst::ResponseClass {
                condition: Some(dst::ResponseMatch { r#match: Some(conflict) }),
                is_failure: true,
            };
            let route = dst::Route {
                condition: Some(dst::RequestMatch { r#match: Some(method) }),
                metrics_labels: [("route".to_owned(), label.to_owned())].into(),
                response_classes: vec![class],
                ..Default::default()
            };
            dst::DestinationProfile { fully_qualified_name: name.into(), routes: vec![route], ..Default::default() }
        };
        guarded.control.set_profile(WEB_PATH, profile("web.test.svc.cluster.local", "GET"));
        guarded.control.set_profile(CANONICAL, profile("other.test.svc.cluster.local", "other"));
        let request = |method: &str, more: &str| {
            format!("{method} / HTTP/1.1\r\nHost: {WEB_PATH}\r\n{more}Connection: close\r\n\r\n")
        };
        let to = guarded.addr(HTTP1);
        assert!(ask(to, &request("GET", "")).await.starts_with("HTTP/1.1 200 "));
        assert!(ask(to, &request("GET", "status: 409\r\n")).await.starts_with("HTTP/1.1 409 "));
        assert!(ask(to, &request("PUT", "Content-Length: 0\r\n")).await.starts_with("HTTP/1.1 200 "));
        let dst = format!("dst=\"{WEB_PATH}\"");
        let get = ["direction=\"inbound\"", &dst, "rt_route=\"GET\""];
        assert_eq!(guarded.proxy.metric("route_request_total", &get).await, Some(2.0));
        assert_eq!(guarded.proxy.metric("route_request_total", &["direction=\"inbound\"", &dst]).await, Some(3.0));
        for family in ["route_response_total", "response_total"] {
            let labels = ["direction=\"inbound\"", "status_code=\"409\"", "classification=\"failure\""];
            assert_eq!(guarded.proxy.metric(family, &labels).await, Some(1.0), "{family}");
        }
        let latencies = guarded.proxy.metric("route_response_latency_ms_count", &get).await;
        assert_eq!(latencies, Some(2.0));

        // A proxy's word of what a request is for counts; a stranger's does not.
        let canonical = request("GET", &format!("l5d-dst-canonical: {CANONICAL}\r\n"));
        let other = ["direction=\"inbound\"", "rt_route=\"other\""];
        assert!(ask(to, &canonical).await.starts_with("HTTP/1.1 200 "));
        assert_eq!(guarded.proxy.metric("route_request_total", &other).await, None);
        assert!(ask_as(&guarded.authority, Some(BOT), to, &canonical).await.starts_with("HTTP/1.1 200 "));
        assert_eq!(guarded.proxy.metric("route_request_total", &other).await, Some(1.0));

        // Nobody waits long for a profile.
        guarded.control.stop().await;
        let started = std::time::Instant::now();
        let request = "GET / HTTP/1.1\r\nHost: unknown.test.svc.cluster.local\r\nConnection: close\r\n\r\n";
        assert!(ask(to, request).await.starts_with("HTTP/1.1 200 "));
        assert!(started.elapsed() >= std::time::Duration::from_millis(500), "{:?}", started.elapsed());
        let started = std::time::Instant::now();
        assert!(ask(to, request).await.starts_with("HTTP/1.1 200 "));
        assert!(started.elapsed() < std::time::Duration::from_millis(500), "{:?}", started.elapsed());
    });
}
