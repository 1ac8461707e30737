//! Policies of inbound ports as the control plane sends them, and clients that meet them.

use super::authority::Authority;
use crate::mesh::WEB;
use linkerd2_proxy_api::{
    inbound::{
        Authn, Authz, HttpRoute, Identity, IdentitySuffix, Network, ProxyProtocol, Server,
        authn::{
            Permit, PermitMeshTls, PermitUnauthenticated,
            permit_mesh_tls::{Clients, PermitClientIdentities},
        },
        http_route,
        proxy_protocol::{Detect, Kind},
    },
    meta, net,
};
use rustls_pki_types::ServerName;
use std::{collections::HashMap, io, net::IpAddr, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// However an exchange goes, it ends.
const LIMIT: Duration = Duration::from_secs(10);

pub fn named(name: &str) -> Option<meta::Metadata> {
    let resource = meta::Resource { kind: "server".into(), name: name.into(), ..Default::default() };
    Some(meta::Metadata { kind: Some(meta::metadata::Kind::Resource(resource)) })
}

pub fn network(net: &str) -> net::IpNetwork {
    let (ip, length) = net.split_once('/').unwrap();
    let ip: IpAddr = ip.parse().unwrap();
    net::IpNetwork { ip: Some(ip.into()), prefix_len: length.parse().unwrap() }
}

/// From anywhere.
pub fn allowed(permit: Permit) -> Authz {
    let networks = ["0.0.0.0/0", "::/0"].map(|n| Network { net: Some(network(n)), except: vec![] });
    Authz {
        networks: networks.into(),
        authentication: Some(Authn { permit: Some(permit) }),
        labels: HashMap::new(),
        metadata: named("authz"),
    }
}

pub fn everybody() -> Authz {
    allowed(Permit::Unauthenticated(PermitUnauthenticated {}))
}

/// Whoever comes with mesh TLS, certificate or not.
pub fn any_mesh_tls() -> Authz {
    allowed(Permit::MeshTls(PermitMeshTls { clients: Some(Clients::Unauthenticated(PermitUnauthenticated {})) }))
}

/// Who has one of these identities, or one that ends in one of these parts.
pub fn clients(identities: &[&str], suffixes: &[&[&str]]) -> Authz {
    let identities = identities.iter().map(|name| Identity { name: (*name).into() }).collect();
    let suffix = |parts: &&[&str]| IdentitySuffix { parts: parts.iter().map(|part| (*part).into()).collect() };
    let suffixes = suffixes.iter().map(suffix).collect();
    let clients = Clients::Identities(PermitClientIdentities { identities, suffixes });
    allowed(Permit::MeshTls(PermitMeshTls { clients: Some(clients) }))
}

/// Allows one identity from anywhere.
pub fn only(identity: &str) -> Authz {
    clients(&[identity], &[])
}

/// A server whose name is `web`.
pub fn server(kind: Kind, authorizations: Vec<Authz>) -> Server {
    Server {
        protocol: Some(ProxyProtocol { kind: Some(kind) }),
        authorizations,
        labels: HashMap::from([
            ("group".into(), "policy.linkerd.io".into()),
            ("kind".into(), "server".into()),
            ("name".into(), "web".into()),
        ]),
        ..Default::default()
    }
}

pub fn detect_with(http_routes: Vec<HttpRoute>) -> Detect {
    let timeout = Some(prost_types::Duration { seconds: 10, nanos: 0 });
    Detect { timeout, http_routes, ..Default::default() }
}

/// Detection, and one route for everything.
pub fn detect() -> Kind {
    let rules = vec![http_route::Rule::default()];
    Kind::Detect(detect_with(vec![HttpRoute { metadata: named("route"), rules, ..Default::default() }]))
}

/// Sends bytes and reads until the other side closes or resets.
pub async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: &str) -> String {
    let mut answer = Vec::new();
    let talk = async {
        let _ = stream.write_all(text.as_bytes()).await;
        let _ = stream.flush().await;
        let _ = stream.read_to_end(&mut answer).await;
    };
    tokio::time::timeout(LIMIT, talk).await.expect("an end");
    String::from_utf8_lossy(&answer).into_owned()
}

/// An exchange of a client without a proxy.
pub async fn ask(to: SocketAddr, text: &str) -> String {
    talk(TcpStream::connect(to).await.unwrap(), text).await
}

/// The same of a client whose proxy has the identity `name`, or none.
pub async fn ask_as(authority: &Authority, name: Option<&str>, to: SocketAddr, text: &str) -> String {
    talk(connect_as(authority, name, &[], to).await.unwrap(), text).await
}

/// Mesh TLS to a pod whose proxy is `WEB`.
pub async fn connect_as(
    authority: &Authority,
    name: Option<&str>,
    alpn: &[&[u8]],
    to: SocketAddr,
) -> io::Result<TlsStream<TcpStream>> {
    let config = authority.client_config(name.map(|name| authority.issue(name)), alpn);
    let tcp = TcpStream::connect(to).await?;
    TlsConnector::from(config).connect(ServerName::try_from(WEB).unwrap(), tcp).await
}
