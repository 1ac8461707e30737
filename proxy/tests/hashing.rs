//! Requests with the same key go to the same endpoint, from every worker of every proxy.

use crate::{
    breakers::plain,
    egress::{listen, speaker},
    isolated,
    mesh::BOT,
    support::{
        control_plane::ControlPlane,
        network::{Network, Pod},
        policy,
        proxy::Proxy,
        replica::{Behaviour, Replica, ask},
    },
};
use linkerd2_proxy_api::destination as dst;
use prost::Message;
use std::{collections::HashMap, net::SocketAddr, time::Duration};
use tulle_proxy::control::overlay;

const SERVICE: &str = "10.96.0.1:80";
const PATH: &str = "web.test.svc.cluster.local:80";
const KEYS: usize = 60;

/// The policy with a key, as bytes.
fn keyed(source: overlay::HashSource, load_factor: f64) -> Vec<u8> {
    let hash = Some(overlay::HashKey { source: Some(source) });
    let balancers = vec![overlay::Balancer { path: PATH.into(), hash, load_factor }];
    let ours = overlay::OutboundPolicy { balancers, ..Default::default() };
    [policy::balanced(PATH).encode_to_vec(), ours.encode_to_vec()].concat()
}

/// Which replica answers each key.
async fn places(client: &Pod) -> HashMap<usize, String> {
    let heads = (0..KEYS).map(|key| format!("GET /\nx-user: user-{key}")).collect();
    let answers = ask(client, SERVICE.parse().unwrap(), heads).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    answers.into_iter().map(|answer| answer.body).enumerate().collect()
}

#[test]
fn a_key_has_one_endpoint_for_all_proxies_and_moves_only_when_that_one_goes() {
    isolated!(|| async {
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        control.set_garbage("OutboundPolicies/Watch", &keyed(overlay::HashSource::Header("x-user".into()), 8.0));
        let mut replicas = Vec::new();
        for _ in 0..4 {
            replicas.push(Replica::start(&mut network).await);
        }
        let set = |replicas: &[Replica]| replicas.iter().map(|replica| plain(replica.addr)).collect();
        control.set_endpoints(PATH, set(&replicas));
        let (one, two) = (network.add_pod().await, network.add_pod().await);
        let _first = Proxy::start(&one, &control, BOT, &[("CORES", "2")]).await;
        let mut second = Proxy::start(&two, &control, BOT, &[]).await;
        let before = places(&one).await;
        assert_eq!(places(&one).await, before);
        assert_eq!(places(&two).await, before);
        for replica in &replicas {
            let n = before.values().filter(|place| **place == replica.addr.to_string()).count();
            assert!((4..30).contains(&n), "{n} of {KEYS} at {}", replica.addr);
        }
        let gone = replicas.pop().unwrap().addr.to_string();
        control.set_endpoints(PATH, set(&replicas));
        let members = "outbound_http_balancer_p2c_endpoints";
        second.wait_for("the new set", async |proxy| proxy.metric(members, &[]).await == Some(3.0)).await;
        let after = places(&two).await;
        for (key, place) in &before {
            assert_eq!(after[key] == *place, *place != gone, "{key}: {place} and then {}", after[key]);
        }
        assert_eq!(second.metric("outbound_http_balancer_p2c_updates_total", &["op=\"Remove\""]).await, Some(1.0));
    });
}

#[test]
fn a_profiles_split_goes_by_the_key_of_each_of_its_services() {
    isolated!(|| async {
        const OTHER: &str = "other.test.svc.cluster.local:80";
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        control.set_policy(SERVICE.parse().unwrap(), Ok(policy::balanced(PATH)));
        let key = |path: &str, header: &str| {
            let source = Some(overlay::HashSource::Header(header.into()));
            overlay::Balancer { path: path.into(), hash: Some(overlay::HashKey { source }), load_factor: 8.0 }
        };
        let ours = overlay::DestinationProfile { balancers: vec![key(OTHER, "x-user")], ..Default::default() };
        let target =
            |authority: &str| dst::WeightedDst { authority: authority.into(), weight: 1, ..Default::default() };
        let profile = dst::DestinationProfile {
            fully_qualified_name: PATH[..PATH.len() - 3].into(),
            dst_overrides: vec![target(OTHER)],
            ..Default::default()
        };
        control.set_garbage("Destination/GetProfile", &[profile.encode_to_vec(), ours.encode_to_vec()].concat());
        let replicas = [Replica::start(&mut network).await, Replica::start(&mut network).await];
        control.set_endpoints(OTHER, replicas.iter().map(|replica| plain(replica.addr)).collect());
        let client = network.add_pod().await;
        let _proxy = Proxy::start(&client, &control, BOT, &[("CORES", "2")]).await;
        let before = places(&client).await;
        assert_eq!(places(&client).await, before);
        assert!(replicas.iter().all(|replica| before.values().any(|place| *place == replica.addr.to_string())));
    });
}

#[test]
fn one_key_alone_cannot_overload_its_endpoint() {
    isolated!(|| async {
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        control.set_garbage("OutboundPolicies/Watch", &keyed(overlay::HashSource::SourceAddress(true), 1.25));
        let replicas = [Replica::start(&mut network).await, Replica::start(&mut network).await];
        control.set_endpoints(PATH, replicas.iter().map(|replica| plain(replica.addr)).collect());
        let client = network.add_pod().await;
        let _proxy = Proxy::start(&client, &control, BOT, &[("CORES", "2")]).await;
        let to: SocketAddr = SERVICE.parse().unwrap();
        // One at a time they all go to one endpoint.
        let alone = ask(&client, to, vec!["GET /".into(); 3]).await;
        assert!(alone.iter().all(|answer| answer.body == alone[0].body), "{alone:?}");
        for replica in &replicas {
            replica.take_seen();
            // Longer than it takes a busy machine to ask all of it.
            replica.set(Behaviour { delay: Duration::from_secs(2), ..Behaviour::default() });
        }
        let at_once: Vec<_> = (0..20)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { ask(&client, to, vec!["GET /".into()]).await })
            })
            .collect();
        for asked in at_once {
            assert_eq!(asked.await.unwrap()[0].status, 200);
        }
        let seen: Vec<_> = replicas.iter().map(|replica| replica.take_seen().len()).collect();
        // 1.25 times the mean of ten, and a little for the order in which they came and went.
        assert!(seen.iter().all(|n| (6..=14).contains(n)), "{seen:?}");
    });
}

#[test]
fn bytes_of_one_source_go_to_one_endpoint() {
    isolated!(|| async {
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        control.set_garbage("OutboundPolicies/Watch", &keyed(overlay::HashSource::SourceAddress(true), 8.0));
        let mut addrs = Vec::new();
        for word in ["a", "b", "c"] {
            let mut addr = speaker(&mut network, &control.authority, word).await;
            addr.set_port(addr.port() + 1);
            addrs.push(plain(addr));
        }
        control.set_endpoints(PATH, addrs);
        let (client, other) = (network.add_pod().await, network.add_pod().await);
        let _first = Proxy::start(&client, &control, BOT, &[("CORES", "2")]).await;
        let _second = Proxy::start(&other, &control, BOT, &[]).await;
        for pod in [&client, &other] {
            let first = listen(pod, SERVICE.parse().unwrap()).await;
            for _ in 0..12 {
                assert_eq!(listen(pod, SERVICE.parse().unwrap()).await, first);
            }
        }
    });
}
