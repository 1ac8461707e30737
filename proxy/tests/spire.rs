//! A proxy outside the cluster: its certificates come from a SPIRE agent, which the test plays on a Unix socket.

use crate::{
    inbound_policy::ADMIN,
    isolated,
    mesh::{BOT, HTTP1, WEB, applications},
    support::{
        authority::Authority,
        control_plane::ControlPlane,
        inbound::{ask_as, detect, everybody, server},
        network::Network,
        proxy::{Proxy, environment, redirect},
    },
};
use prost::Message;
use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
    sync::Arc,
};
use tokio::{net::UnixListener, sync::watch};

const ID: &str = "spiffe://root.linkerd.cluster.local/external/web";

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<Svid>,
}

#[derive(Clone, PartialEq, Message)]
struct Svid {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(bytes = "vec", tag = "2")]
    chain: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    key: Vec<u8>,
}

fn svid(authority: &Authority, id: &str) -> Svid {
    let identity = authority.issue_uri(id, WEB);
    let chain = identity.chain.iter().flat_map(|certificate| certificate.to_vec()).collect();
    Svid { spiffe_id: id.into(), chain, key: identity.key.secret_der().to_vec() }
}

/// Answers every stream with what is in the channel, now and whenever it changes.
fn start_agent(socket: &PathBuf, answers: watch::Receiver<Response>) {
    let listener = UnixListener::bind(socket).unwrap();
    // The proxy is another user.
    fs::set_permissions(socket, fs::Permissions::from_mode(0o777)).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut answers = answers.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let (request, mut respond) = connection.accept().await.unwrap().unwrap();
                assert_eq!(request.uri().path(), "/SpiffeWorkloadAPI/FetchX509SVID");
                assert_eq!(request.headers()["workload.spiffe.io"], "true");
                tokio::spawn(async move { while connection.accept().await.is_some() {} });
                let head = http::Response::builder().header("content-type", "application/grpc");
                let mut body = respond.send_response(head.body(()).unwrap(), false).unwrap();
                loop {
                    let message = answers.borrow_and_update().encode_to_vec();
                    let frame = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
                    body.send_data(frame.into(), false).unwrap();
                    if answers.changed().await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn certificates_come_from_the_agent_and_are_replaced_when_it_sends_new_ones() {
    isolated!(|| async {
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        for port in [ADMIN, HTTP1] {
            control.set_inbound(port, Ok(server(detect(), vec![everybody()])));
        }
        let authority: Arc<Authority> = control.authority.clone();
        let pod = network.add_pod().await;
        pod.start(applications).await;
        let inode = fs::metadata("/proc/self/ns/net").unwrap().ino();
        let dir = std::env::temp_dir().join(format!("tulle-spire-test-{inode}"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let socket = dir.join("agent.sock");
        // What is not for this proxy is not taken.
        let other = svid(&authority, "spiffe://root.linkerd.cluster.local/external/other");
        let (answer, answers) = watch::channel(Response { svids: vec![other.clone()] });
        start_agent(&socket, answers);
        let url = format!("unix://{}", socket.display());
        let env = [("IDENTITY_SPIRE_SOCKET", &*url), ("IDENTITY_SERVER_ID", ID), ("IDENTITY_SERVER_NAME", WEB)];
        redirect(&pod).await;
        let env = environment(&pod, &control, WEB, &env);
        let env = env.into_iter().filter(|(name, _)| !name.contains("IDENTITY_SVC") && !name.ends_with("LOCAL_NAME"));
        let mut proxy = Proxy::spawn(&pod, env.collect()).await;
        let is_refused = async |proxy: &Proxy| proxy.output().contains("there are only ones for [spiffe://");
        proxy.wait_for("the refusal", is_refused).await;
        assert_eq!(control.certificates(), 0);

        answer.send_replace(Response { svids: vec![other, svid(&authority, ID)] });
        proxy.ready().await;
        assert!(proxy.output().contains(&format!("Certified identity {ID}")), "{}", proxy.output());
        let to = SocketAddr::new(pod.v4.into(), HTTP1);
        let ask = "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
        let response = ask_as(&authority, Some(BOT), to, ask).await;
        assert!(response.contains(&format!("saw-l5d-client-id: {BOT}\r\n")), "{response}");

        answer.send_replace(Response { svids: vec![svid(&authority, ID)] });
        let refreshes = "control_identity_cert_refreshes_total";
        let is_renewed = async |proxy: &Proxy| proxy.metric(refreshes, &["result=\"ok\""]).await == Some(2.0);
        proxy.wait_for("the renewal", is_renewed).await;
        assert!(ask_as(&authority, Some(BOT), to, ask).await.starts_with("HTTP/1.1 200 "));
        let expiry = proxy.metric("control_identity_cert_expiration_timestamp_seconds", &[]).await.unwrap();
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        assert!((now + 3000.0..now + 4000.0).contains(&expiry), "{expiry}");
        let _ = fs::remove_dir_all(&dir);
    });
}
