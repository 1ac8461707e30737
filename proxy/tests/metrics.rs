//! What both proxies of a pair count: every family under the labels that dashboards and the command line ask for.

use crate::{
    isolated,
    mesh::{BOT, HTTP1, HTTP2, TCP, WEB, applications, exchange, meshed_endpoint},
    support::{
        control_plane::ControlPlane,
        network::{Network, Pod},
        policy,
        proxy::Proxy,
    },
};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use linkerd2_proxy_api::destination as dst;
use std::{collections::BTreeSet, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const TARGET: &str = "target_addr target_ip target_port";
const SERVER: &str = "srv_group srv_kind srv_name srv_port";
const ROUTE_AUTHZ: &str = "route_group route_kind route_name authz_group authz_kind authz_name";
const ENDPOINT: &str =
    "authority target_addr target_ip target_port tls server_id dst_pod dst_service dst_zone_locality";
const PARENT: &str = "parent_group parent_kind parent_namespace parent_name parent_port parent_section_name";
const ROUTE: &str = "route_group route_kind route_namespace route_name";
const BACKEND: &str = "backend_group backend_kind backend_namespace backend_name backend_port backend_section_name";
const BALANCER: &str = "logical concrete";
const INBOUND_ROUTE: &str = "parent_group parent_kind parent_name parent_port route_group route_kind route_name";
const RESPONSE: &str = "status_code classification grpc_status error";
const CONTROL: &str = "addr tls server_id";

/// The labels of the series of a family that have `only` among their labels, each of them at least once.
fn labels_of(text: &str, family: &str, only: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(family) && line.contains(only));
    let sets: BTreeSet<String> = lines
        .map(|line| {
            let labels = line.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
            let names: BTreeSet<&str> =
                labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name).collect();
            names.into_iter().filter(|name| *name != "le").collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(sets.len(), 1, "{family} {only}: {sets:?}");
    sets.iter().flat_map(|set| set.split(' ')).map(str::to_owned).collect()
}

fn assert_labels(text: &str, rows: &[(&str, &str, &[&str])]) {
    for (family, only, labels) in rows {
        let expected: BTreeSet<String> = labels.iter().flat_map(|l| l.split(' ')).map(str::to_owned).collect();
        assert_eq!(labels_of(text, family, only), expected, "{family} {only}");
    }
}

async fn call(client: &Pod, to: SocketAddr) {
    client
        .run(move || async move {
            let stream = TokioIo::new(TcpStream::connect(to).await.unwrap());
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            let request = Request::post("http://web/test.Echo/Echo").header("content-type", "application/grpc");
            let request = request.header("te", "trailers").body(Full::new(Bytes::from("abc"))).unwrap();
            let response = sender.send_request(request).await.unwrap();
            response.into_body().collect().await.unwrap();
        })
        .await
}

#[test]
fn every_family_has_the_labels_that_linkerds_has() {
    isolated!(|| async {
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        let (client, server) = (network.add_pod().await, network.add_pod().await);
        server.start(applications).await;
        let labels = [("pod", "web-1"), ("service", "web"), ("zone_locality", "local")];
        let endpoint = |port, is_opaque: bool| {
            let hint = (!is_opaque).then_some(dst::protocol_hint::Protocol::H2(dst::protocol_hint::H2 {}));
            let endpoint = meshed_endpoint(SocketAddr::new(server.v4.into(), port), hint, is_opaque);
            let metric_labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            dst::WeightedAddr { metric_labels, ..endpoint }
        };
        let [web, grpc, tcp] = ["10.96.0.1:80", "10.96.0.2:80", "10.96.0.3:80"].map(|to| to.parse().unwrap());
        for (to, path, policy, endpoint) in [
            (web, "web.test.svc.cluster.local:80", policy::balanced as fn(&str) -> _, endpoint(HTTP1, false)),
            (grpc, "grpc.test.svc.cluster.local:80", |path| policy::grpc(path, |_| {}), endpoint(HTTP2, false)),
            (tcp, "tcp.test.svc.cluster.local:80", policy::balanced, endpoint(TCP, true)),
        ] {
            control.set_policy(to, Ok(policy(path)));
            control.set_endpoints(path, vec![endpoint]);
        }
        let outbound = Proxy::start(&client, &control, BOT, &[]).await;
        let opaque = &[("INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION", "4444")];
        let inbound = Proxy::start(&server, &control, WEB, opaque).await;
        let head = "GET /a HTTP/1.1\r\nHost: web\r\nConnection: close\r\n";
        for status in ["", "status: 503\r\n"] {
            exchange(&client, web, format!("{head}{status}\r\n")).await;
        }
        call(&client, grpc).await;
        let answer = client
            .run(move || async move {
                let mut stream = TcpStream::connect(tcp).await.unwrap();
                stream.write_all(b"longer than a request line, but none").await.unwrap();
                stream.shutdown().await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                answer
            })
            .await;
        assert!(answer.starts_with("hello LONGER"), "{answer}");

        let (_, text) = outbound.admin("GET", "/metrics").await.unwrap();
        let dst = "direction=\"outbound\",peer=\"dst\"";
        let tcp_dst = &["direction peer", ENDPOINT][..];
        let src = "direction=\"outbound\",peer=\"src\"";
        let tcp_src = &["direction peer tls no_tls_reason", TARGET][..];
        let balancer = &[PARENT, BACKEND, BALANCER][..];
        assert_labels(
            &text,
            &[
                ("request_total", "outbound", &["direction", ENDPOINT]),
                ("response_latency_ms_bucket", "outbound", &["direction status_code", ENDPOINT]),
                ("response_total", "outbound", &["direction", ENDPOINT, RESPONSE]),
                ("tcp_open_total", dst, tcp_dst),
                ("tcp_open_connections", dst, tcp_dst),
                ("tcp_read_bytes_total", dst, tcp_dst),
                ("tcp_write_bytes_total", dst, tcp_dst),
                ("tcp_open_total", src, tcp_src),
                ("tcp_close_total", src, &["direction peer tls no_tls_reason errno", TARGET]),
                ("outbound_http_route_request_duration_seconds_bucket", "", &[PARENT, ROUTE, "hostname"]),
                ("outbound_http_route_request_frame_size_bytes_bucket", "", &[PARENT, ROUTE, "hostname"]),
                ("outbound_http_route_request_statuses_total", "", &[PARENT, ROUTE, "hostname http_status error"]),
                ("outbound_grpc_route_request_statuses_total", "", &[PARENT, ROUTE, "hostname grpc_status error"]),
                ("outbound_http_route_backend_requests_total", "", &[PARENT, ROUTE, BACKEND]),
                ("outbound_http_route_backend_response_duration_seconds_bucket", "", &[PARENT, ROUTE, BACKEND]),
                ("outbound_http_route_backend_response_frame_size_bytes_bucket", "", &[PARENT, ROUTE, BACKEND]),
                (
                    "outbound_http_route_backend_response_statuses_total",
                    "",
                    &[PARENT, ROUTE, BACKEND, "http_status error"],
                ),
                (
                    "outbound_grpc_route_backend_response_statuses_total",
                    "",
                    &[PARENT, ROUTE, BACKEND, "grpc_status error"],
                ),
                ("outbound_http_balancer_endpoints", "", &[PARENT, BACKEND, BALANCER, "endpoint_state"]),
                ("outbound_tcp_balancer_p2c_endpoints", "", balancer),
                ("outbound_tcp_balancer_p2c_updates_total", "", &[PARENT, BACKEND, BALANCER, "op"]),
                ("outbound_http_balancer_queue_length", "", balancer),
                ("outbound_http_balancer_queue_latency_seconds_bucket", "", balancer),
                ("outbound_http_balancer_queue_gate_timeout_seconds", "", balancer),
                ("outbound_tcp_protocol_connections_total", "", &[PARENT, "protocol"]),
                ("outbound_tcp_detect_http_duration_seconds_bucket", "", &[PARENT]),
                ("outbound_tcp_detect_http_results_total", "", &[PARENT, "result"]),
                ("outbound_tcp_route_open_total", "", &[PARENT, ROUTE]),
                ("outbound_tcp_route_close_total", "", &[PARENT, ROUTE, "error"]),
                ("outbound_tcp_transfer_cost_bytes_total", "", &["op zone_locality"]),
                ("control_request_total", "", &[CONTROL]),
                ("control_response_latency_ms_bucket", "", &[CONTROL, "status_code"]),
                ("control_response_total", "", &[CONTROL, RESPONSE]),
                ("control_policy_balancer_endpoints", "", &["addr endpoint_state"]),
                ("control_identity_balancer_queue_requests_total", "", &["addr"]),
                ("control_destination_balancer_queue_gate_open_time_seconds", "", &["addr"]),
            ],
        );
        for sample in [
            "grpc_status=\"OK\",error=\"\"} 1",
            "http_status=\"503\",error=\"\"} 1",
            "protocol=\"detect\"} 3",
            "protocol=\"http/2\"} 1",
            "result=\"not_http\"} 1",
        ] {
            assert!(text.lines().any(|line| line.ends_with(sample)), "no {sample} in\n{text}");
        }

        let (_, text) = inbound.admin("GET", "/metrics").await.unwrap();
        let client_tls = "direction=\"inbound\",target_addr=\"10.42.0.2:8080\"";
        let client_labels = &["tls client_id", TARGET, SERVER, ROUTE_AUTHZ][..];
        let src = "direction=\"inbound\",peer=\"src\",target_addr=\"10.42.0.2:8080\"";
        assert_labels(
            &text,
            &[
                ("request_total", client_tls, &[&["direction"], client_labels].concat()),
                ("response_total", client_tls, &[&["direction", RESPONSE], client_labels].concat()),
                ("inbound_http_authz_allow_total", "8080", client_labels),
                (
                    "inbound_tcp_authz_allow_total",
                    "",
                    &["tls client_id authz_group authz_kind authz_name", TARGET, SERVER],
                ),
                ("tcp_open_total", src, &["direction peer tls client_id", TARGET, SERVER]),
                ("tcp_open_total", "direction=\"inbound\",peer=\"dst\"", &["direction peer tls no_tls_reason"]),
                ("inbound_http_requests_total", "", &[INBOUND_ROUTE]),
                ("inbound_http_request_duration_seconds_bucket", "", &[INBOUND_ROUTE]),
                ("inbound_http_response_duration_seconds_bucket", "", &[INBOUND_ROUTE]),
                ("inbound_http_request_frame_size_bytes_bucket", "", &[INBOUND_ROUTE]),
                ("inbound_http_response_frame_size_bytes_bucket", "", &[INBOUND_ROUTE]),
                ("inbound_http_statuses_total", "", &[INBOUND_ROUTE, "status http_status error"]),
                ("inbound_tcp_detect_http_duration_seconds_bucket", "", &[SERVER]),
                ("inbound_tcp_detect_http_results_total", "", &[SERVER, "result"]),
                (
                    "inbound_tcp_transport_header_connections_total",
                    "",
                    &["session_protocol target_port target_name client_id"],
                ),
            ],
        );
        // The proxy's own port is a port like others.
        let admin = "target_port=\"4191\"";
        assert!(inbound.metric("request_total", &[admin, "srv_port=\"4191\""]).await >= Some(2.0), "{text}");
        assert!(inbound.metric("tcp_open_total", &[admin, "peer=\"src\""]).await >= Some(2.0), "{text}");
        for family in ["proxy_build_info", "rustls_info", "process_clock_time_seconds", "process_start_time_seconds"] {
            assert!(inbound.metric(family, &[]).await > Some(0.0), "{family}");
        }
    });
}

#[test]
fn names_that_clients_choose_are_labels_only_where_that_is_asked_for() {
    isolated!(|| async {
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        let (client, server) = (network.add_pod().await, network.add_pod().await);
        server.start(applications).await;
        let (to, path) = ("10.96.0.1:80".parse().unwrap(), "web.test.svc.cluster.local:80");
        control.set_policy(to, Ok(policy::balanced(path)));
        let hint = dst::protocol_hint::Protocol::H2(dst::protocol_hint::H2 {});
        control.set_endpoints(path, vec![meshed_endpoint(SocketAddr::new(server.v4.into(), HTTP1), Some(hint), false)]);
        let outbound = Proxy::start(&client, &control, BOT, &[("OUTBOUND_METRICS_HOSTNAME_LABELS", "true")]).await;
        let inbound = Proxy::start(&server, &control, WEB, &[("INBOUND_METRICS_AUTHORITY_LABELS", "unsafe")]).await;
        for host in ["Web.test:80", "web.test:80", "10.96.0.1"] {
            exchange(&client, to, format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        }
        for (family, label, count) in [
            ("outbound_http_route_request_statuses_total", "hostname=\"web.test\"", Some(2.0)),
            ("outbound_http_route_request_duration_seconds_count", "hostname=\"\"", Some(1.0)),
            ("outbound_http_route_request_statuses_total", "hostname=\"10.96.0.1\"", None),
        ] {
            assert_eq!(outbound.metric(family, &[label]).await, count, "{family} {label}");
        }
        for (family, authority, count) in [
            ("request_total", "web.test:80", 1.0),
            ("response_total", "Web.test:80", 1.0),
            ("request_total", "10.96.0.1", 1.0),
        ] {
            let labels = ["direction=\"inbound\"", &format!("authority=\"{authority}\"")].map(str::to_owned);
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            assert_eq!(inbound.metric(family, &labels).await, Some(count), "{family} {authority}");
        }
    });
}
