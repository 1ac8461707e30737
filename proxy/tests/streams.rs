//! What becomes of streams whose server resets them, says goodbye, is gone, or changes their protocol.

use crate::{
    isolated,
    support::{
        network::Pod,
        policy::{self, ms},
        script::{PATH, Service},
    },
};
use bytes::Bytes;
use h2::{Reason, SendStream, server::SendResponse};
use http::{Request, Response};
use linkerd2_proxy_api::{http_route as api, outbound::http_route};
use std::{future::Future, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tulle_proxy::control::overlay;

/// A pod that serves each of its connections, by their number, in a way of the test's own.
async fn server<F: Future<Output = ()> + 'static>(
    service: &mut Service,
    serve: impl Fn(usize, h2::server::Connection<TcpStream, Bytes>) -> F + Send + 'static,
) {
    let pod = service.network.add_pod().await;
    let addr = SocketAddr::new(pod.v4.into(), 8080);
    pod.start(move |up| async move {
        let listener = TcpListener::bind(addr).await.unwrap();
        let _ = up.send(());
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::task::spawn_local(serve(number, h2::server::handshake(stream).await.unwrap()));
        }
    })
    .await;
    service.set_endpoints(PATH, [addr]);
}

fn begin(respond: &mut SendResponse<Bytes>, text: &'static str) -> SendStream<Bytes> {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(Bytes::from_static(text.as_bytes()), false).unwrap();
    stream
}

fn finish(respond: &mut SendResponse<Bytes>, text: &'static str) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(Bytes::from_static(text.as_bytes()), true).unwrap();
}

/// What a call ends with: its body, its `grpc-status` if it has one, and the code of a reset.
async fn call(client: &Pod, to: SocketAddr, content_type: &'static str) -> (String, Option<String>, Option<Reason>) {
    client
        .run(move || async move {
            let stream = TcpStream::connect(to).await.unwrap();
            let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            let request = Request::post("http://web/a.B/C").header("content-type", content_type).body(()).unwrap();
            let (response, _) = sender.send_request(request, true).unwrap();
            let mut body = match response.await {
                Ok(response) => response.into_body(),
                Err(error) => return (String::new(), None, error.reason()),
            };
            let mut text = String::new();
            while let Some(data) = body.data().await {
                match data {
                    Ok(data) => text += std::str::from_utf8(&data).unwrap(),
                    Err(error) => return (text, None, error.reason()),
                }
            }
            let status = body.trailers().await.unwrap().map(|t| t["grpc-status"].to_str().unwrap().to_owned());
            (text, status, None)
        })
        .await
}

#[test]
fn a_reset_is_passed_on_with_its_code_before_and_after_the_head() {
    isolated!(|| async {
        let mut service = Service::start(policy::balanced(PATH)).await;
        server(&mut service, |_, mut connection| async move {
            let mut streams = Vec::new();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                match request.headers()["content-type"] == "application/grpc" {
                    true => respond.send_reset(Reason::ENHANCE_YOUR_CALM),
                    false => {
                        let mut stream = begin(&mut respond, "part");
                        // Sent before the reset is, which would overtake it.
                        let _ = tokio::time::timeout(Duration::from_millis(200), connection.accept()).await;
                        stream.send_reset(Reason::INTERNAL_ERROR);
                        streams.push(stream);
                    }
                }
            }
        })
        .await;
        let early = call(&service.client, service.to, "application/grpc").await;
        assert_eq!(early, (String::new(), None, Some(Reason::ENHANCE_YOUR_CALM)));
        let late = call(&service.client, service.to, "text/plain").await;
        assert_eq!(late, ("part".into(), None, Some(Reason::INTERNAL_ERROR)));
    });
}

