//! ServiceProfiles: routes with classes, times and retries, counted as dashboards expect, and splits; only with routes or
//! targets do they take the place of the policy.

use crate::{
    breakers::plain,
    isolated,
    mesh::BOT,
    support::{
        control_plane::ControlPlane,
        network::{Network, Pod},
        policy,
        proxy::Proxy,
        replica::{Behaviour, Replica, ask, ask_times, count},
        script::{self, Reply, Service},
    },
};
use linkerd2_proxy_api::{
    destination::{self as dst, request_match, response_match},
    outbound::{FailureAccrual, failure_accrual},
};
use std::{net::SocketAddr, time::Duration};

const SERVICE: &str = "10.96.0.1:80";
const NAME: &str = "web.test.svc.cluster.local";
const PATH: &str = "web.test.svc.cluster.local:80";
const OTHER: &str = "other.test.svc.cluster.local:80";

struct Pair {
    control: ControlPlane,
    client: Pod,
    proxy: Proxy,
    own: Replica,
    other: Replica,
    to: SocketAddr,
}

/// A Service with one pod, another Service with another, and a client.
async fn pair(profile: dst::DestinationProfile) -> Pair {
    let mut network = Network::new();
    let control = ControlPlane::start().await;
    let to = SERVICE.parse().unwrap();
    control.set_policy(to, Ok(policy::balanced(PATH)));
    control.set_profile(SERVICE, profile);
    let (own, other) = (Replica::start(&mut network).await, Replica::start(&mut network).await);
    control.set_endpoints(PATH, vec![plain(own.addr)]);
    control.set_endpoints(OTHER, vec![plain(other.addr)]);
    let client = network.add_pod().await;
    let proxy = Proxy::start(&client, &control, BOT, &[]).await;
    Pair { control, client, proxy, own, other, to }
}

fn named() -> dst::DestinationProfile {
    dst::DestinationProfile { fully_qualified_name: NAME.into(), ..Default::default() }
}

