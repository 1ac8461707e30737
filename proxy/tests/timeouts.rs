//! The times of a route: what begins and ends each, what the client gets when one is over, and what is counted.

use crate::{
    isolated,
    support::{
        policy::{self, ms},
        proxy::Proxy,
        script::{PATH, Reply, SERVICE, Service},
    },
};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use linkerd2_proxy_api::{
    destination as dst,
    http_route::Timeouts,
    http_types::HttpMethod,
    outbound::{OutboundPolicy, http_route},
};
use std::{convert::Infallible, io::Read, time::Duration};
use tokio::{io::AsyncWriteExt, net::TcpStream};

const STATUSES: &str = "outbound_http_route_request_statuses_total";

fn timed(timeouts: Timeouts) -> OutboundPolicy {
    policy::detected(PATH, http_route::Rule { timeouts: Some(timeouts), ..policy::http_rule(PATH) })
}

fn is_about(took: Duration, ms: u128) -> bool {
    (ms..ms + 900).contains(&took.as_millis())
}

#[test]
fn a_request_that_takes_too_long_is_answered_in_the_servers_place() {
    isolated!(|| async {
        let mut service = Service::start(policy::balanced(PATH)).await;
        let app = service.add_one().await;
        for (timeouts, label) in [
            (Timeouts { request: ms(200), ..Default::default() }, "REQUEST_TIMEOUT"),
            (Timeouts { response: ms(200), ..Default::default() }, "RESPONSE_STREAM_TIMEOUT"),
            (Timeouts { idle: ms(200), ..Default::default() }, "IDLE_TIMEOUT"),
        ] {
            service.set(timed(timeouts));
            app.set([Reply::ok("ok")]);
            assert_eq!(service.get("/").await.body, "ok");
            app.set([Reply::after(30_000, Reply::ok("late"))]);
            let answer = service.get("/").await;
            assert!(answer.status == 504 && is_about(answer.took, 200), "{label}: {answer:?}");
            assert!(answer.error().contains("timeout") && answer.header("connection").is_empty(), "{answer:?}");
            let error = format!("error=\"{label}\"");
            assert_eq!(service.count(STATUSES, &[&error]).await, 1.0, "{label}");
        }
        assert_eq!(service.count("outbound_http_errors_total", &["error=\"response timeout\""]).await, 3.0);
    });
}

#[test]
fn grpc_is_told_that_the_deadline_is_exceeded_before_and_after_the_head() {
    isolated!(|| async {
        let timeouts = Timeouts { request: ms(300), ..Default::default() };
        let mut service = Service::start(policy::grpc(PATH, |rule| rule.timeouts = Some(timeouts))).await;
        let app = service.add_one().await;
        app.set([Reply::after(30_000, Reply::trailers_only("0"))]);
        let answer = service.call("/test.Echo/Echo").await;
        assert_eq!((answer.status, answer.grpc_status(), &answer.body[..]), (200, "4", ""));
        app.set([Reply::grpc(&[(0, "a"), (30_000, "b")], "0")]);
        let answer = service.call("/test.Echo/Echo").await;
        assert_eq!((answer.status, answer.grpc_status(), &answer.body[..]), (200, "4", "a"));
        assert!(!answer.is_broken && is_about(answer.took, 300), "{answer:?}");
        let labels = ["error=\"REQUEST_TIMEOUT\""];
        assert_eq!(service.count("outbound_grpc_route_request_statuses_total", &labels).await, 2.0);
    });
}

#[test]
fn a_response_whose_time_is_over_breaks_off() {
    isolated!(|| async {
        let mut service = Service::start(timed(Timeouts { response: ms(300), ..Default::default() })).await;
        let app = service.add_one().await;
        let slow = || Reply { chunks: vec![(Duration::ZERO, "a"), (Duration::from_secs(30), "b")], ..Reply::ok("") };
        app.set([slow()]);
        let answer = service.get("/").await;
        assert!(answer.status == 200 && answer.body == "a" && answer.is_broken, "{answer:?}");
        let answer = service.send(Request::get("http://web/"), "", true).await;
        assert!(answer.status == 200 && answer.body == "a" && answer.is_broken, "{answer:?}");
        assert!(is_about(answer.took, 300), "{answer:?}");
        assert_eq!(service.count(STATUSES, &["error=\"RESPONSE_STREAM_TIMEOUT\""]).await, 2.0);
    });
}

#[test]
fn a_response_that_nobody_reads_has_its_time_too() {
    isolated!(|| async {
        let long: &'static str = "x".repeat(1 << 20).leak();
        let mut service = Service::start(policy::balanced(PATH)).await;
        let app = service.add_one().await;
        app.set([Reply { chunks: vec![(Duration::ZERO, long); 64], ..Reply::ok("") }]);
        for (timeouts, label) in [
            (Timeouts { response: ms(400), ..Default::default() }, "RESPONSE_STREAM_TIMEOUT"),
            (Timeouts { idle: ms(400), ..Default::default() }, "IDLE_TIMEOUT"),
        ] {
            service.set(timed(timeouts));
            let to = service.to;
            let mut stream = service
                .client
                .run(move || async move {
                    let mut stream = TcpStream::connect(to).await.unwrap();
                    stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n").await.unwrap();
                    stream.into_std().unwrap()
                })
                .await;
            let error = format!("error=\"{label}\"");
            let is_over = async |proxy: &Proxy| proxy.metric(STATUSES, &[&error]).await == Some(1.0);
            service.proxy.wait_for("the end of its time", is_over).await;
            stream.set_nonblocking(false).unwrap();
            let mut received = Vec::new();
            let _ = stream.read_to_end(&mut received);
            assert!(received.starts_with(b"HTTP/1.1 200 ") && received.len() < 64 << 20, "{}", received.len());
        }
    });
}

