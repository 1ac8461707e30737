//! Requests that are sent again: when, how often, with what of their bodies, and what is counted.

use crate::{
    isolated,
    mesh::{WEB, meshed_endpoint},
    support::{
        policy::{self, ms},
        replica::ask_times,
        script::{PATH, Reply, SERVICE, Service},
    },
};
use http::Request;
use linkerd2_proxy_api::{
    destination as dst,
    http_types::HttpMethod,
    outbound::{ExponentialBackoff, FailureAccrual, OutboundPolicy, failure_accrual, grpc_route, http_route},
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const RETRY: &str = "outbound_http_route_retry";
const GRPC_RETRY: &str = "outbound_grpc_route_retry";

fn backoff(min_ms: i32, respects_retry_after: bool) -> ExponentialBackoff {
    ExponentialBackoff {
        respect_retry_after_hint: respects_retry_after,
        ..policy::backoff(min_ms, min_ms * 10).unwrap()
    }
}

/// So many retries of 5xx.
fn retry(max_retries: u32) -> http_route::Retry {
    let range = http_route::retry::conditions::StatusRange { start: 500, end: 599 };
    http_route::Retry {
        max_retries,
        conditions: Some(http_route::retry::Conditions { status_ranges: vec![range] }),
        backoff: Some(backoff(5, false)),
        ..Default::default()
    }
}

fn retrying(retry: http_route::Retry) -> OutboundPolicy {
    policy::detected(PATH, http_route::Rule { retry: Some(retry), ..policy::http_rule(PATH) })
}

async fn counts(service: &Service, family: &str) -> [f64; 4] {
    let mut counts = [0.0; 4];
    for (at, name) in ["requests", "successes", "limit_exceeded", "overflow"].into_iter().enumerate() {
        counts[at] = service.count(&format!("{family}_{name}_total"), &["parent_name=\"web\""]).await;
    }
    counts
}

#[test]
fn a_failed_request_is_sent_again_with_its_body_and_to_another_endpoint() {
    isolated!(|| async {
        let mut service = Service::start(retrying(retry(2))).await;
        let apps = service.add(PATH, 2).await;
        apps[0].set([Reply::status(503)]);
        // Slower than what a balancer takes an endpoint for that it does not know: it prefers the other one.
        apps[1].set([Reply::after(60, Reply::ok("ok"))]);
        for n in 0..20 {
            let request = Request::post("/x?y").header("host", "web").header("n", n);
            let answer = service.send(request, format!("body {n}"), false).await;
            assert_eq!((answer.status, answer.header("app")), (200, &apps[1].addr.to_string()[..]));
        }
        let (bad, good) = (apps[0].take_seen(), apps[1].take_seen());
        assert!(good.len() == 20 && !bad.is_empty(), "{} and {}", good.len(), bad.len());
        for seen in bad.iter().chain(&good) {
            let n = seen.headers["n"].to_str().unwrap();
            assert_eq!((&seen.uri[..], &seen.body[..]), ("/x?y", format!("body {n}").as_bytes()));
        }
        let requests = bad.len() as f64;
        assert_eq!(counts(&service, RETRY).await, [requests, requests, 0.0, 0.0]);
        // The route has a stream per request, its backend one per attempt.
        let statuses = service.count("outbound_http_route_request_statuses_total", &[]).await;
        let attempts = service.count("outbound_http_route_backend_response_statuses_total", &[]).await;
        assert_eq!((statuses, attempts), (20.0, 20.0 + requests));
        assert_eq!(
            service.count("outbound_http_route_backend_response_statuses_total", &["error=\"CANCEL\""]).await,
            0.0
        );
    });
}

#[test]
fn retries_end_at_the_limit_and_are_for_what_the_policy_names() {
    isolated!(|| async {
        let mut service = Service::start(retrying(retry(3))).await;
        let app = service.add_one().await;
        app.set([Reply::status(500)]);
        assert_eq!(service.get("/").await.status, 500);
        assert_eq!(app.take_seen().len(), 4);
        assert_eq!(counts(&service, RETRY).await, [3.0, 0.0, 1.0, 0.0]);
        app.set([Reply::status(404)]);
        assert_eq!(service.get("/").await.status, 404);
        assert_eq!(app.take_seen().len(), 1);
        app.set([Reply::status(500), Reply::status(502), Reply::ok("third")]);
        assert_eq!(service.get("/").await.body, "third");
        assert_eq!(counts(&service, RETRY).await, [5.0, 1.0, 1.0, 0.0]);
    });
}

#[test]
fn a_connection_that_is_refused_counts_as_a_bad_gateway() {
    isolated!(|| async {
        // A pod of its own: nobody listens at the Service's other endpoint.
        let mut service =
            Service::start_with(retrying(retry(1)), Default::default(), &[("OUTBOUND_HTTP_FAILFAST_TIMEOUT", "300ms")])
                .await;
        let app = service.add_one().await;
        let pod = service.network.add_pod().await;
        service.set_endpoints(PATH, [app.addr, (pod.v4, 1).into()]);
        for _ in 0..10 {
            assert_eq!(service.get("/").await.status, 200);
        }
    });
}

#[test]
fn a_required_identity_holds_for_whichever_endpoint_is_tried() {
    isolated!(|| async {
        let settings = [("OUTBOUND_CONNECT_TIMEOUT", "200ms")];
        let mut service = Service::start_with(policy::balanced(PATH), Default::default(), &settings).await;
        let app = service.add_one().await;
        let pod = service.network.add_pod().await;
        // Who has the identity cannot be reached; who can be has none.
        let meshed = meshed_endpoint((pod.v4, 1).into(), None, false);
        let plain = dst::WeightedAddr { tls_identity: None, ..meshed_endpoint(app.addr, None, false) };
        service.control.set_endpoints(PATH, vec![meshed, plain]);
        for _ in 0..10 {
            let answer = service.ask(Request::get("/").header("host", "web").header("l5d-require-id", WEB)).await;
            assert_eq!(answer.status, 502, "{answer:?}");
        }
        assert!(app.take_seen().is_empty());
    });
}

#[test]
fn a_body_that_is_too_long_passes_once() {
    isolated!(|| async {
        let mut service = Service::start(retrying(http_route::Retry { max_request_bytes: 100, ..retry(2) })).await;
        let app = service.add_one().await;
        app.set([Reply::status(500), Reply::ok("again")]);
        let post = || Request::post("/").header("host", "web");
        let answer = service.send(post(), "x".repeat(101), false).await;
        assert_eq!((answer.status, app.take_seen()[0].body.len()), (500, 101));
        app.set([Reply::status(500), Reply::ok("again")]);
        let chunked = post().header("transfer-encoding", "chunked");
        assert_eq!(service.send(chunked, "x".repeat(101), false).await.status, 500);
        app.set([Reply::status(500), Reply::ok("again")]);
        assert_eq!(service.send(post(), "x".repeat(100), false).await.body, "again");
        assert_eq!(app.take_seen()[1].body.len(), 100);
    });
}

#[test]
fn an_attempt_that_takes_too_long_is_given_up_for_another() {
    isolated!(|| async {
        let timed = http_route::Retry { timeout: ms(200), ..retry(1) };
        let mut service = Service::start(retrying(timed)).await;
        let app = service.add_one().await;
        app.set([Reply::after(10_000, Reply::ok("late")), Reply::ok("quick")]);
        let answer = service.get("/").await;
        assert_eq!(answer.body, "quick");
        assert!((200..2_000).contains(&answer.took.as_millis()), "{:?}", answer.took);
        // The last attempt may take its time.
        app.set([Reply::after(10_000, Reply::ok("late")), Reply::after(600, Reply::ok("slow"))]);
        let answer = service.get("/").await;
        assert_eq!(answer.body, "slow");
        let labels = ["error=\"RESPONSE_HEADERS_TIMEOUT\""];
        assert_eq!(service.count("outbound_http_route_backend_response_statuses_total", &labels).await, 2.0);
        assert_eq!(service.count("outbound_http_route_request_statuses_total", &labels).await, 0.0);
    });
}

#[test]
fn between_attempts_there_is_a_wait_and_as_long_as_the_server_asks_for() {
    isolated!(|| async {
        let waiting = http_route::Retry { backoff: Some(backoff(150, true)), ..retry(2) };
        let mut service = Service::start(retrying(waiting)).await;
        let app = service.add_one().await;
        app.set([Reply::status(500), Reply::status(500), Reply::ok("")]);
        // 150 ms, then twice that.
        let answer = service.get("/").await;
        assert!(answer.status == 200 && (450..5_000).contains(&answer.took.as_millis()), "{answer:?}");
        let after = |seconds: &str| Reply { headers: vec![("retry-after", seconds.into())], ..Reply::status(503) };
        app.set([after("1"), Reply::ok("")]);
        let answer = service.get("/").await;
        assert!(answer.status == 200 && (1_000..8_000).contains(&answer.took.as_millis()), "{answer:?}");
        app.set([after("3600"), Reply::ok("")]);
        let answer = service.get("/").await;
        assert!(answer.status == 503 && answer.took < Duration::from_secs(5), "{answer:?}");
    });
}

fn grpc_policy(retry: grpc_route::Retry) -> OutboundPolicy {
    policy::grpc(PATH, |rule| rule.retry = Some(retry))
}

#[test]
fn grpc_codes_are_found_in_head_and_trailers_until_a_message_has_come() {
    isolated!(|| async {
        let conditions = grpc_route::retry::Conditions { unavailable: true, ..Default::default() };
        let retry = grpc_route::Retry {
            max_retries: 2,
            conditions: Some(conditions),
            backoff: Some(backoff(5, false)),
            ..Default::default()
        };
        let mut service = Service::start(grpc_policy(retry)).await;
        let app = service.add_one().await;
        app.set([Reply::trailers_only("14"), Reply::grpc(&[], "14"), Reply::grpc(&[(0, "message")], "0")]);
        let answer = service.call("/test.Echo/Echo").await;
        assert_eq!((&answer.body[..], answer.grpc_status()), ("message", "0"));
        let seen = app.take_seen();
        assert_eq!((seen.len(), &seen[2].body[..]), (3, &b"message"[..]));
        assert_eq!(counts(&service, GRPC_RETRY).await, [2.0, 1.0, 0.0, 0.0]);
        // Another code.
        app.set([Reply::trailers_only("5"), Reply::grpc(&[], "0")]);
        assert_eq!(service.call("/test.Echo/Echo").await.grpc_status(), "5");
        // A response that has begun, whatever its end, and which is not held back.
        app.set([Reply::grpc(&[(0, "a"), (300, "b")], "14"), Reply::grpc(&[], "0")]);
        let answer = service.call("/test.Echo/Echo").await;
        assert_eq!((&answer.body[..], answer.grpc_status(), app.take_seen().len()), ("ab", "14", 1));
    });
}

#[test]
fn a_retry_that_nobody_would_take_is_not_waited_for() {
    isolated!(|| async {
        let consecutive =
            failure_accrual::ConsecutiveFailures { max_failures: 1, backoff: policy::backoff(60_000, 60_000) };
        let kind = Some(failure_accrual::Kind::ConsecutiveFailures(consecutive));
        let mut policy = retrying(retry(2));
        policy::set_breakers(&mut policy, FailureAccrual { kind, ejection: None });
        let mut service = Service::start(policy).await;
        let app = service.add_one().await;
        app.set([Reply::status(500)]);
        let answer = service.get("/").await;
        assert!(answer.status == 500 && answer.took < Duration::from_secs(2), "{answer:?}");
        assert_eq!(app.take_seen().len(), 1);
        assert_eq!(counts(&service, RETRY).await, [0.0, 0.0, 0.0, 1.0]);
    });
}

#[test]
fn a_stream_that_is_refused_is_sent_again_with_what_was_left_of_its_body() {
    isolated!(|| async {
        let mut service = Service::start(retrying(retry(1))).await;
        let pod = service.network.add_pod().await;
        let addr = std::net::SocketAddr::new(pod.v4.into(), 8080);
        pod.start(move |up| async move {
            let listener = TcpListener::bind(addr).await.unwrap();
            let _ = up.send(());
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (_, mut refused) = connection.accept().await.unwrap().unwrap();
            refused.send_reset(h2::Reason::REFUSED_STREAM);
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    let mut all = Vec::new();
                    while let Some(Ok(data)) = body.data().await {
                        body.flow_control().release_capacity(data.len()).unwrap();
                        all.extend_from_slice(&data);
                    }
                    let mut response = respond.send_response(http::Response::new(()), false).unwrap();
                    response.send_data(all.into(), true).unwrap();
                });
            }
        })
        .await;
        service.set_endpoints(PATH, [addr]);
        let answer = service.send(Request::post("http://web/"), "x".repeat(60_000), true).await;
        assert_eq!((answer.status, answer.body.len()), (200, 60_000));
    });
}

