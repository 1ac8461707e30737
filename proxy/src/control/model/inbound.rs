//! Who may connect to one port of this pod, and how its traffic is handled.

use super::endpoint::PeerId;
use super::filter::Filter;
use super::meta::Meta;
use super::route::Route;
use crate::metrics::Labels;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct ServerPolicy {
    pub meta: Arc<Meta>,
    /// `srv_group`, `srv_kind`, `srv_name` (and `srv_port` is the port's own).
    pub labels: Labels,
    pub protocol: Protocol,
    /// The server's own authorizations, the ones for loopback last.
    pub authorizations: Arc<[Authz]>,
}

#[derive(Clone, Debug)]
pub enum Protocol {
    Detect {
        timeout: Duration,
        http: Http,
    },
    Http1(Http),
    Http2(Http),
    Grpc(Http),
    Opaque,
    /// TLS that the application terminates.
    Tls,
}

#[derive(Clone, Debug)]
pub struct Http {
    pub routes: Arc<[Route<HttpPolicy>]>,
    pub rate_limit: Option<Arc<RateLimit>>,
}

#[derive(Clone, Debug)]
pub struct HttpPolicy {
    pub filters: Vec<Filter>,
    /// The route's authorizations, then the server's, then the ones for loopback: the first that fits allows.
    pub authorizations: Arc<[Authz]>,
    /// `route_group`, `route_kind`, `route_name`.
    pub labels: Labels,
    pub is_grpc: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub meta: Arc<Meta>,
    /// Requests per second, all clients together.
    pub total: Option<u32>,
    /// Requests per second of each client identity; clients without one share a limit.
    pub identity: Option<u32>,
    pub overrides: Vec<(u32, Vec<Box<str>>)>,
}

#[derive(Clone, Debug)]
pub struct Authz {
    pub meta: Arc<Meta>,
    pub networks: Vec<Network>,
    pub authn: Authn,
    /// `authz_group`, `authz_kind`, `authz_name`.
    pub labels: Labels,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub net: IpNet,
    pub except: Vec<IpNet>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authn {
    /// Anyone, with or without mesh TLS.
    Unauthenticated,
    /// Anyone over mesh TLS, with or without a client certificate.
    TlsUnauthenticated,
    /// Mesh TLS with one of these identities; a suffix is `.a.b` and the empty suffix fits any DNS-like identity.
    TlsAuthenticated { identities: Vec<Box<str>>, suffixes: Vec<Box<str>> },
}

/// What TLS said about the client.
#[derive(Clone, Copy, Debug)]
pub enum ClientTls<'a> {
    /// No mesh TLS: plain, or TLS that is not ours.
    None,
    /// Mesh TLS; the client may have shown a certificate.
    Mesh(Option<&'a PeerId>),
}

impl ServerPolicy {
    /// The first authorization that lets this client connect.
    pub fn check(&self, client_ip: IpAddr, tls: ClientTls<'_>) -> Option<&Authz> {
        check(&self.authorizations, client_ip, tls)
    }

