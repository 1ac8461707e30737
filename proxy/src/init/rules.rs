//! Which connections go to the proxy: Linkerd's rules, in Linkerd's order, as plain values. `netlink` installs them,
//! `Display` writes them in nft's language.

use super::options::{Options, PortRange, Subnet};
use std::fmt;

pub const TABLE: &str = "tulle";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Ipv4,
    Ipv6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Connections from other pods.
    Prerouting,
    /// Connections that this pod opens.
    Output,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    SocketUid(u32),
    SocketGid(u32),
    Mark(u32),
    ToLoopback,
    From(Subnet),
    Tcp,
    TcpPort(PortRange),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Return,
    Redirect(u16),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub condition: Match,
    pub verdict: Verdict,
    pub comment: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub hook: Hook,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub family: Family,
    pub chains: [Chain; 2],
}

impl Table {
    pub fn new(family: Family, options: &Options) -> Self {
        Self { family, chains: [inbound(family, options), outbound(options)] }
    }
}

fn inbound(family: Family, options: &Options) -> Chain {
    let redirect = Verdict::Redirect(options.inbound_port);
    let is_ours = |subnet: &&Subnet| subnet.address.is_ipv4() == (family == Family::Ipv4);
    let mut rules = ignore_ports(&options.inbound_ports_ignored);
    rules.extend(options.subnets_ignored.iter().filter(is_ours).map(|subnet| Rule {
        condition: Match::From(*subnet),
        verdict: Verdict::Return,
        comment: "ignore subnet",
    }));
    if options.inbound_ports.is_empty() {
        rules.push(Rule { condition: Match::Tcp, verdict: redirect, comment: "redirect all inbound to the proxy" });
    }
    rules.extend(options.inbound_ports.iter().map(|range| Rule {
        condition: Match::TcpPort(*range),
        verdict: redirect,
        comment: "redirect port to the proxy",
    }));
    Chain { hook: Hook::Prerouting, rules }
}

fn outbound(options: &Options) -> Chain {
    let exempt = [
        options.proxy_uid.map(|uid| (Match::SocketUid(uid), "ignore the proxy's user")),
        options.proxy_gid.map(|gid| (Match::SocketGid(gid), "ignore the proxy's group")),
        options.proxy_mark.map(|mark| (Match::Mark(mark), "ignore the proxy's mark")),
        Some((Match::ToLoopback, "ignore loopback")),
    ];
    let mut rules: Vec<Rule> = exempt
        .into_iter()
        .flatten()
        .map(|(condition, comment)| Rule { condition, verdict: Verdict::Return, comment })
        .collect();
    rules.extend(ignore_ports(&options.outbound_ports_ignored));
    rules.push(Rule {
        condition: Match::Tcp,
        verdict: Verdict::Redirect(options.outbound_port),
        comment: "redirect all outbound to the proxy",
    });
    Chain { hook: Hook::Output, rules }
}

fn ignore_ports(ranges: &[PortRange]) -> Vec<Rule> {
    let rule = |range: &PortRange| Rule {
        condition: Match::TcpPort(*range),
        verdict: Verdict::Return,
        comment: "ignore port",
    };
    ranges.iter().map(rule).collect()
}

impl Hook {
    pub fn name(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Output => "output",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.family == Family::Ipv4 { "ip" } else { "ip6" };
        writeln!(f, "table {family} {TABLE} {{")?;
        for (at, chain) in self.chains.iter().enumerate() {
            let name = chain.hook.name();
            // nft knows the word for this priority in the one hook alone.
            let priority = if chain.hook == Hook::Prerouting { "dstnat" } else { "-100" };
            if at > 0 {
                writeln!(f)?;
            }
            writeln!(f, "\tchain {name} {{\n\t\ttype nat hook {name} priority {priority}; policy accept;")?;
            for rule in &chain.rules {
                writeln!(f, "\t\t{rule}")?;
            }
            writeln!(f, "\t}}")?;
        }
        writeln!(f, "}}")
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.condition {
            Match::SocketUid(uid) => write!(f, "meta skuid {uid}")?,
            Match::SocketGid(gid) => write!(f, "meta skgid {gid}")?,
            Match::Mark(mark) => write!(f, "meta mark {mark:#010x}")?,
            Match::ToLoopback => write!(f, "oif \"lo\"")?,
            Match::From(Subnet { address, prefix }) => {
                let family = if address.is_ipv4() { "ip" } else { "ip6" };
                write!(f, "{family} saddr {address}/{prefix}")?;
            }
            Match::Tcp => write!(f, "meta l4proto tcp")?,
            Match::TcpPort(PortRange(first, last)) if first == last => write!(f, "tcp dport {first}")?,
            Match::TcpPort(PortRange(first, last)) => write!(f, "tcp dport {first}-{last}")?,
        }
        match self.verdict {
            Verdict::Return => write!(f, " return")?,
            Verdict::Redirect(port) => write!(f, " redirect to :{port}")?,
        }
        write!(f, " comment \"{}\"", self.comment)
    }
}
