//! Ingress mode: requests of one connection go where each of them says.

use crate::{
    breakers::plain,
    isolated,
    mesh::BOT,
    support::{
        control_plane::ControlPlane,
        network::Network,
        policy,
        proxy::Proxy,
        replica::{Replica, ask},
    },
};
use linkerd2_proxy_api::destination as dst;
use std::net::SocketAddr;
use tonic::Code;

const SERVICE: &str = "10.96.0.1:80";
const WEB: &str = "web.test.svc.cluster.local:80";
const API: &str = "api.test.svc.cluster.local:8080";
const PROFILED: &str = "profiled.test.svc.cluster.local:80";

#[test]
fn each_request_goes_to_what_it_names_and_others_to_where_they_were_going() {
    isolated!(|| async {
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        let to: SocketAddr = SERVICE.parse().unwrap();
        control.set_policy(to, Ok(policy::balanced(WEB)));
        control.set_named_policy(API, Ok(policy::balanced(API)));
        // Known by its profile alone.
        let name = PROFILED.trim_end_matches(":80").to_owned();
        control.set_profile(PROFILED, dst::DestinationProfile { fully_qualified_name: name, ..Default::default() });
        control.set_named_policy("refused.test:80", Err(Code::InvalidArgument));
        let mut replicas = Vec::new();
        for path in [WEB, API, PROFILED] {
            let replica = Replica::start(&mut network).await;
            control.set_endpoints(path, vec![plain(replica.addr)]);
            replicas.push(replica);
        }
        let client = network.add_pod().await;
        let proxy = Proxy::start(&client, &control, BOT, &[("INGRESS_MODE", "true")]).await;
        let own = format!("{}:4140", client.v4);
        let heads = [
            "GET /".to_owned(),
            format!("GET /\nl5d-dst-override: {API}"),
            "GET /\nl5d-dst-override: Profiled.test.svc.cluster.local".to_owned(),
            format!("GET /\nHost: {API}"),
            format!("GET /\nl5d-dst-override: {}", replicas[1].addr),
            "GET /\nl5d-dst-override: no/name".to_owned(),
            "GET /\nl5d-dst-override: refused.test".to_owned(),
            format!("GET /\nl5d-dst-override: {own}"),
        ];
        let answers = ask(&client, to, heads.into()).await;
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 400, 500, 502], "{answers:?}");
        let bodies: Vec<_> = answers.iter().take(5).map(|answer| &answer.body).collect();
        let [web, api, profiled] = [0, 1, 2].map(|at: usize| replicas[at].addr.to_string());
        // A host is what somebody outside says.
        assert_eq!(bodies, [&web, &api, &profiled, &web, &api]);
        assert!(answers.iter().all(|answer| !answer.head.contains("l5d-proxy-error")), "not to those outside");
        for headers in replicas.iter().flat_map(Replica::take_seen) {
            assert!(!headers.contains_key("l5d-dst-override"));
        }
        let labels = [&format!("authority=\"{API}\""), "direction=\"outbound\""];
        assert_eq!(proxy.metric("request_total", &labels.map(|l| -> &str { l })).await, Some(1.0));
        let labels = ["no_tls_reason=\"ingress_without_override\"", &format!("target_addr=\"{api}\"")];
        assert_eq!(
            proxy.metric("request_total", &labels.map(|l| -> &str { l })).await,
            Some(1.0),
            "the address that was named"
        );
    });
}

#[test]
fn a_sidecar_passes_the_header_on() {
    isolated!(|| async {
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        let to: SocketAddr = SERVICE.parse().unwrap();
        control.set_policy(to, Ok(policy::balanced(WEB)));
        let replica = Replica::start(&mut network).await;
        control.set_endpoints(WEB, vec![plain(replica.addr)]);
        let client = network.add_pod().await;
        let _proxy = Proxy::start(&client, &control, BOT, &[]).await;
        let answers = ask(&client, to, vec![format!("GET /\nl5d-dst-override: {API}")]).await;
        assert_eq!((answers[0].status, &answers[0].body), (200, &replica.addr.to_string()));
        assert_eq!(replica.take_seen()[0]["l5d-dst-override"], API);
    });
}
