//! Local rate limits: of all together, of each identity, and of those that are excepted from it.

use crate::{
    inbound_policy::guarded,
    isolated,
    mesh::{BOT, HTTP1, HTTP2},
    support::inbound::{ask, ask_as, detect, everybody, named, server},
};
use linkerd2_proxy_api::inbound::{
    HttpLocalRateLimit, Identity,
    http_local_rate_limit::{Limit, Override, r#override::ClientIdentities},
    proxy_protocol::{Http2, Kind},
};

const ASK: &str = "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
const SLOW: &str = "slow.test.serviceaccount.identity.linkerd.cluster.local";
const SLOWER: &str = "slower.test.serviceaccount.identity.linkerd.cluster.local";

fn rps(requests_per_second: u32) -> Option<Limit> {
    Some(Limit { requests_per_second })
}

#[test]
fn identities_are_limited_each_alone_strangers_together_and_overrides_by_their_own_limit() {
    isolated!(|| async {
        let Kind::Detect(mut kind) = detect() else { unreachable!("detect() is a Detect") };
        let identities = [SLOW, SLOWER].map(|name| Identity { name: name.into() }).into();
        let slow = Override { limit: rps(1), clients: Some(ClientIdentities { identities }) };
        kind.http_local_rate_limit =
            Some(HttpLocalRateLimit { metadata: named("limit"), total: None, identity: rps(2), overrides: vec![slow] });
        let guarded = guarded(vec![(HTTP1, server(Kind::Detect(kind), vec![everybody()]))], &[]).await;
        let (to, authority) = (guarded.addr(HTTP1), guarded.authority.clone());
        // More than the limit lets through at once, as fast as they can be asked.
        let limited = async |names: &[Option<&str>]| {
            let mut limited = 0;
            for at in 0..8 {
                let answer = match names[at % names.len()] {
                    None => ask(to, ASK).await,
                    name => ask_as(&authority, name, to, ASK).await,
                };
                assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 429"), "{answer}");
                limited += usize::from(answer.starts_with("HTTP/1.1 429"));
            }
            limited
        };
        // A second may pass meanwhile, and lets as many through again.
        assert!((1..=6).contains(&limited(&[None]).await));
        assert!((1..=6).contains(&limited(&[Some(BOT)]).await));
        assert!((2..=7).contains(&limited(&[Some(SLOW), Some(SLOWER)]).await));
        for (scope, at_least) in [("identity", 2.0), ("override", 2.0)] {
            let scope = format!("ratelimit_scope=\"{scope}\"");
            let labels = ["srv_name=\"web\"", "ratelimit_name=\"limit\"", "target_port=\"8080\"", &scope];
            let counted = guarded.proxy.metric("inbound_http_local_ratelimit_total", &labels).await;
            assert!(counted >= Some(at_least), "{scope}: {counted:?}");
        }
        let label = format!("client_id=\"{SLOWER}\"");
        assert!(guarded.proxy.metric("inbound_http_local_ratelimit_total", &[&label]).await.is_some());
        // Requests that are limited have been authorized before.
        assert_eq!(guarded.proxy.metric("inbound_http_authz_allow_total", &["target_port=\"8080\""]).await, Some(24.0));
    });
}

#[test]
fn grpc_clients_are_told_that_resources_are_exhausted() {
    isolated!(|| async {
        let local_rate_limit =
            HttpLocalRateLimit { metadata: named("limit"), total: rps(1), ..HttpLocalRateLimit::default() };
        let kind = Kind::Http2(Http2 { routes: vec![], local_rate_limit: Some(local_rate_limit) });
        let guarded = guarded(vec![(HTTP2, server(kind, vec![everybody()]))], &[]).await;
        let stream = tokio::net::TcpStream::connect(guarded.addr(HTTP2)).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        loop {
            let request = http::Request::post("http://web/a.B/C").header("content-type", "application/grpc");
            sender = sender.ready().await.unwrap();
            let (response, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
            let head = response.await.unwrap().into_parts().0;
            assert_eq!(head.status, 200);
            if !head.headers.contains_key("saw-version") {
                assert_eq!(head.headers["grpc-status"], "8");
                assert_eq!(head.headers["content-type"], "application/grpc");
                // Strangers learn no more.
                assert!(!head.headers.contains_key("grpc-message") && !head.headers.contains_key("l5d-proxy-error"));
                break;
            }
        }
    });
}
