//! Authorizations of one server or route, prepared once per update: finding the first that fits a client costs the same
//! whether a handful or a thousand do not.

#[cfg(test)]
mod tests;

use super::endpoint::PeerId;
use super::meta::Meta;
use crate::metrics::Labels;
use ipnet::IpNet;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// Up to so many are tried one by one: an index over them would only cost memory.
const LINEAR_MAX: usize = 8;

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

/// Authorizations in their order. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authorizations(Arc<Prepared>);

#[derive(Debug)]
struct Prepared {
    list: Box<[Authz]>,
    index: Option<Index>,
}

/// Positions in the list by what they ask of a client.
#[derive(Debug, Default)]
struct Index {
    unauthenticated: Networks,
    any_mesh: Networks,
    identities: HashMap<Box<str>, Networks>,
    /// By suffix, the empty one too.
    suffixes: HashMap<Box<str>, Networks>,
}

/// Positions by network, IPv4 apart from IPv6.
#[derive(Debug, Default)]
struct Networks {
    v4: Vec<PrefixLength>,
    v6: Vec<PrefixLength>,
}

/// The networks with one length of prefix, by their first address. Positions ascend.
#[derive(Debug)]
struct PrefixLength {
    length: u8,
    /// Mostly one or two, which a tree finds sooner than a hash.
    networks: BTreeMap<IpAddr, Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    at: u32,
    except: Box<[IpNet]>,
}

impl Authorizations {
    pub fn new(list: Vec<Authz>) -> Self {
        let index = (list.len() > LINEAR_MAX).then(|| Index::new(&list));
        Self(Arc::new(Prepared { list: list.into(), index }))
    }

    /// The first that lets this client pass.
    pub fn first(&self, client_ip: IpAddr, tls: ClientTls<'_>) -> Option<&Authz> {
        let client_ip = client_ip.to_canonical();
        match &self.0.index {
            None => self.0.list.iter().find(|authz| authz.allows(client_ip, tls)),
            Some(index) => self.0.list.get(index.first(client_ip, tls)? as usize),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Authz> {
        self.0.list.iter()
    }
}

impl Authz {
    fn allows(&self, client_ip: IpAddr, tls: ClientTls<'_>) -> bool {
        self.networks.iter().any(|n| n.contains(client_ip)) && self.authn.allows(tls)
    }

    /// Whether what it allows is to be noted as such: nobody has said yet that it may.
    pub fn is_audit(&self) -> bool {
        &*self.meta.kind == "default" && &*self.meta.name == "audit"
    }
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

impl Index {
    fn new(list: &[Authz]) -> Self {
        let mut index = Self::default();
        for (at, authz) in (0..).zip(list) {
            match &authz.authn {
                Authn::Unauthenticated => index.unauthenticated.add(at, &authz.networks),
                Authn::TlsUnauthenticated => index.any_mesh.add(at, &authz.networks),
                Authn::TlsAuthenticated { identities, suffixes } => {
                    for id in identities {
                        index.identities.entry(id.clone()).or_default().add(at, &authz.networks);
                    }
                    for suffix in suffixes {
                        index.suffixes.entry(suffix.clone()).or_default().add(at, &authz.networks);
                    }
                }
            }
        }
        index
    }

    fn first(&self, ip: IpAddr, tls: ClientTls<'_>) -> Option<u32> {
        let mut first = self.unauthenticated.first(ip);
        let ClientTls::Mesh(id) = tls else { return first };
        let mut consider = |networks: Option<&Networks>| first = earlier(first, networks.and_then(|n| n.first(ip)));
        consider(Some(&self.any_mesh));
        if let Some(id) = id {
            consider(self.identities.get(id.as_str()));
        }
        if let Some(PeerId::Dns(name)) = id
            && !self.suffixes.is_empty()
        {
            consider(self.suffixes.get(""));
            for (at, _) in name.match_indices('.') {
                consider(self.suffixes.get(&name[at..]));
            }
        }
        first
    }
}

impl Networks {
    fn add(&mut self, at: u32, networks: &[Network]) {
        for Network { net, except } in networks {
            let lengths = if net.addr().is_ipv4() { &mut self.v4 } else { &mut self.v6 };
            let place = match lengths.iter().position(|l| l.length == net.prefix_len()) {
                Some(place) => place,
                None => {
                    lengths.push(PrefixLength { length: net.prefix_len(), networks: BTreeMap::new() });
                    lengths.len() - 1
                }
            };
            let entry = Entry { at, except: except.as_slice().into() };
            lengths[place].networks.entry(net.network()).or_default().push(entry);
        }
    }

    fn first(&self, ip: IpAddr) -> Option<u32> {
        let lengths = if ip.is_ipv4() { &self.v4 } else { &self.v6 };
        let of_length = |length: &PrefixLength| {
            let network = IpNet::new(ip, length.length).ok()?.network();
            let among = length.networks.get(&network)?;
            among.iter().find(|entry| !entry.except.iter().any(|e| e.contains(&ip))).map(|entry| entry.at)
        };
        lengths.iter().filter_map(of_length).min()
    }
}

fn earlier(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