#[test]
fn a_call_whose_server_is_gone_is_told_so_and_other_streams_break() {
    isolated!(|| async {
        let mut service = Service::start(policy::balanced(PATH)).await;
        server(&mut service, |_, mut connection| async move {
            let (_, mut respond) = connection.accept().await.unwrap().unwrap();
            let _stream = begin(&mut respond, "part");
            let _ = tokio::time::timeout(Duration::from_millis(200), connection.accept()).await;
        })
        .await;
        let grpc = call(&service.client, service.to, "application/grpc").await;
        assert_eq!(grpc, ("part".into(), Some("14".into()), None));
        let (text, status, reset) = call(&service.client, service.to, "text/plain").await;
        assert!(text == "part" && status.is_none() && reset.is_some(), "{text} {status:?} {reset:?}");
    });
}

#[test]
fn a_server_that_says_goodbye_finishes_what_it_has_and_gets_no_more() {
    isolated!(|| async {
        let mut service = Service::start(policy::balanced(PATH)).await;
        server(&mut service, |number, mut connection| async move {
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                match (number, request.headers()["content-type"] == "application/grpc") {
                    (_, true) => {
                        let mut stream = begin(&mut respond, "fir");
                        connection.graceful_shutdown();
                        tokio::spawn(async move {
                            tokio::time::sleep(Duration::from_millis(500)).await;
                            stream.send_data(Bytes::from_static(b"st"), true).unwrap();
                        });
                    }
                    // Before the goodbye had come.
                    (0, false) => finish(&mut respond, "early"),
                    (_, false) => finish(&mut respond, "second"),
                }
            }
        })
        .await;
        let (client, to) = (service.client.clone(), service.to);
        let first = tokio::spawn(async move { call(&client, to, "application/grpc").await.0 });
        // While the first is under way, all others find another connection.
        let mut others = Vec::new();
        while !first.is_finished() {
            others.push(call(&service.client, service.to, "text/plain").await.0);
        }
        assert_eq!(first.await.unwrap(), "first");
        let after = others.iter().skip_while(|text| *text == "early");
        assert!(after.clone().count() > 0 && after.clone().all(|text| text == "second"), "{others:?}");
    });
}

#[test]
fn an_upgrade_passes_a_rule_with_retries_times_and_copies() {
    isolated!(|| async {
        const COPY: &str = "copy.test.svc.cluster.local:80";
        let range = http_route::retry::conditions::StatusRange { start: 100, end: 599 };
        let conditions = Some(http_route::retry::Conditions { status_ranges: vec![range] });
        let rule = http_route::Rule {
            retry: Some(http_route::Retry { max_retries: 3, conditions, ..Default::default() }),
            timeouts: Some(api::Timeouts { idle: ms(5_000), response: ms(5_000), request: ms(5_000) }),
            ..policy::http_rule(PATH)
        };
        let mirror = overlay::Mirror { authority: COPY.into(), name: "copy".into(), port: 80, ..Default::default() };
        let http_rules = vec![overlay::HttpRule { mirrors: vec![mirror], ..Default::default() }];
        let ours = overlay::OutboundPolicy { http_rules, ..Default::default() };
        let mut service = Service::start_with(policy::detected(PATH, rule), ours, &[]).await;
        let copy = service.add(COPY, 1).await.remove(0);
        let pod = service.network.add_pod().await;
        let addr = SocketAddr::new(pod.v4.into(), 8080);
        pod.start(move |up| async move {
            let listener = TcpListener::bind(addr).await.unwrap();
            let _ = up.send(());
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
            }
            let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: upgrade\r\n\r\n";
            stream.write_all(switched.as_bytes()).await.unwrap();
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap();
        })
        .await;
        service.set_endpoints(PATH, [addr]);
        let to = service.to;
        let answer = service
            .client
            .run(move || async move {
                let mut stream = TcpStream::connect(to).await.unwrap();
                let ask = "GET /chat HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nping";
                stream.write_all(ask.as_bytes()).await.unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"ping") {
                    assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
                }
                String::from_utf8(answer).unwrap()
            })
            .await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert_eq!(copy.count(), 0, "nobody would take part in it");
    });
}
