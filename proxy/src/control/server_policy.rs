//! The policies of this pod's ports. A port has the default policy until the control plane says otherwise.

use super::decode::inbound::{DefaultProtocol, default_server, refusing, server};
use super::model::inbound::{Authn, Network, ServerPolicy};
use super::overlay;
use super::stream::{Follow, Heard};
use crate::config::{DefaultPolicy, Inbound};
use ipnet::IpNet;
use linkerd2_proxy_api::inbound::{PortSpec, Server};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use tokio::sync::watch;

pub const WATCH_PORT: &str = "/io.linkerd.proxy.inbound.InboundServerPolicies/WatchPort";

pub(super) async fn run(follow: Follow<PortSpec>, policy: Arc<watch::Sender<Arc<ServerPolicy>>>) {
    let port = follow.request.port;
    let status = follow
        .run(|heard: Heard<Server, overlay::InboundServer>| {
            let labels = heard.message.labels.clone();
            let next = server(heard.message).unwrap_or_else(|error| {
                // To go on with an older policy, or with the default one, may allow what the new one does not.
                log::warn!(target: "policy", "port {port} refuses everybody, its policy is invalid: {error}");
                refusing(&labels, &error.to_string())
            });
            policy.send_replace(Arc::new(next));
        })
        .await;
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
