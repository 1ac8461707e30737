//! The control side against a control plane on loopback.

use super::client::Client;
use super::identity::{KeyAndRequest, Renewal};
use super::model::PeerId;
use super::model::endpoint::SetState;
use super::model::inbound::{ClientTls, Protocol as Inbound};
use super::model::outbound::{BackendKind, Distribution, Protocol};
use super::overlay;
use super::testing::{Authority, FakeControlPlane, OWN, balanced, config, connector, default_meta};
use super::*;
use crate::metrics::Registry;
use crate::tls::Trust;
use linkerd2_proxy_api::{destination, identity as wire_identity, inbound, outbound};

async fn start(more: &[(&str, &str)]) -> (FakeControlPlane, Control) {
    let plane = FakeControlPlane::start().await;
    let config = config(plane.addr, &Authority::create().pem, more);
    let (connector, _) = connector(&config);
    (plane, Control::new(config, connector))
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn backend_of(policy: &model::outbound::Policy) -> BackendKind {
    let http = match &policy.protocol {
        Protocol::Http1(http) | Protocol::Detect { http1: http, .. } => http,
        other => panic!("not HTTP: {other:?}"),
    };
    match &http.routes[http.routes.len() - 1].rules[0].policy.distribution {
        Distribution::FirstAvailable(backends) => backends[0].backend.kind.clone(),
        other => panic!("not one backend: {other:?}"),
    }
}

#[tokio::test]
async fn certifies_its_name_and_renews() {
    let mut plane = FakeControlPlane::start().await;
    let authority = Authority::create();
    let config = config(plane.addr, &authority.pem, &[("IDENTITY_MIN_REFRESH", "1ms")]);
    let (connector, publisher) = connector(&config);
    let identity = connector.identity.clone();
    let crate::config::Certifier::Service(service) = config.identity.certifier.clone() else { panic!("no SPIRE") };
    let renewal = Renewal {
        local_id: identity.local_id().clone(),
        client: Client::new("identity", service.addr.clone(), connector.clone()),
        trust: connector.trust.clone(),
        pair: KeyAndRequest::load_or_make(identity.local_id().as_str(), &service.dir).expect("a key"),
        config: service,
        publisher,
        metrics: Registry::new(Duration::from_secs(600)),
    };
    tokio::spawn(renewal.run());
    let response = |leaf: Vec<u8>, seconds_left: u64| {
        let until = std::time::SystemTime::now() + Duration::from_secs(seconds_left);
        wire_identity::CertifyResponse { leaf_certificate: leaf, valid_until: Some(until.into()), ..Default::default() }
    };

    let call = plane.next("/Certify").await;
    let request: wire_identity::CertifyRequest = call.request();
    assert_eq!((request.identity.as_str(), &request.token[..]), (OWN, &include_bytes!("../../Cargo.toml")[..]));
    let stranger = Authority::create();
    call.send(&response(stranger.sign(&request.certificate_signing_request), 60));
    call.end(Code::Ok);

    let call = plane.next("/Certify").await;
    assert!(identity.credentials().is_none(), "a certificate of another authority is not taken");
    let request: wire_identity::CertifyRequest = call.request();
    call.send(&response(authority.sign(&request.certificate_signing_request), 2));
    call.end(Code::Ok);
    identity.ready().await;
    let first = identity.credentials().expect("ready");

    let call = plane.next("/Certify").await;
    let again: wire_identity::CertifyRequest = call.request();
    assert_eq!(again.certificate_signing_request, request.certificate_signing_request, "the key stays");
    call.send(&response(authority.sign(&again.certificate_signing_request), 60));
    call.end(Code::Ok);
    while Arc::ptr_eq(&first, &identity.credentials().expect("kept")) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn credentials_make_mutual_tls_between_names() {
    let authority = Authority::create();
    let config = config(addr("127.0.0.1:1"), &authority.pem, &[]);
    let trust = Trust::new(&authority.pem).expect("anchors");
    let pair =
        KeyAndRequest::load_or_make(&config.identity.local_id, std::path::Path::new("/nonexistent")).expect("a key");
    let own = PeerId::Dns(OWN.into());
    let leaf = authority.sign(&pair.csr).into();
    let credentials =
        trust.credentials(&own, vec![leaf], &pair.key, std::time::SystemTime::now()).expect("credentials");
    let (client_io, server_io) = tokio::io::duplex(16 * 1024);
    let peer = crate::tls::peer_identity(OWN).expect("a name");
    let connecting = tokio_rustls::TlsConnector::from(credentials.client_alpn.clone());
    let accepting = tokio_rustls::TlsAcceptor::from(credentials.server_alpn.clone());
    let (client, server) =
        tokio::join!(connecting.connect(peer.server_name.clone(), client_io), accepting.accept(server_io));
    let (client, server) = (client.expect("a client"), server.expect("a server"));
    let session = client.get_ref().1;
    assert_eq!(crate::tls::verify_server_id(session, &peer), Ok(()));
    let other = crate::tls::peer_identity("other.ns.serviceaccount.identity.linkerd.cluster.local").expect("a name");
    assert!(crate::tls::verify_server_id(session, &other).is_err());
    assert_eq!(crate::tls::client_id(server.get_ref().1), Some(own));
    assert_eq!(server.get_ref().1.alpn_protocol(), Some(crate::tls::TRANSPORT_ALPN));
}

#[tokio::test]
async fn profile_and_policy_are_asked_for_in_parallel_and_shared() {
    let (mut plane, control) = start(&[]).await;
    let to = addr("10.96.0.7:80");
    let waiting = tokio::spawn({
        let control = control.clone();
        async move { control.outbound(to).await }
    });
    let policy = plane.next("/Watch").await;
    let profile = plane.next("/GetProfile").await;
    assert_eq!(profile.request::<destination::GetDestination>().path, "10.96.0.7:80");
    assert_eq!(profile.request::<destination::GetDestination>().context_token, "context");
    policy.send(&balanced("web", "web.ns.svc.cluster.local:80"));
    profile.send(&destination::DestinationProfile {
        fully_qualified_name: "web.ns.svc.cluster.local".into(),
        ..Default::default()
    });
    let target = waiting.await.expect("no panic").expect("known");
    let known = target.policy.borrow().clone();
    assert!(
        matches!(backend_of(&known), BackendKind::Balancer { path, .. } if &*path == "web.ns.svc.cluster.local:80")
    );
    assert_eq!(known.logical.as_deref(), Some("web.ns.svc.cluster.local:80"));
    let again = control.outbound(addr("[::ffff:10.96.0.7]:80")).await.expect("known");
    assert!(Arc::ptr_eq(&target, &again), "one look-up for one destination");

    let mut updates = target.policy.clone();
    policy.send(&balanced("web2", "web.ns.svc.cluster.local:80"));
    let next = updates.wait_for(|p| &*p.parent.name == "web2").await;
    assert!(next.is_ok());
}

#[tokio::test]
async fn without_a_policy_traffic_goes_where_it_was_going() {
    let (mut plane, control) = start(&[]).await;
    // Not in the profile networks: only the policy is asked for.
    let waiting = tokio::spawn(async move { control.outbound(addr("192.0.2.1:443")).await });
    plane.next("/Watch").await.end(Code::NotFound);
    let target = waiting.await.expect("no panic").expect("known");
    let policy = target.policy.borrow().clone();
    assert_eq!(&*policy.parent.name, "fallback");
    assert!(matches!(backend_of(&policy), BackendKind::Forward(e) if e.addr == addr("192.0.2.1:443")));
}

#[tokio::test]
async fn a_refusal_is_an_error_and_the_next_connection_asks_anew() {
    let (mut plane, control) = start(&[]).await;
    for _ in 0..2 {
        let waiting = tokio::spawn({
            let control = control.clone();
            async move { control.outbound(addr("192.0.2.1:443")).await }
        });
        plane.next("/Watch").await.end(Code::InvalidArgument);
        assert!(waiting.await.expect("no panic").is_err());
    }
}

#[tokio::test]
async fn nonsense_makes_a_policy_that_fails_every_request() {
    let (mut plane, control) = start(&[]).await;
    let waiting = tokio::spawn(async move { control.outbound(addr("192.0.2.1:443")).await });
    let call = plane.next("/Watch").await;
    call.send(&outbound::OutboundPolicy { metadata: default_meta("x"), protocol: None });
    let target = waiting.await.expect("no panic").expect("known");
    assert!(matches!(&target.policy.borrow().protocol, Protocol::Invalid(_)));
}

#[tokio::test]
async fn endpoints_outlive_a_broken_stream_until_the_next_one_says_otherwise() {
    let (mut plane, control) = start(&[]).await;
    let endpoints = control.endpoints("web.ns.svc.cluster.local:80");
    let mut set = endpoints.watch();
    assert_eq!(set.borrow().state, SetState::Pending);
    let add = |ip: [u8; 4]| destination::Update {
        update: Some(destination::update::Update::Add(destination::WeightedAddrSet {
            addrs: vec![destination::WeightedAddr {
                addr: Some(SocketAddr::from((ip, 8080)).into()),
                ..Default::default()
            }],
            ..Default::default()
        })),
    };
    let call = plane.next("/Get").await;
    call.send(&add([10, 0, 0, 1]));
    set.wait_for(|s| s.endpoints.contains_key(&addr("10.0.0.1:8080"))).await.expect("an update");
    call.end(Code::Unavailable);
    let call = plane.next("/Get").await;
    assert_eq!(set.borrow().endpoints.len(), 1, "the stale set is kept");
    call.send(&add([10, 0, 0, 2]));
    let set = set.wait_for(|s| s.endpoints.contains_key(&addr("10.0.0.2:8080"))).await.expect("an update");
    assert_eq!(set.endpoints.len(), 1, "the first set of a new stream replaces the old one");
}

#[tokio::test]
async fn a_port_has_the_default_policy_until_it_is_told_another() {
    let (mut plane, control) = start(&[("INBOUND_DEFAULT_POLICY", "all-authenticated")]).await;
    let mut policy = control.inbound(8080);
    let anyone = "10.0.0.9".parse().expect("an address");
    assert!(policy.borrow().check(anyone, ClientTls::None).is_none());
    assert!(policy.borrow().check("127.0.0.1".parse().expect("an address"), ClientTls::None).is_some());

    let call = plane.next("/WatchPort").await;
    let spec: inbound::PortSpec = call.request();
    assert_eq!((spec.port, spec.workload.as_str()), (8080, "{\"ns\":\"ns\",\"pod\":\"web\"}"));
    let server = inbound::Server {
        protocol: Some(inbound::ProxyProtocol {
            kind: Some(inbound::proxy_protocol::Kind::Opaque(Default::default())),
        }),
        labels: [("kind", "server"), ("name", "db"), ("group", "policy.linkerd.io")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        ..Default::default()
    };
    // A message that makes no sense changes nothing; the next one does.
    call.send(&inbound::Server::default());
    call.send(&server);
    let policy = policy.wait_for(|p| &*p.meta.name == "db").await.expect("an update");
    assert!(matches!(policy.protocol, Inbound::Opaque));
    assert_eq!(policy.labels.as_str(), r#"srv_group="policy.linkerd.io",srv_kind="server",srv_name="db""#);
}

#[tokio::test]
async fn our_own_fields_travel_beside_the_contracts() {
    use prost::Message;
    let (mut plane, control) = start(&[]).await;
    let client = control.0.policy.clone();
    let opened = tokio::spawn(async move {
        let request = outbound::TrafficSpec::default();
        client.watch::<_, outbound::OutboundPolicy, overlay::OutboundPolicy>(discovery::WATCH, request).await
    });
    let call = plane.next("/Watch").await;
    // Both messages in one: fields of one are skipped by the other.
    let mut bytes = balanced("web", "web:80").encode_to_vec();
    overlay::OutboundPolicy { sender: "tulle".into(), ..Default::default() }
        .encode(&mut bytes)
        .expect("a growing buffer");
    call.send_bytes(&bytes);
    let mut stream = opened.await.expect("no panic").expect("a stream");
    let (message, overlay) = stream.message().await.expect("no error").expect("a message");
    assert_eq!((message, overlay.sender.as_str()), (balanced("web", "web:80"), "tulle"));
    // Whoever does not know our fields reads the rest all the same.
    assert_eq!(outbound::OutboundPolicy::decode(&bytes[..]).expect("valid"), balanced("web", "web:80"));
}
