//! What the machine says about names: /etc/resolv.conf and /etc/hosts. Read anew for each look-up, which happens about once
//! per TTL, so that edits take effect and nothing is kept in memory.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

const DNS_PORT: u16 = 53;
/// resolv.conf(5): the third name server is the last that counts.
const SERVERS_MAX: usize = 3;
/// resolv.conf(5): limits of the options.
const NDOTS_MAX: usize = 15;
const TIMEOUT_S_MAX: u64 = 30;
const ATTEMPTS_MAX: u32 = 5;
/// Shorter than libc's 5 s: cluster DNS answers in a millisecond or has lost the packet.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
const ATTEMPTS_DEFAULT: u32 = 2;
/// A hosts file larger than this is not one that a pod has.
const HOSTS_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    pub servers: Vec<SocketAddr>,
    pub search: Vec<String>,
    pub ndots: usize,
    pub timeout: Duration,
    pub attempts: u32,
}

impl ResolvConf {
    /// Unknown and malformed lines are skipped, as libc does. Without a name server, the one on this machine is asked.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: TIMEOUT_DEFAULT,
            attempts: ATTEMPTS_DEFAULT,
        };
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if conf.servers.len() < SERVERS_MAX => {
                    conf.servers.extend(words.next().and_then(parse_server));
                }
                Some("search" | "domain") => {
                    conf.search = words.map(|word| word.trim_end_matches('.').to_ascii_lowercase()).collect();
                    conf.search.retain(|domain| !domain.is_empty());
                }
                Some("options") => words.for_each(|word| conf.apply_option(word)),
                _ => {}
            }
        }
        if conf.servers.is_empty() {
            conf.servers.push((Ipv4Addr::LOCALHOST, DNS_PORT).into());
        }
        conf
    }

    fn apply_option(&mut self, word: &str) {
        let Some((name, value)) = word.split_once(':') else {
            return;
        };
        let Ok(value) = value.parse::<u64>() else {
            return;
        };
        match name {
            "ndots" => self.ndots = (value as usize).min(NDOTS_MAX),
            "timeout" => self.timeout = Duration::from_secs(value.clamp(1, TIMEOUT_S_MAX)),
            "attempts" => self.attempts = (value.min(u64::from(ATTEMPTS_MAX)) as u32).max(1),
            _ => {}
        }
    }

    /// The absolute names to ask for, in order, without final dots.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        let lower = name.to_ascii_lowercase();
        if let Some(absolute) = lower.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let mut names: Vec<String> = self.search.iter().map(|domain| format!("{lower}.{domain}")).collect();
        let dots = lower.bytes().filter(|byte| *byte == b'.').count();
        names.insert(if dots >= self.ndots { 0 } else { names.len() }, lower);
        names
    }
}

/// An address, an IPv6 one possibly with a zone (`fe80::1%2`; only numeric zones mean something here).
fn parse_server(word: &str) -> Option<SocketAddr> {
    if let Some((address, zone)) = word.split_once('%') {
        let address = address.parse().ok()?;
        return Some(std::net::SocketAddrV6::new(address, DNS_PORT, 0, zone.parse().ok()?).into());
    }
    Some(SocketAddr::new(word.parse().ok()?, DNS_PORT))
}

/// The addresses that a hosts file gives to a name; its final dot does not matter.
pub fn find_in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    text.get(..text.len().min(HOSTS_BYTES_MAX))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let address: IpAddr = words.next()?.parse().ok()?;
            words.any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name)).then_some(address)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_servers_search_and_options_of_a_pod() {
        let conf = ResolvConf::parse(
            "search ns.svc.cluster.local svc.cluster.local. cluster.local\nnameserver 10.96.0.10\nnameserver fd96::a\n\
             options ndots:5 timeout:1 attempts:9 edns0\n# nameserver 1.1.1.1\nnonsense\nnameserver not-an-address\n",
        );
        assert_eq!(conf.servers, ["10.96.0.10:53".parse().unwrap(), "[fd96::a]:53".parse().unwrap()]);
        assert_eq!((conf.ndots, conf.timeout, conf.attempts), (5, Duration::from_secs(1), ATTEMPTS_MAX));
        assert_eq!(
            conf.candidates("web.emoji"),
            ["web.emoji.ns.svc.cluster.local", "web.emoji.svc.cluster.local", "web.emoji.cluster.local", "web.emoji"]
        );
        assert_eq!(conf.candidates("Web.Emoji."), ["web.emoji"]);
        assert_eq!(conf.candidates("a.b.c.d.e.f")[0], "a.b.c.d.e.f");
    }

    #[test]
    fn asks_this_machine_when_no_server_is_named() {
        assert_eq!(ResolvConf::parse("").servers, ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn finds_all_addresses_of_a_host() {
        let hosts = "127.0.0.1 localhost\n10.0.0.1 web WEB.ns # note\n::1 localhost\nfd00::1\tweb.ns\n";
        assert_eq!(
            find_in_hosts(hosts, "web.ns."),
            ["10.0.0.1".parse::<IpAddr>().unwrap(), "fd00::1".parse().unwrap()]
        );
        assert!(find_in_hosts(hosts, "note").is_empty());
    }
}