#[test]
fn a_request_goes_on_its_way_before_it_is_whole() {
    isolated!(|| async {
        let mut service = Service::start(retrying(retry(2))).await;
        let app = service.add_one().await;
        // It answers without having read the request, and then reads it.
        app.set([Reply { reads_first: false, ..Reply::ok("early") }]);
        let to = service.to;
        let answer = service
            .client
            .run(move || async move {
                let mut stream = TcpStream::connect(to).await.unwrap();
                let head = "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 8\r\n\r\npart";
                stream.write_all(head.as_bytes()).await.unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"0\r\n\r\n") {
                    assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
                }
                stream.write_all(b"rest").await.unwrap();
                String::from_utf8(answer).unwrap()
            })
            .await;
        assert!(answer.contains("early"), "{answer}");
    });
}

#[test]
fn a_request_that_failed_before_it_was_whole_is_not_sent_again() {
    isolated!(|| async {
        let mut service = Service::start(retrying(retry(2))).await;
        let app = service.add_one().await;
        app.set([Reply { reads_first: false, ..Reply::status(500) }, Reply::ok("again")]);
        let to = service.to;
        let answer = service
            .client
            .run(move || async move {
                let mut stream = TcpStream::connect(to).await.unwrap();
                let head = "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 8\r\n\r\npart";
                stream.write_all(head.as_bytes()).await.unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"\r\n\r\n") {
                    assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
                }
                String::from_utf8(answer).unwrap()
            })
            .await;
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    });
}