    pub fn http(&self) -> Option<&Http> {
        match &self.protocol {
            Protocol::Detect { http, .. } | Protocol::Http1(http) | Protocol::Http2(http) | Protocol::Grpc(http) => {
                Some(http)
            }
            Protocol::Opaque | Protocol::Tls => None,
        }
    }
}

impl HttpPolicy {
    /// The first authorization that allows this client's requests on this route.
    pub fn check(&self, client_ip: IpAddr, tls: ClientTls<'_>) -> Option<&Authz> {
        check(&self.authorizations, client_ip, tls)
    }
}

fn check<'a>(authorizations: &'a [Authz], client_ip: IpAddr, tls: ClientTls<'_>) -> Option<&'a Authz> {
    let client_ip = client_ip.to_canonical();
    authorizations.iter().find(|authz| authz.networks.iter().any(|n| n.contains(client_ip)) && authz.authn.allows(tls))
}

impl Network {
    fn contains(&self, ip: IpAddr) -> bool {
        self.net.contains(&ip) && !self.except.iter().any(|except| except.contains(&ip))
    }
}

impl Authn {
    fn allows(&self, tls: ClientTls<'_>) -> bool {
        match (self, tls) {
            (Self::Unauthenticated, _) | (Self::TlsUnauthenticated, ClientTls::Mesh(_)) => true,
            (Self::TlsAuthenticated { identities, suffixes }, ClientTls::Mesh(Some(id))) => {
                identities.iter().any(|i| **i == *id.as_str())
                    || matches!(id, PeerId::Dns(name) if suffixes.iter().any(|s| name.ends_with(&**s)))
            }
            (Self::TlsUnauthenticated | Self::TlsAuthenticated { .. }, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authz(networks: &[(&str, &[&str])], authn: Authn) -> Authz {
        let net = |s: &&str| s.parse().expect("a network");
        Authz {
            meta: Arc::new(Meta::default_named("test")),
            networks: networks
                .iter()
                .map(|(n, e)| Network { net: net(n), except: e.iter().map(net).collect() })
                .collect(),
            authn,
            labels: Labels::new(),
        }
    }

    fn allows(authz: Authz, ip: &str, tls: ClientTls<'_>) -> bool {
        check(&[authz], ip.parse().expect("an address"), tls).is_some()
    }

    #[test]
    fn networks_have_exceptions_and_mapped_addresses_are_ipv4() {
        let of = || authz(&[("10.0.0.0/8", &["10.1.0.0/16"]), ("fd00::/8", &[])], Authn::Unauthenticated);
        assert!(allows(of(), "10.2.0.1", ClientTls::None));
        assert!(allows(of(), "::ffff:10.2.0.1", ClientTls::None));
        assert!(allows(of(), "fd00::1", ClientTls::None));
        assert!(!allows(of(), "10.1.0.1", ClientTls::None));
        assert!(!allows(of(), "192.168.0.1", ClientTls::None));
    }

    #[test]
    fn identities_fit_literally_and_suffixes_only_dns_names() {
        let dns = PeerId::Dns("web.ns.serviceaccount.identity.linkerd.cluster.local".into());
        let uri = PeerId::Uri("spiffe://root/web.ns.cluster.local".into());
        let of = |identities: &[&str], suffixes: &[&str]| {
            let boxed = |list: &[&str]| list.iter().map(|s| Box::from(*s)).collect();
            authz(
                &[("0.0.0.0/0", &[])],
                Authn::TlsAuthenticated { identities: boxed(identities), suffixes: boxed(suffixes) },
            )
        };
        let ip = "10.0.0.1";
        assert!(allows(of(&[dns.as_str()], &[]), ip, ClientTls::Mesh(Some(&dns))));
        assert!(allows(of(&[uri.as_str()], &[]), ip, ClientTls::Mesh(Some(&uri))));
        assert!(allows(of(&[], &[".cluster.local"]), ip, ClientTls::Mesh(Some(&dns))));
        assert!(allows(of(&[], &[""]), ip, ClientTls::Mesh(Some(&dns))));
        assert!(!allows(of(&[], &["", ".cluster.local"]), ip, ClientTls::Mesh(Some(&uri))));
        assert!(!allows(of(&[], &[""]), ip, ClientTls::Mesh(None)));
        assert!(!allows(of(&[], &[""]), ip, ClientTls::None));
    }

    #[test]
    fn mesh_tls_without_a_certificate_fits_only_where_no_identity_is_asked() {
        let any = || authz(&[("0.0.0.0/0", &[])], Authn::TlsUnauthenticated);
        assert!(allows(any(), "10.0.0.1", ClientTls::Mesh(None)));
        assert!(!allows(any(), "10.0.0.1", ClientTls::None));
    }
}
