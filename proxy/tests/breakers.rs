//! Endpoints that fail are left alone for a while, by the proxy as a whole, and tried again by one request.

use crate::{
    isolated,
    mesh::{BOT, meshed_endpoint},
    support::{
        control_plane::ControlPlane,
        network::{Network, Pod},
        policy,
        proxy::Proxy,
        replica::{Behaviour, Replica, ask_times, count},
    },
};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use linkerd2_proxy_api::{
    destination as dst,
    outbound::{self, FailureAccrual, failure_accrual, http_route},
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::net::TcpStream;

const SERVICE: &str = "10.96.0.1:80";
const PATH: &str = "web.test.svc.cluster.local:80";
const GATE: &str = "outbound_http_balancer_queue_gate";
/// Long beside a test; short enough to wait for once.
const EJECTION_MS: i32 = 1_500;

struct Service {
    /// Ends when it is dropped.
    _control: ControlPlane,
    client: Pod,
    proxy: Proxy,
    replicas: Vec<Replica>,
    to: SocketAddr,
}

async fn service(replicas: usize, policy: outbound::OutboundPolicy, settings: &[(&str, &str)]) -> Service {
    service_in(&mut Network::new(), replicas, policy, settings).await
}

async fn service_in(
    network: &mut Network,
    replicas: usize,
    policy: outbound::OutboundPolicy,
    settings: &[(&str, &str)],
) -> Service {
    let control = ControlPlane::start().await;
    let to = SERVICE.parse().unwrap();
    control.set_policy(to, Ok(policy));
    let mut all = Vec::new();
    for _ in 0..replicas {
        all.push(Replica::start(network).await);
    }
    control.set_endpoints(PATH, all.iter().map(|replica| plain(replica.addr)).collect());
    let client = network.add_pod().await;
    let proxy = Proxy::start(&client, &control, BOT, settings).await;
    Service { _control: control, client, proxy, replicas: all, to }
}

pub fn plain(addr: SocketAddr) -> dst::WeightedAddr {
    dst::WeightedAddr { tls_identity: None, ..meshed_endpoint(addr, None, false) }
}

fn consecutive(max_failures: u32, ejection_ms: i32) -> FailureAccrual {
    let backoff = policy::backoff(ejection_ms, 60_000);
    let kind =
        failure_accrual::Kind::ConsecutiveFailures(failure_accrual::ConsecutiveFailures { max_failures, backoff });
    FailureAccrual { kind: Some(kind), ejection: None }
}

impl Service {
    async fn ask(&self, times: usize) -> HashMap<String, usize> {
        count(&ask_times(&self.client, self.to, times).await)
    }

    /// Asks until the answers are enough: how soon an endpoint has its turn depends on how quick it is.
    async fn ask_until(&self, is_enough: impl AsyncFn(&HashMap<String, usize>) -> bool) -> HashMap<String, usize> {
        let mut answers = HashMap::new();
        for _ in 0..1_000 {
            for (answer, n) in self.ask(4).await {
                *answers.entry(answer).or_default() += n;
            }
            if is_enough(&answers).await {
                return answers;
            }
        }
        panic!("not enough in {answers:?}");
    }

    async fn endpoints(&self, state: &str) -> Option<f64> {
        self.proxy.metric("outbound_http_balancer_endpoints", &[&format!("endpoint_state=\"{state}\"")]).await
    }
}

#[test]
fn failures_in_a_row_eject_an_endpoint_for_all_workers_until_one_request_succeeds() {
    isolated!(|| async {
        let mut service = service(2, policy::broken(PATH, consecutive(3, EJECTION_MS)), &[("CORES", "2")]).await;
        let (good, bad) = (service.replicas[0].addr.to_string(), service.replicas[1].addr.to_string());
        service.ask_until(async |answers| answers.contains_key(&good) && answers.contains_key(&bad)).await;
        // Once per proxy, whatever the number of its workers.
        assert_eq!((service.endpoints("ready").await, service.endpoints("pending").await), (Some(2.0), Some(0.0)));

        service.replicas[1].set_status(500);
        let answers = service.ask_until(async |_| service.endpoints("pending").await == Some(1.0)).await;
        assert_eq!(answers.get("500"), Some(&3), "{answers:?}");
        assert_eq!(service.ask(20).await.get(&good), Some(&20));
        assert_eq!((service.endpoints("ready").await, service.endpoints("pending").await), (Some(1.0), Some(1.0)));

        // The one request that tries it finds it failing still.
        tokio::time::sleep(Duration::from_millis(EJECTION_MS as u64)).await;
        let answers = service.ask_until(async |answers| answers.contains_key("500")).await;
        assert_eq!(answers.get("500"), Some(&1), "{answers:?}");
        assert_eq!(service.ask(20).await.get(&good), Some(&20));

        service.replicas[1].set_status(200);
        let client = service.client.clone();
        let to = service.to;
        service
            .proxy
            .wait_for("the endpoint", async |_| ask_times(&client, to, 5).await.iter().any(|answer| answer.body == bad))
            .await;
        assert_eq!((service.endpoints("ready").await, service.endpoints("pending").await), (Some(2.0), Some(0.0)));
    });
}

#[test]
fn with_every_endpoint_out_requests_fail_fast_until_a_probe_succeeds() {
    isolated!(|| async {
        let settings = [("OUTBOUND_HTTP_FAILFAST_TIMEOUT", "200ms")];
        let mut service = service(1, policy::broken(PATH, consecutive(2, EJECTION_MS)), &settings).await;
        service.replicas[0].set_status(503);
        assert_eq!(service.ask(2).await.get("503"), Some(&2));
        let ejected = Instant::now();
        let answers = service.ask(3).await;
        assert_eq!(answers.get("504"), Some(&3), "{answers:?}");
        assert!(ejected.elapsed() < Duration::from_millis(1_000), "only the first waits: {:?}", ejected.elapsed());
        assert_eq!(service.replicas[0].take_seen().len(), 2, "nothing reaches it");
        assert_eq!(service.proxy.metric(&format!("{GATE}_shut_total"), &[]).await, Some(1.0));
        assert_eq!(service.proxy.metric(&format!("{GATE}_timeout_seconds"), &[]).await, Some(0.2));
        let labels =
            ["parent_name=\"web\"", "backend_name=\"backend\"", &format!("concrete=\"{PATH}\"")].map(str::to_owned);
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        for (family, value) in [
            ("endpoints", Some(1.0)),
            ("p2c_endpoints", Some(1.0)),
            ("p2c_updates_total", Some(1.0)),
            ("queue_length", Some(0.0)),
            ("queue_requests_total", Some(5.0)),
            ("queue_latency_seconds_count", Some(5.0)),
        ] {
            let family = format!("outbound_http_balancer_{family}");
            assert_eq!(service.proxy.metric(&family, &labels).await, value, "{family}");
        }
        let shut_at = service.proxy.metric(&format!("{GATE}_shut_time_seconds"), &labels).await;
        assert!(shut_at.is_some_and(|at| at > 1.7e9), "{shut_at:?}");
        assert_eq!(service.proxy.metric(&format!("{GATE}_open_time_seconds"), &labels).await, Some(0.0));
        service.replicas[0].set_status(200);
        let (client, to) = (service.client.clone(), service.to);
        service.proxy.wait_for("the endpoint", async |_| ask_times(&client, to, 1).await[0].status == 200).await;
        assert!(ejected.elapsed() >= Duration::from_millis(EJECTION_MS as u64 - 100), "{:?}", ejected.elapsed());
        assert_eq!(service.proxy.metric(&format!("{GATE}_open_total"), &[]).await, Some(2.0));
        assert_eq!(service.ask(10).await.get(&service.replicas[0].addr.to_string()), Some(&10));
    });
}

#[test]
fn breakers_leave_as_many_endpoints_as_they_are_told_to() {
    isolated!(|| async {
        let ejection = Some(outbound::EjectionConfig { min_ready_endpoints: 2 });
        let accrual = FailureAccrual { ejection, ..consecutive(1, 60_000) };
        let service = service(3, policy::broken(PATH, accrual), &[("CORES", "2")]).await;
        service.replicas.iter().for_each(|replica| replica.set_status(500));
        service.ask_until(async |_| service.endpoints("pending").await == Some(1.0)).await;
        assert_eq!(service.ask(40).await.get("500"), Some(&40), "two are left, however they fail");
        assert_eq!((service.endpoints("ready").await, service.endpoints("pending").await), (Some(2.0), Some(1.0)));
    });
}

#[test]
fn an_endpoint_that_asks_to_be_spared_is_where_the_policy_says_so() {
    isolated!(|| async {
        let mut accrual = consecutive(1, 50);
        if let Some(failure_accrual::Kind::ConsecutiveFailures(c)) = &mut accrual.kind {
            c.backoff.as_mut().unwrap().respect_retry_after_hint = true;
        }
        let mut service =
            service(1, policy::broken(PATH, accrual), &[("OUTBOUND_HTTP_FAILFAST_TIMEOUT", "200ms")]).await;
        let headers = vec![("retry-after", "2".to_owned())];
        service.replicas[0].set(Behaviour { status: 503, headers, ..Behaviour::default() });
        assert_eq!(service.ask(1).await.get("503"), Some(&1));
        let ejected = Instant::now();
        service.replicas[0].set_status(200);
        let (client, to) = (service.client.clone(), service.to);
        service.proxy.wait_for("the endpoint", async |_| ask_times(&client, to, 1).await[0].status == 200).await;
        assert!((1_900..4_000).contains(&ejected.elapsed().as_millis()), "{:?}", ejected.elapsed());
    });
}

#[test]
fn an_endpoint_that_does_not_answer_in_time_or_breaks_off_has_failed() {
    isolated!(|| async {
        let rule = http_route::Rule {
            timeouts: Some(linkerd2_proxy_api::http_route::Timeouts { request: policy::ms(500), ..Default::default() }),
            ..policy::http_rule(PATH)
        };
        let slow = Behaviour { delay: Duration::from_secs(60), ..Behaviour::default() };
        let broken = Behaviour { breaks: true, ..Behaviour::default() };
        let mut network = Network::new();
        for (rule, behaviour, status) in [(rule, slow, "504"), (policy::http_rule(PATH), broken, "502")] {
            let mut policy = policy::detected(PATH, rule);
            policy::set_breakers(&mut policy, consecutive(2, 60_000));
            let settings = [("OUTBOUND_HTTP_FAILFAST_TIMEOUT", "200ms")];
            let service = service_in(&mut network, 1, policy, &settings).await;
            // A connection that was used before may have ended by itself.
            let headers = vec![("connection", "close".to_owned())];
            service.replicas[0].set(Behaviour { headers, ..Behaviour::default() });
            service.ask(1).await;
            service.replicas[0].take_seen();
            service.replicas[0].set(behaviour);
            let answers = service.ask(2).await;
            assert_eq!(answers.get(status), Some(&2), "{answers:?}");
            assert_eq!(service.ask(2).await.get("504"), Some(&2));
            assert_eq!(service.replicas[0].take_seen().len(), 2);
            assert_eq!(service.endpoints("pending").await, Some(1.0));
        }
    });
}

#[test]
fn a_retry_is_the_probe_of_an_endpoint_that_is_back() {
    isolated!(|| async {
        let range = http_route::retry::conditions::StatusRange { start: 500, end: 599 };
        let retry = http_route::Retry {
            max_retries: 1,
            max_request_bytes: 1_000,
            conditions: Some(http_route::retry::Conditions { status_ranges: vec![range] }),
            timeout: None,
            backoff: policy::backoff(400, 400),
        };
        let mut policy = policy::detected(PATH, http_route::Rule { retry: Some(retry), ..policy::http_rule(PATH) });
        policy::set_breakers(&mut policy, consecutive(1, 100));
        let settings = [("OUTBOUND_HTTP_FAILFAST_TIMEOUT", "350ms")];
        let service = service(1, policy, &settings).await;
        service.replicas[0].set(Behaviour { status: 503, delay: Duration::from_millis(100), ..Behaviour::default() });
        // Its first attempt ejects the endpoint, which is back when the second is made: long after the request came.
        assert_eq!(service.ask(1).await.get("503"), Some(&1));
        assert_eq!(service.replicas[0].take_seen().len(), 2);
        assert_eq!(service.proxy.metric(&format!("{GATE}_shut_total"), &[]).await, Some(0.0));
    });
}

/// gRPC calls on one connection; their statuses.
async fn calls(client: &Pod, to: SocketAddr, times: usize) -> Vec<String> {
    client
        .run(move || async move {
            let stream = TokioIo::new(TcpStream::connect(to).await.unwrap());
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            let mut statuses = Vec::new();
            for _ in 0..times {
                let request = Request::post("http://web/test.Echo/Echo").header("content-type", "application/grpc");
                let request = request.body(Empty::<Bytes>::new()).unwrap();
                let response = sender.send_request(request).await.unwrap();
                let status = response.headers().get("grpc-status").cloned();
                let _ = response.into_body().collect().await;
                statuses.push(status.map_or("none".into(), |s| s.to_str().unwrap().to_owned()));
            }
            statuses
        })
        .await
}

#[test]
fn grpc_statuses_are_failures_and_too_many_are_as_bad_as_some_in_a_row() {
    isolated!(|| async {
        let unified = failure_accrual::Unified {
            success_rate_threshold: 0.5,
            decay: policy::ms(60_000),
            min_requests: 4,
            max_consecutive_failures: 0,
            backoff: policy::backoff(60_000, 60_000),
        };
        let accrual = FailureAccrual { kind: Some(failure_accrual::Kind::Unified(unified)), ejection: None };
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        let to = SERVICE.parse().unwrap();
        control.set_policy(to, Ok(policy::broken(PATH, accrual)));
        let replica = Replica::start(&mut network).await;
        control.set_endpoints(PATH, vec![plain(replica.http2)]);
        let client = network.add_pod().await;
        let settings = [("OUTBOUND_HTTP_FAILFAST_TIMEOUT", "200ms")];
        let proxy = Proxy::start(&client, &control, BOT, &settings).await;
        let headers =
            |status: &str| vec![("content-type", "application/grpc".to_owned()), ("grpc-status", status.to_owned())];
        replica.set(Behaviour { headers: headers("0"), ..Behaviour::default() });
        assert_eq!(calls(&client, to, 3).await, ["0", "0", "0"]);
        // A refusal of this kind is no failure, but no success either: half of eight are enough, fewer are not.
        replica.set(Behaviour { headers: headers("8"), ..Behaviour::default() });
        assert_eq!(calls(&client, to, 6).await, ["8", "8", "8", "8", "4", "4"]);
        assert_eq!(replica.take_seen().len(), 7);
        drop(proxy);
    });
}

#[test]
fn an_endpoint_with_too_many_requests_gets_few_where_failures_are_penalized() {
    isolated!(|| async {
        use outbound::backend::balance_p2c::{Load, PenaltyPeakEwma};
        let mut policy = policy::balanced(PATH);
        let load = PenaltyPeakEwma {
            default_rtt: policy::ms(30),
            decay: policy::ms(10_000),
            penalty: policy::ms(5_000),
            max_retry_after: None,
            penalty_decay: policy::ms(10_000),
        };
        policy::balancers(&mut policy, |balancer| balancer.load = Some(Load::PenaltyPeakEwma(load)));
        let service = service(2, policy, &[]).await;
        service.replicas[0].set_status(429);
        let answers = service.ask_until(async |answers| answers.contains_key("429")).await;
        assert_eq!(answers.get("429"), Some(&1), "{answers:?}");
        assert_eq!(service.ask(60).await.get("429"), None);
    });
}