#[test]
fn a_stream_that_moves_is_not_idle() {
    isolated!(|| async {
        let mut service = Service::start(timed(Timeouts { idle: ms(400), ..Default::default() })).await;
        let app = service.add_one().await;
        let step = (Duration::from_millis(150), "x");
        app.set([Reply { chunks: vec![step; 5], ..Reply::ok("") }]);
        let answer = service.get("/").await;
        assert!(answer.body == "xxxxx" && !answer.is_broken, "{answer:?}");
        app.set([Reply { chunks: vec![step, step, (Duration::from_secs(30), "y")], ..Reply::ok("") }]);
        let answer = service.get("/").await;
        assert!(answer.body == "xx" && answer.is_broken && is_about(answer.took, 700), "{answer:?}");
    });
}

/// Posts five parts of a body, 100 ms apart.
async fn upload(service: &Service) -> u16 {
    let to = service.to;
    service
        .client
        .run(move || async move {
            let stream = TokioIo::new(TcpStream::connect(to).await.unwrap());
            let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            let (parts, body) = tokio::sync::mpsc::channel(1);
            tokio::spawn(async move {
                for _ in 0..5 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    let part = Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"part")));
                    if parts.send(part).await.is_err() {
                        return;
                    }
                }
            });
            let request = Request::post("/").header("host", "web");
            let request = request.body(StreamBody::new(Parts(body))).unwrap();
            let response = sender.send_request(request).await.unwrap();
            let status = response.status().as_u16();
            let _ = response.into_body().collect().await;
            status
        })
        .await
}

struct Parts(tokio::sync::mpsc::Receiver<Result<Frame<Bytes>, Infallible>>);

impl tonic::codegen::tokio_stream::Stream for Parts {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

#[test]
fn a_request_takes_its_time_before_the_responses_begins() {
    isolated!(|| async {
        let mut service = Service::start(policy::balanced(PATH)).await;
        service.add_one().await;
        for (timeouts, status) in [
            (Timeouts { response: ms(300), ..Default::default() }, 200),
            (Timeouts { idle: ms(300), ..Default::default() }, 200),
            (Timeouts { request: ms(300), ..Default::default() }, 504),
        ] {
            service.set(timed(timeouts));
            assert_eq!(upload(&service).await, status, "{timeouts:?}");
        }
    });
}

#[test]
fn applications_ask_for_times_where_they_may() {
    isolated!(|| async {
        let allowing = http_route::Rule { allow_l5d_request_headers: true, ..policy::http_rule(PATH) };
        let mut service = Service::start(policy::detected(PATH, allowing)).await;
        let app = service.add_one().await;
        for header in ["l5d-timeout", "l5d-request-timeout", "l5d-response-timeout"] {
            app.set([Reply::after(600, Reply::ok("late"))]);
            let answer = service.ask(Request::get("/").header("host", "web").header(header, "100ms")).await;
            assert!(answer.status == 504 && is_about(answer.took, 100), "{header}: {answer:?}");
        }
        app.set([Reply::ok("ok")]);
        service.ask(Request::get("/").header("host", "web").header("l5d-timeout", "1m")).await;
        assert!(!app.take_seen()[0].headers.contains_key("l5d-timeout"));

        service.control.set_policy(SERVICE.parse().unwrap(), Ok(policy::balanced(PATH)));
        app.set([Reply::after(600, Reply::ok("late"))]);
        let ask = || Request::get("/").header("host", "web").header("l5d-timeout", "100ms");
        let mut answer = service.ask(ask()).await;
        while answer.status == 504 {
            answer = service.ask(ask()).await;
        }
        assert_eq!(answer.body, "late");
    });
}

#[test]
fn a_service_profiles_route_has_a_time_to_answer() {
    isolated!(|| async {
        let mut service = Service::start(policy::balanced(PATH)).await;
        let app = service.add_one().await;
        let condition = dst::request_match::Match::Method(HttpMethod::from(http::Method::GET));
        let route = dst::Route {
            condition: Some(dst::RequestMatch { r#match: Some(condition) }),
            timeout: ms(200),
            ..Default::default()
        };
        let profile = dst::DestinationProfile {
            fully_qualified_name: "web.test.svc.cluster.local".into(),
            routes: vec![route],
            ..Default::default()
        };
        service.control.set_profile(SERVICE, profile);
        app.set([Reply::after(30_000, Reply::ok("late"))]);
        let answer = service.get("/").await;
        assert!(answer.status == 504 && is_about(answer.took, 200), "{answer:?}");
        assert_eq!(answer.header("connection"), "close");
        // Its time is up to the head.
        app.set([Reply { chunks: vec![(Duration::from_millis(500), "slow")], ..Reply::ok("") }]);
        assert_eq!(service.get("/").await.body, "slow");
    });
}