#[test]
fn applications_ask_for_retries_where_they_may() {
    isolated!(|| async {
        let rule = http_route::Rule { allow_l5d_request_headers: true, ..policy::http_rule(PATH) };
        let mut service = Service::start(policy::detected(PATH, rule)).await;
        let app = service.add_one().await;
        let ask = || Request::get("/").header("host", "web");
        app.set([Reply::status(503), Reply::status(503), Reply::ok("third")]);
        let asked = ask().header("l5d-retry-http", "gateway-error").header("l5d-retry-limit", "2");
        assert_eq!(service.ask(asked).await.body, "third");
        let seen = app.take_seen();
        assert!(seen.len() == 3 && seen.iter().all(|s| s.headers.keys().all(|k| !k.as_str().starts_with("l5d-"))));
        app.set([Reply::status(503), Reply::ok("again")]);
        assert_eq!(service.ask(ask()).await.status, 503);
    });
}

/// A profile that has GET sent again while this many retries are left in the time.
fn budgeted(min_retries_per_second: u32, seconds: i32) -> dst::DestinationProfile {
    let condition = dst::request_match::Match::Method(HttpMethod::from(http::Method::GET));
    let route = dst::Route {
        condition: Some(dst::RequestMatch { r#match: Some(condition) }),
        metrics_labels: [("route".to_owned(), "GET".to_owned())].into(),
        is_retryable: true,
        ..Default::default()
    };
    let budget = dst::RetryBudget { retry_ratio: 0.0, min_retries_per_second, ttl: ms(seconds * 1_000) };
    dst::DestinationProfile {
        fully_qualified_name: "web.test.svc.cluster.local".into(),
        routes: vec![route],
        retry_budget: Some(budget),
        ..Default::default()
    }
}

#[test]
fn a_service_profiles_retries_have_a_budget() {
    isolated!(|| async {
        let mut service = Service::start(policy::balanced(PATH)).await;
        let app = service.add_one().await;
        // Nothing but three retries in three seconds.
        service.control.set_profile(SERVICE, budgeted(1, 3));
        app.set([Reply::status(500), Reply::ok("again")]);
        assert_eq!(service.get("/").await.body, "again");
        app.set([Reply::status(500)]);
        assert_eq!(service.get("/").await.status, 500);
        assert_eq!(app.take_seen().len(), 3, "the budget had two left");
        let labels = ["skipped=\"no_budget\"", "rt_route=\"GET\"", "dst=\"web.test.svc.cluster.local:80\""];
        assert_eq!(service.count("route_retryable_total", &labels).await, 1.0);
        app.set([Reply::status(500), Reply::ok("again")]);
        assert_eq!(service.ask(Request::post("/").header("host", "web")).await.status, 500, "not on this route");
    });
}

#[test]
fn a_budget_is_the_whole_proxys_whatever_the_number_of_its_workers() {
    isolated!(|| async {
        let mut service = Service::start_with(policy::balanced(PATH), Default::default(), &[("CORES", "2")]).await;
        let app = service.add_one().await;
        // Sixty, longer than the test lasts.
        service.control.set_profile(SERVICE, budgeted(1, 60));
        app.set([Reply::status(500)]);
        let answers = ask_times(&service.client, service.to, 24).await;
        assert!(answers.iter().all(|answer| answer.status == 500), "{answers:?}");
        assert_eq!(app.count(), 24 + 60);
    });
}
