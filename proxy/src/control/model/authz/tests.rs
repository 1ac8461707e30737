use super::*;

fn authz(networks: &[(&str, &[&str])], authn: Authn) -> Authz {
    let net = |s: &&str| s.parse().expect("a network");
    let networks = networks.iter().map(|(n, e)| Network { net: net(n), except: e.iter().map(net).collect() });
    Authz { meta: Arc::new(Meta::default_named("test")), networks: networks.collect(), authn, labels: Labels::new() }
}

fn allows(authz: Authz, ip: &str, tls: ClientTls<'_>) -> bool {
    Authorizations::new(vec![authz]).first(ip.parse().expect("an address"), tls).is_some()
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
        let authn = Authn::TlsAuthenticated { identities: boxed(identities), suffixes: boxed(suffixes) };
        authz(&[("0.0.0.0/0", &[])], authn)
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

/// Small numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn some(&mut self, from: &[&str], most: usize) -> Vec<Box<str>> {
        (0..self.below(most + 1)).map(|_| self.pick(from).into()).collect()
    }

    fn authz(&mut self) -> Authz {
        const NETS: [&str; 8] =
            ["0.0.0.0/0", "::/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "10.1.2.3/8", "fd00::/8", "fd00::1/128"];
        let networks: Vec<_> = (0..=self.below(2))
            .map(|_| {
                let except = self.some(&NETS, 1);
                Network {
                    net: self.pick(&NETS).parse().expect("a network"),
                    except: except.iter().map(|e| e.parse().expect("a network")).collect(),
                }
            })
            .collect();
        let authn = match self.below(8) {
            0 => Authn::Unauthenticated,
            1 => Authn::TlsUnauthenticated,
            _ => Authn::TlsAuthenticated {
                identities: self.some(&["a.b.c", "x.b.c", "spiffe://td/a.b.c", "c", ""], 2),
                suffixes: self.some(&["", ".", ".c", ".b.c", ".a.b.c", ".td", ".b"], 2),
            },
        };
        Authz { networks, ..authz(&[], authn) }
    }
}

#[test]
fn the_index_finds_what_trying_one_by_one_finds() {
    let dns = ["a.b.c", "x.b.c", "b.c", "c", "a.b.c.", "a..c", ".c", ""].map(|n| PeerId::Dns(n.into()));
    let uris = ["spiffe://td/a.b.c", "spiffe://td/x"].map(|n| PeerId::Uri(n.into()));
    let mut clients: Vec<_> = dns.iter().chain(&uris).map(|id| ClientTls::Mesh(Some(id))).collect();
    clients.extend([ClientTls::None, ClientTls::Mesh(None)]);
    let ips = ["10.1.2.3", "10.1.9.9", "10.9.9.9", "192.0.2.1", "fd00::1", "fd00::2", "2001:db8::1", "::ffff:10.1.2.3"];
    let ips = ips.map(|ip| ip.parse::<IpAddr>().expect("an address"));
    let mut dice = Dice(7);
    for _ in 0..300 {
        let list: Vec<_> = (0..=LINEAR_MAX + dice.below(30)).map(|_| dice.authz()).collect();
        let prepared = Authorizations::new(list.clone());
        for (ip, tls) in ips.iter().flat_map(|ip| clients.iter().map(move |tls| (*ip, *tls))) {
            let one_by_one = list.iter().position(|authz| authz.allows(ip.to_canonical(), tls));
            let found = prepared
                .first(ip, tls)
                .map(|found| prepared.iter().position(|authz| std::ptr::eq(authz, found)).expect("one of the list"));
            assert_eq!(found, one_by_one, "{ip} {tls:?} in {list:#?}");
        }
    }
}
