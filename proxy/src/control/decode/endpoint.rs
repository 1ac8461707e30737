//! Addresses of endpoints and what is said about them.

use super::{Invalid, duration};
use crate::control::model::endpoint::*;
use crate::metrics::Labels;
use linkerd2_proxy_api::destination as wire;
use linkerd2_proxy_api::net::TcpAddress;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub fn socket_addr(addr: TcpAddress) -> Result<SocketAddr, Invalid> {
    let ip = addr.ip.ok_or_else(|| Invalid::missing("IP address"))?;
    let ip = IpAddr::try_from(ip).map_err(|e| Invalid::bad("IP address", e))?;
    let port = u16::try_from(addr.port).map_err(|_| Invalid::bad("port", addr.port))?;
    Ok(SocketAddr::new(ip, port))
}

/// The endpoints of a set, each with the set's labels under its own. Addresses that make no sense are left out.
pub fn endpoints(set: wire::WeightedAddrSet) -> impl Iterator<Item = Arc<Endpoint>> {
    let labels = set.metric_labels;
    set.addrs.into_iter().filter_map(move |addr| match endpoint(addr, &labels) {
        Ok(endpoint) => Some(Arc::new(endpoint)),
        Err(error) => {
            log::warn!(target: "destination", "ignored an endpoint: {error}");
            None
        }
    })
}

pub fn endpoint(wire: wire::WeightedAddr, set_labels: &HashMap<String, String>) -> Result<Endpoint, Invalid> {
    let addr = socket_addr(wire.addr.ok_or_else(|| Invalid::missing("address"))?)?;
    let metric_labels: BTreeMap<String, String> = set_labels.clone().into_iter().chain(wire.metric_labels).collect();
    let labels =
        metric_labels.iter().fold(Labels::new(), |labels, (name, value)| labels.with_foreign("dst_", name, value));
    let zone_locality = match metric_labels.get("zone_locality").map(String::as_str) {
        Some("local") => ZoneLocality::Local,
        Some("remote") => ZoneLocality::Remote,
        _ => ZoneLocality::Unknown,
    };
    let (hint, opaque_transport) = wire.protocol_hint.map(protocol_hint).unwrap_or_default();
    Ok(Endpoint {
        addr,
        identity: wire.tls_identity.and_then(identity),
        hint,
        opaque_transport,
        authority_override: wire.authority_override.and_then(|o| o.authority_override.parse().ok()),
        http2: wire.http2.map(http2_params).unwrap_or_default(),
        weight: wire.weight,
        zone_locality,
        metric_labels: Arc::new(metric_labels),
        labels,
    })
}

fn protocol_hint(wire: wire::ProtocolHint) -> (ProtocolHint, Option<u16>) {
    let hint = match wire.protocol {
        Some(wire::protocol_hint::Protocol::H2(_)) => ProtocolHint::Http2,
        Some(wire::protocol_hint::Protocol::Opaque(_)) => ProtocolHint::Opaque,
        None => ProtocolHint::Unknown,
    };
    let port = wire.opaque_transport.and_then(|t| u16::try_from(t.inbound_port).ok());
    (hint, port.filter(|port| (1..u16::MAX).contains(port)))
}

/// An identity that cannot be asked for or compared is none: upstream, too, talks plaintext then, but says so.
fn identity(wire: wire::TlsIdentity) -> Option<PeerIdentity> {
    use wire::tls_identity::Strategy;
    let id = match wire.strategy? {
        Strategy::DnsLikeIdentity(dns) => PeerId::Dns(dns.name.into()),
        Strategy::UriLikeIdentity(uri) => PeerId::Uri(uri.uri.into()),
    };
    let server_name = match (wire.server_name, &id) {
        (Some(name), _) => name.name,
        (None, PeerId::Dns(name)) => name.to_string(),
        (None, PeerId::Uri(_)) => return None,
    };
    match server_name.try_into() {
        Ok(server_name) => Some(PeerIdentity { server_name, id }),
        Err(error) => {
            log::warn!(target: "destination", "ignored the identity {id}: {error}");
            None
        }
    }
}

fn http2_params(wire: wire::Http2ClientParams) -> Http2Params {
    let positive = |n: u32| (n > 0).then_some(n);
    let flow_control = wire.flow_control.and_then(|f| {
        if f.adaptive_flow_control {
            return Some(FlowControl::Adaptive);
        }
        let connection_window = positive(f.initial_connection_window_size)?;
        Some(FlowControl::Fixed { connection_window, stream_window: positive(f.initial_stream_window_size)? })
    });
    let keep_alive = wire.keep_alive.and_then(|k| {
        Some(KeepAlive {
            interval: duration("interval", k.interval?).ok()?,
            timeout: duration("timeout", k.timeout?).ok()?,
            while_idle: k.while_idle,
        })
    });
    let internals = wire.internals.unwrap_or_default();
    Http2Params {
        flow_control,
        keep_alive,
        max_concurrent_reset_streams: positive(internals.max_concurrent_reset_streams),
        max_frame_size: positive(internals.max_frame_size),
        max_send_buf_size: positive(internals.max_send_buf_size),
    }
}
