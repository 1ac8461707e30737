//! The policies of this pod's ports. A port has the default policy until the control plane says otherwise.

use super::decode::inbound::{DefaultProtocol, default_server, refusing, server};
use super::model::inbound::{Authn, Network, Protocol, ServerPolicy};
use super::overlay;
use super::stream::{Follow, Heard};
use crate::config::{DefaultPolicy, Inbound};
use ipnet::IpNet;
use linkerd2_proxy_api::inbound::{PortSpec, Server};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::sync::watch;
use tonic::Status;

pub const WATCH_PORT: &str = "/io.linkerd.proxy.inbound.InboundServerPolicies/WatchPort";

pub(super) async fn run(follow: Follow<PortSpec>, policy: Arc<watch::Sender<Arc<ServerPolicy>>>) {
    let port = follow.request.port;
    // To go on with an older policy, or with the default one, may allow what an invalid one does not.
    let refuse = |labels: &HashMap<String, String>, why: &str| {
        // Streams that end are opened again and say the same again.
        if !matches!(&policy.borrow().protocol, Protocol::Invalid(known) if **known == *why) {
            log::warn!(target: "policy", "port {port} refuses everybody, its policy is invalid: {why}");
        }
        refusing(labels, why)
    };
    let is_known = AtomicBool::new(false);
    let hear = |heard: Heard<Server, overlay::InboundServer>| {
        let labels = heard.message.labels.clone();
        let next = server(heard.message).unwrap_or_else(|error| refuse(&labels, &error.to_string()));
        is_known.store(true, Relaxed);
        policy.send_replace(Arc::new(next));
    };
    // A broken stream leaves what is known in force; but the default must not stand for a policy that there is.
    let unreadable = |status: &Status| {
        if !is_known.swap(true, Relaxed) {
            policy.send_replace(Arc::new(refuse(&HashMap::new(), status.message())));
        }
    };
    let status = follow.run_with(hear, unreadable).await;
    log::warn!(target: "policy", "policy of port {port}: {}", super::describe(&status));
}

/// What INBOUND_DEFAULT_POLICY says of a port.
pub fn default_policy(config: &Inbound, port: u16) -> ServerPolicy {
    let everywhere = || {
        let any = [IpNet::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), IpNet::from(IpAddr::V6(Ipv6Addr::UNSPECIFIED))];
        any.map(|net| Network { net: IpNet::new(net.addr(), 0).unwrap_or(net), except: Vec::new() }).to_vec()
    };
    let cluster = || config.cluster_networks.iter().map(|net| Network { net: *net, except: Vec::new() }).collect();
    let authenticated = || Authn::TlsAuthenticated { identities: Vec::new(), suffixes: vec!["".into()] };
    let (name, authz) = match config.default_policy {
        DefaultPolicy::Deny => ("deny", None),
        DefaultPolicy::AllAuthenticated => ("all-authenticated", Some((everywhere(), authenticated()))),
        DefaultPolicy::AllUnauthenticated => ("all-unauthenticated", Some((everywhere(), Authn::Unauthenticated))),
        DefaultPolicy::ClusterAuthenticated => ("cluster-authenticated", Some((cluster(), authenticated()))),
        DefaultPolicy::ClusterUnauthenticated => ("cluster-unauthenticated", Some((cluster(), Authn::Unauthenticated))),
        DefaultPolicy::Audit => ("audit", Some((everywhere(), Authn::Unauthenticated))),
    };
    let is_opaque = config.default_policy == DefaultPolicy::Deny || config.opaque_ports.contains(port);
    let protocol =
        if is_opaque { DefaultProtocol::Opaque } else { DefaultProtocol::Detect(config.common.detect_timeout) };
    default_server(name, authz, protocol)
}
