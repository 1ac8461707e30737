//! Start-up: a certificate first, then readiness; configuration that cannot be used is refused as a whole.

use crate::{
    isolated,
    support::{
        control_plane::ControlPlane,
        network::Network,
        proxy::{self, Proxy},
    },
};
use std::process::Command;

const NAME: &str = "web.test.serviceaccount.identity.linkerd.cluster.local";

#[test]
fn is_ready_once_it_is_certified() {
    isolated!(|| async {
        let mut network = Network::new();
        let (control, pod) = (ControlPlane::start().await, network.add_pod().await);
        control.stop().await;
        proxy::redirect(&pod).await;
        let mut proxy = Proxy::spawn(&pod, proxy::environment(&pod, &control, NAME, &[])).await;
        proxy.wait_for("an admin server", async |proxy| proxy.admin("GET", "/live").await.is_some()).await;
        assert_eq!(proxy.admin("GET", "/live").await.unwrap(), (200, "live\n".into()));
        assert_eq!(proxy.admin("GET", "/ready").await.unwrap(), (503, "not ready\n".into()));
        control.start_again().await;
        proxy.ready().await;
        assert_eq!(proxy.admin("GET", "/ready").await.unwrap(), (200, "ready\n".into()));
        assert_eq!(control.certificates(), 1);
    });
}

#[test]
fn names_every_bad_variable_and_exits_64() {
    let output = Command::new(proxy::BINARY)
        .env_clear()
        .env("LINKERD2_PROXY_INBOUND_LISTEN_ADDR", "nonsense")
        .env("LINKERD2_PROXY_OUTBOUND_CONNECT_TIMEOUT", "10 apples")
        .env("LINKERD2_PROXY_INBOUND_PORTS", "80,90000")
        .env("LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS", "not PEM")
        .env("LINKERD2_PROXY_SHUTDOWN_ENDPOINT_ENABLED", "perhaps")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    for name in [
        "INBOUND_LISTEN_ADDR",
        "OUTBOUND_CONNECT_TIMEOUT",
        "INBOUND_PORTS",
        "IDENTITY_TRUST_ANCHORS",
        "SHUTDOWN_ENDPOINT_ENABLED",
        "DESTINATION_SVC_ADDR",
        "POLICY_SVC_ADDR",
        "POLICY_WORKLOAD",
        "IDENTITY_SVC_ADDR",
        "IDENTITY_LOCAL_NAME",
        "IDENTITY_TOKEN_FILE",
        "IDENTITY_DIR",
    ] {
        assert!(text.contains(&format!("LINKERD2_PROXY_{name}")), "{name} is not named in:\n{text}");
    }
}
