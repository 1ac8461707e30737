//! A Service's requests among its endpoints: evenly over the good ones, around the bad ones, and an answer in time when
//! there are none.

use crate::{
    isolated,
    mesh::{BOT, WEB, exchange, meshed_endpoint},
    support::{
        control_plane::ControlPlane,
        network::{Network, Pod, ip},
        policy,
        proxy::Proxy,
    },
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use linkerd2_proxy_api::{
    destination as dst,
    outbound::{self, http_route},
};
use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::net::{TcpListener, TcpStream};

const PORT: u16 = 8080;
const SERVICE: &str = "10.96.0.1:80";
const PATH: &str = "web.test.svc.cluster.local:80";

struct Service {
    network: Network,
    control: ControlPlane,
    client: Pod,
    proxy: Proxy,
}

async fn service(settings: &[(&str, &str)]) -> Service {
    let mut network = Network::new();
    let control = ControlPlane::start().await;
    control.set_policy(SERVICE.parse().unwrap(), Ok(policy::balanced(PATH)));
    let client = network.add_pod().await;
    let proxy = Proxy::start(&client, &control, BOT, settings).await;
    Service { network, control, client, proxy }
}

impl Service {
    /// A pod whose application answers with its own address after a while.
    async fn add(&mut self, delay: Duration) -> SocketAddr {
        self.add_pod(delay).await.1
    }

    async fn add_pod(&mut self, delay: Duration) -> (Pod, SocketAddr) {
        let pod = self.network.add_pod().await;
        let addr = SocketAddr::new(pod.v4.into(), PORT);
        pod.start(move |up| async move {
            let listener = TcpListener::bind(addr).await.unwrap();
            let _ = up.send(());
            while let Ok((stream, _)) = listener.accept().await {
                let service = service_fn(move |_: Request<hyper::body::Incoming>| async move {
                    tokio::time::sleep(delay).await;
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(addr.to_string()))))
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        })
        .await;
        (pod, addr)
    }

    fn set(&self, endpoints: &[SocketAddr]) {
        let plain = |addr: &SocketAddr| dst::WeightedAddr { tls_identity: None, ..meshed_endpoint(*addr, None, false) };
        self.control.set_endpoints(PATH, endpoints.iter().map(plain).collect());
    }

    /// Sends requests on one connection, `at_once` at a time, and counts the answers.
    async fn ask(&self, requests: usize, at_once: usize) -> HashMap<String, usize> {
        self.client
            .run(move || async move {
                let mut answers = HashMap::new();
                let mut senders = Vec::new();
                for _ in 0..at_once {
                    let stream = TokioIo::new(TcpStream::connect(SERVICE).await.unwrap());
                    let (sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
                    tokio::spawn(connection);
                    senders.push(sender);
                }
                let each = senders.into_iter().map(|mut sender| async move {
                    let mut answers = Vec::new();
                    for _ in 0..requests / at_once {
                        sender.ready().await.unwrap();
                        let request = Request::get("/").header("host", "web").body(Empty::<Bytes>::new()).unwrap();
                        let response = sender.send_request(request).await.unwrap();
                        let status = response.status();
                        let body = response.into_body().collect().await.unwrap().to_bytes();
                        let is_ok = status == StatusCode::OK;
                        answers.push(if is_ok {
                            String::from_utf8(body.to_vec()).unwrap()
                        } else {
                            status.to_string()
                        });
                    }
                    answers
                });
                let tasks: Vec<_> = each.map(tokio::task::spawn_local).collect();
                for task in tasks {
                    for answer in task.await.unwrap() {
                        *answers.entry(answer).or_default() += 1;
                    }
                }
                answers
            })
            .await
    }
}

#[test]
fn requests_of_one_connection_are_spread_and_a_slow_endpoint_gets_fewer() {
    isolated!(|| async {
        let mut service = service(&[]).await;
        let ms = Duration::from_millis;
        let all = [service.add(ms(1)).await, service.add(ms(1)).await, service.add(ms(40)).await];
        service.set(&all);
        let answers = service.ask(400, 4).await;
        let count = |i: usize| answers.get(&all[i].to_string()).copied().unwrap_or(0);
        assert_eq!(count(0) + count(1) + count(2), 400, "{answers:?}");
        assert!(count(0) > 80 && count(1) > 80, "{answers:?}");
        assert!(count(2) < 40, "{answers:?}");
    });
}

#[test]
fn endpoints_that_cannot_be_reached_cost_no_request() {
    isolated!(|| async {
        let mut service = service(&[("OUTBOUND_CONNECT_TIMEOUT", "200ms")]).await;
        let good = service.add(Duration::ZERO).await;
        let refusing = SocketAddr::new(service.network.add_pod().await.v4.into(), PORT);
        // Nobody answers there, not even with a refusal.
        let silent: SocketAddr = "10.99.1.1:8080".parse().unwrap();
        ip(&["route add blackhole 10.99.1.0/24"]);
        service.set(&[refusing, silent, good]);
        let started = Instant::now();
        assert_eq!(service.ask(100, 4).await, HashMap::from([(good.to_string(), 100)]));
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        // A set that changes loses nothing either.
        let other = service.add(Duration::ZERO).await;
        service.set(&[other]);
        service.proxy.wait_for("the new endpoint", async |_| service_is(&service.client, other).await).await;
        assert_eq!(service.ask(50, 1).await, HashMap::from([(other.to_string(), 50)]));
    });
}

async fn service_is(client: &Pod, addr: SocketAddr) -> bool {
    let answer =
        exchange(client, SERVICE.parse().unwrap(), "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    answer.ends_with(&addr.to_string())
}

#[test]
fn without_endpoints_requests_fail_after_three_seconds_and_then_at_once_until_there_are_some() {
    isolated!(|| async {
        let mut service = service(&[]).await;
        let ask = "GET / HTTP/1.1\r\nHost: web\r\n\r\n";
        let to = SERVICE.parse().unwrap();
        let started = Instant::now();
        let answer = exchange(&service.client, to, ask).await;
        assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{answer}");
        assert!(answer.contains("connection: close\r\n") && answer.contains("l5d-proxy-error: "), "{answer}");
        assert!((2_900..4_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
        let started = Instant::now();
        assert!(exchange(&service.client, to, ask).await.starts_with("HTTP/1.1 504 "));
        assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
        let labels = ["error=\"failfast\""];
        assert_eq!(service.proxy.metric("outbound_http_errors_total", &labels).await, Some(2.0));

        let added = service.add(Duration::ZERO).await;
        service.set(&[added]);
        service.proxy.wait_for("the endpoint", async |_| service_is(&service.client, added).await).await;
    });
}

#[test]
fn the_limit_in_flight_holds_for_all_workers_together() {
    isolated!(|| async {
        let mut service = service(&[("OUTBOUND_MAX_IN_FLIGHT", "4"), ("CORES", "2")]).await;
        let slow = service.add(Duration::from_secs(1)).await;
        service.set(&[slow]);
        service.proxy.wait_for("the endpoint", async |_| service_is(&service.client, slow).await).await;
        let answers = service.ask(16, 16).await;
        let expected = HashMap::from([(slow.to_string(), 4), ("503 Service Unavailable".to_owned(), 12)]);
        assert_eq!(answers, expected);
    });
}

#[test]
fn filters_that_answer_do_so_and_unusable_policies_fail_requests() {
    isolated!(|| async {
        let mut service = service(&[]).await;
        let endpoint = service.add(Duration::ZERO).await;
        service.set(&[endpoint]);
        let with = |kind| http_route::Rule {
            filters: vec![http_route::Filter { kind: Some(kind) }],
            ..policy::http_rule(PATH)
        };
        let redirect = http_route::filter::Kind::Redirect(linkerd2_proxy_api::http_route::RequestRedirect {
            host: "other".into(),
            status: 301,
            ..Default::default()
        });
        let failure = http_route::filter::Kind::FailureInjector(linkerd2_proxy_api::http_route::HttpFailureInjector {
            status: 418,
            message: "no coffee".into(),
            ratio: Some(linkerd2_proxy_api::http_route::Ratio { numerator: 1, denominator: 1 }),
        });
        let invalid = outbound::OutboundPolicy { protocol: None, metadata: policy::named("web") };
        for (at, (policy, status, part)) in [
            (policy::detected(PATH, with(redirect)), "301", "location: http://other/x?y\r\n"),
            (policy::detected(PATH, with(failure)), "418", "l5d-proxy-error: no coffee\r\n"),
            (invalid, "500", "l5d-proxy-error: invalid policy"),
        ]
        .into_iter()
        .enumerate()
        {
            let to: SocketAddr = format!("10.96.1.{at}:80").parse().unwrap();
            service.control.set_policy(to, Ok(policy));
            let ask = "GET /x?y HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
            let answer = exchange(&service.client, to, ask).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(part), "{answer}");
        }
    });
}

#[test]
fn an_http2_peer_that_says_goodbye_loses_no_request() {
    isolated!(|| async {
        let mut service = service(&[]).await;
        let pod = service.network.add_pod().await;
        let addr = SocketAddr::new(pod.v4.into(), PORT);
        let mut connections = pod
            .start(move |up: tokio::sync::oneshot::Sender<tokio::sync::mpsc::UnboundedReceiver<()>>| async move {
                let listener = TcpListener::bind(addr).await.unwrap();
                let (opened, connections) = tokio::sync::mpsc::unbounded_channel();
                let _ = up.send(connections);
                while let Ok((stream, _)) = listener.accept().await {
                    opened.send(()).unwrap();
                    tokio::spawn(async move {
                        let mut connection = h2::server::handshake(stream).await.unwrap();
                        let mut served = 0;
                        while let Some(Ok((_, mut respond))) = connection.accept().await {
                            served += 1;
                            respond.send_response(Response::new(()), true).unwrap();
                            if served == 10 {
                                connection.graceful_shutdown();
                            }
                        }
                    });
                }
            })
            .await;
        service.set(&[addr]);
        let answered = service
            .client
            .run(|| async {
                let stream = TokioIo::new(TcpStream::connect(SERVICE).await.unwrap());
                let (sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
                tokio::spawn(connection);
                let mut answered = 0;
                for _ in 0..25 {
                    let both = [0, 1].map(|_| {
                        let request = Request::get("http://web/").body(Empty::<Bytes>::new()).unwrap();
                        tokio::task::spawn_local(sender.clone().send_request(request))
                    });
                    for response in both {
                        assert_eq!(response.await.unwrap().unwrap().status(), StatusCode::OK);
                        answered += 1;
                    }
                }
                answered
            })
            .await;
        assert_eq!(answered, 50);
        let mut opened = 0;
        while connections.try_recv().is_ok() {
            opened += 1;
        }
        assert!(opened >= 4, "{opened}");
    });
}

#[test]
fn meshed_endpoints_are_balanced_and_the_loss_of_one_is_got_over() {
    isolated!(|| async {
        let mut service = service(&[("OUTBOUND_CONNECT_TIMEOUT", "200ms")]).await;
        let (first, first_addr) = service.add_pod(Duration::ZERO).await;
        let (second, second_addr) = service.add_pod(Duration::ZERO).await;
        let first = Proxy::start(&first, &service.control, WEB, &[]).await;
        let _second = Proxy::start(&second, &service.control, WEB, &[]).await;
        let silent: SocketAddr = "10.99.1.1:8080".parse().unwrap();
        ip(&["route add blackhole 10.99.1.0/24"]);
        let meshed = [first_addr, second_addr, silent].map(|addr| {
            let hint = dst::protocol_hint::Protocol::H2(dst::protocol_hint::H2 {});
            meshed_endpoint(addr, Some(hint), false)
        });
        service.control.set_endpoints(PATH, meshed.into());
        let answers = service.ask(200, 4).await;
        let count = |addr: SocketAddr| answers.get(&addr.to_string()).copied().unwrap_or(0);
        assert_eq!(count(first_addr) + count(second_addr), 200, "{answers:?}");
        assert!(count(first_addr) > 40 && count(second_addr) > 40, "{answers:?}");

        // Killed while nothing is in flight: nothing is lost, although the control plane has said nothing.
        drop(first);
        assert_eq!(service.ask(100, 4).await, HashMap::from([(second_addr.to_string(), 100)]));
    });
}