fn path(regex: &str) -> Option<dst::RequestMatch> {
    let path = dst::PathMatch { regex: regex.into() };
    Some(dst::RequestMatch { r#match: Some(request_match::Match::Path(path)) })
}

fn route(name: &str, regex: &str) -> dst::Route {
    dst::Route {
        condition: path(regex),
        metrics_labels: [("route".to_owned(), name.to_owned())].into(),
        ..Default::default()
    }
}

fn budget() -> Option<dst::RetryBudget> {
    Some(dst::RetryBudget { retry_ratio: 0.2, min_retries_per_second: 10, ttl: policy::ms(10_000) })
}

#[test]
fn routes_are_counted_by_name_class_and_attempt() {
    isolated!(|| async {
        let not_found = response_match::Match::Status(dst::HttpStatusRange { min: 404, max: 404 });
        let class =
            dst::ResponseClass { condition: Some(dst::ResponseMatch { r#match: Some(not_found) }), is_failure: true };
        let routes = vec![
            dst::Route { response_classes: vec![class], ..route("/books", "/books.*") },
            dst::Route { is_retryable: true, ..route("/again", "/again") },
        ];
        let service = pair(dst::DestinationProfile { routes, retry_budget: budget(), ..named() }).await;
        service.own.set_status(404);
        let answers = ask(&service.client, service.to, vec!["GET /books/1".into(), "GET /else".into()]).await;
        assert_eq!(answers.iter().map(|a| a.status).collect::<Vec<_>>(), [404, 404]);
        let seen = service.own.take_seen();
        assert!(seen.iter().all(|headers| headers["l5d-dst-canonical"] == PATH), "{seen:?}");

        let dst = format!("dst=\"{PATH}\"");
        let books = ["direction=\"outbound\"", &dst, "rt_route=\"/books\""];
        assert_eq!(service.proxy.metric("route_request_total", &books).await, Some(1.0));
        let failed = [&books[..], &["classification=\"failure\"", "status_code=\"404\""]].concat();
        assert_eq!(service.proxy.metric("route_response_total", &failed).await, Some(1.0), "its class says so");
        assert_eq!(service.proxy.metric("route_response_latency_ms_count", &books).await, Some(1.0));
        // What no route matches has no name, and the default class.
        let rest = ["direction=\"outbound\"", &dst, "classification=\"success\""];
        assert_eq!(service.proxy.metric("route_response_total", &rest).await, Some(1.0));

        service.own.set_status(500);
        let again = ask(&service.client, service.to, vec!["GET /again".into()]).await;
        assert_eq!(again[0].status, 500);
        let attempts = service.own.take_seen().len() as f64;
        assert!(attempts > 1.0, "{attempts}");
        let labels = ["rt_route=\"/again\""];
        assert_eq!(service.proxy.metric("route_request_total", &labels).await, Some(1.0));
        assert_eq!(service.proxy.metric("route_response_total", &labels).await, Some(1.0));
        assert_eq!(service.proxy.metric("route_actual_request_total", &labels).await, Some(attempts));
        assert_eq!(service.proxy.metric("route_actual_response_total", &labels).await, Some(attempts));
    });
}

#[test]
fn a_route_s_time_is_the_request_s_and_ends_in_504() {
    isolated!(|| async {
        let routes = vec![dst::Route { timeout: policy::ms(200), ..route("slow", "/slow") }];
        let service = pair(dst::DestinationProfile { routes, ..named() }).await;
        service.own.set(Behaviour { delay: Duration::from_secs(1), ..Behaviour::default() });
        let answers = ask(&service.client, service.to, vec!["GET /slow".into(), "GET /other".into()]).await;
        assert_eq!(answers.iter().map(|a| a.status).collect::<Vec<_>>(), [504, 200]);
        let labels = ["rt_route=\"slow\"", "classification=\"failure\"", "status_code=\"504\""];
        assert_eq!(service.proxy.metric("route_response_total", &labels).await, Some(1.0));
    });
}

#[test]
fn a_split_goes_by_weight_and_follows_its_changes() {
    isolated!(|| async {
        let target =
            |authority: &str, weight| dst::WeightedDst { authority: authority.into(), weight, ..Default::default() };
        let dst_overrides = vec![target(PATH, 900), target(&format!("{}.:80", &OTHER[..OTHER.len() - 3]), 100)];
        let mut service = pair(dst::DestinationProfile { dst_overrides, ..named() }).await;
        let answers = count(&ask_times(&service.client, service.to, 300).await);
        let other = service.other.addr.to_string();
        let n = answers.get(&other).copied().unwrap_or(0);
        assert!((10..60).contains(&n), "{answers:?}");
        let profile = dst::DestinationProfile { dst_overrides: vec![target(OTHER, 1)], ..named() };
        service.control.set_profile(SERVICE, profile);
        let (client, to) = (service.client.clone(), service.to);
        service
            .proxy
            .wait_for("the other", async |_| ask_times(&client, to, 3).await.iter().all(|a| a.body == other))
            .await;
    });
}

#[test]
fn a_profile_without_routes_or_targets_leaves_the_policy_and_one_with_them_its_breakers() {
    isolated!(|| async {
        let mut service = pair(named()).await;
        let backoff = policy::backoff(60_000, 60_000);
        let consecutive = failure_accrual::ConsecutiveFailures { max_failures: 1, backoff };
        let kind = Some(failure_accrual::Kind::ConsecutiveFailures(consecutive));
        let endpoints = vec![plain(service.own.addr), plain(service.other.addr)];
        service.control.set_endpoints(PATH, endpoints);
        service.control.set_policy(service.to, Ok(policy::broken(PATH, FailureAccrual { kind, ejection: None })));
        let (client, to) = (service.client.clone(), service.to);
        let all = "outbound_http_balancer_p2c_endpoints";
        service
            .proxy
            .wait_for("both", async |proxy| {
                ask_times(&client, to, 1).await;
                proxy.metric(all, &[]).await == Some(2.0)
            })
            .await;
        service.own.set_status(500);
        let answers = count(&ask_times(&service.client, service.to, 40).await);
        assert_eq!(answers.get("500"), Some(&1), "the policy's breakers: {answers:?}");
        service.control.set_profile(SERVICE, dst::DestinationProfile { routes: vec![route("all", ".*")], ..named() });
        let canonical = async |_: &Proxy| {
            ask_times(&client, to, 4).await;
            let seen = [service.own.take_seen(), service.other.take_seen()].concat();
            seen.iter().all(|headers| headers.contains_key("l5d-dst-canonical"))
        };
        service.proxy.wait_for("the profile", canonical).await;
        // A profile has none: one failure after another gets through.
        let mut failures = 0;
        let failed = async |_: &Proxy| ask_times(&client, to, 4).await.iter().any(|answer| answer.status == 500);
        while failures < 3 {
            service.proxy.wait_for("a failure", failed).await;
            failures += 1;
        }
    });
}

#[test]
fn a_class_decides_on_grpc_before_its_code_does() {
    isolated!(|| async {
        let mut service = Service::start(policy::balanced(PATH)).await;
        let app = service.add_one().await;
        let class = |min, max, is_failure| dst::ResponseClass {
            condition: Some(dst::ResponseMatch {
                r#match: Some(response_match::Match::Status(dst::HttpStatusRange { min, max })),
            }),
            is_failure,
        };
        let retried =
            |name, regex, response_classes| dst::Route { is_retryable: true, response_classes, ..route(name, regex) };
        let routes = vec![
            retried("fine", "/a.Fine/.*", vec![class(200, 299, false)]),
            retried("bad", "/a.Bad/.*", vec![class(200, 200, true)]),
            retried("other", "/a.Other/.*", vec![class(500, 599, false)]),
            retried("none", "/a.None/.*", vec![]),
        ];
        let profile = dst::DestinationProfile { routes, retry_budget: budget(), ..named() };
        service.control.set_profile(script::SERVICE, profile);
        let counted = async |service: &Service, labels: &[&str]| service.count("route_response_total", labels).await;

        // A class that takes it for a success: nothing is sent again, whatever the code in head or trailers.
        for reply in [Reply::trailers_only("14"), Reply::grpc(&[], "14")] {
            app.set([reply, Reply::grpc(&[], "0")]);
            assert_eq!(service.call("/a.Fine/Call").await.grpc_status(), "14");
            assert_eq!(app.take_seen().len(), 1);
        }
        let labels = ["rt_route=\"fine\"", "classification=\"success\"", "grpc_status=\"\""];
        assert_eq!(counted(&service, &labels).await, 2.0);
        // One that takes it for a failure: the next response has another status, which no class knows.
        app.set([Reply::grpc(&[], "0"), Reply { status: 201, ..Reply::grpc(&[], "0") }]);
        assert_eq!(service.call("/a.Bad/Call").await.status, 201);
        assert_eq!(app.take_seen().len(), 2);
        let actual = ["rt_route=\"bad\"", "classification=\"failure\"", "status_code=\"200\""];
        assert_eq!(service.count("route_actual_response_total", &actual).await, 1.0);
        // Where no class speaks, the code does.
        for path in ["/a.Other/Call", "/a.None/Call"] {
            app.set([Reply::trailers_only("14"), Reply::grpc(&[], "13"), Reply::grpc(&[(0, "hi")], "0")]);
            let answer = service.call(path).await;
            assert_eq!((answer.grpc_status(), app.take_seen().len()), ("0", 3), "{path}");
        }
        let labels = ["rt_route=\"other\"", "classification=\"failure\"", "grpc_status=\"14\""];
        assert_eq!(service.count("route_actual_response_total", &labels).await, 1.0);
    });
}
