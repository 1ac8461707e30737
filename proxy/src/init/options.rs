//! The flags of `init`: those of linkerd2-proxy-init, and `--proxy-mark`.

use crate::arguments::{Arguments, Flag};
use std::{net::IpAddr, path::PathBuf};

/// Bounds the transaction: one rule per range, list and family must fit a netlink socket's default buffer of 208 KiB.
const RANGES_MAX: usize = 128;
const SUBNETS_MAX: usize = 128;

const FLAGS: &[Flag] = &[
    Flag::value("incoming-proxy-port").short('p'),
    Flag::value("outgoing-proxy-port").short('o'),
    Flag::value("proxy-uid").short('u'),
    Flag::value("proxy-gid"),
    Flag::value("proxy-mark"),
    Flag::value("ports-to-redirect").short('r'),
    Flag::value("inbound-ports-to-ignore"),
    Flag::value("outbound-ports-to-ignore"),
    Flag::value("subnets-to-ignore"),
    Flag::value("timeout-close-wait-secs"),
    Flag::value("netns"),
    Flag::bool("ipv6"),
    Flag::bool("simulate"),
    Flag::value("log-format"),
    Flag::value("log-level"),
    // Of iptables alone: taken and without effect.
    Flag::value("firewall-bin-path"),
    Flag::value("firewall-save-bin-path"),
    Flag::bool("use-wait-flag").short('w'),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub inbound_port: u16,
    pub outbound_port: u16,
    /// Connections of this user, group or packet mark are the proxy's own and go out untouched.
    pub proxy_uid: Option<u32>,
    pub proxy_gid: Option<u32>,
    pub proxy_mark: Option<u32>,
    /// Inbound ports to redirect; empty for all.
    pub inbound_ports: Vec<PortRange>,
    pub inbound_ports_ignored: Vec<PortRange>,
    pub outbound_ports_ignored: Vec<PortRange>,
    /// Inbound connections from there are left alone.
    pub subnets_ignored: Vec<Subnet>,
    pub close_wait_timeout_s: Option<u32>,
    pub netns: Option<PathBuf>,
    pub has_ipv6: bool,
    pub is_simulation: bool,
    pub log_is_json: bool,
    pub log_level: LogLevel,
}

/// First and last port, both meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange(pub u16, pub u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    pub address: IpAddr,
    pub prefix: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Error,
    Info,
    Debug,
}

impl Options {
    pub fn parse(args: &[String]) -> Result<Self, String> {
        let args = Arguments::parse(args, FLAGS)?;
        if let Some(word) = args.rest.first() {
            return Err(format!("{word:?}: unexpected argument"));
        }
        let port = |name: &str| {
            let port = args.get(name, parse_port)?;
            port.ok_or_else(|| format!("--{name}: is required"))
        };
        // linkerd2-proxy-init's default of -1 means none for these.
        let id = |name: &str| -> Result<Option<u32>, String> {
            let id = args.get(name, |value| match value.parse::<i64>() {
                Ok(-1) => Ok(None),
                Ok(number) => u32::try_from(number).map(Some).map_err(|_| "is out of range".to_owned()),
                Err(_) => Err("is not a number".to_owned()),
            })?;
            Ok(id.flatten())
        };
        Ok(Self {
            inbound_port: port("incoming-proxy-port")?,
            outbound_port: port("outgoing-proxy-port")?,
            proxy_uid: id("proxy-uid")?,
            // As there, group 0 is not a choice.
            proxy_gid: id("proxy-gid")?.filter(|gid| *gid != 0),
            proxy_mark: args.get("proxy-mark", parse_mark)?,
            inbound_ports: port_ranges(&args, "ports-to-redirect")?,
            inbound_ports_ignored: port_ranges(&args, "inbound-ports-to-ignore")?,
            outbound_ports_ignored: port_ranges(&args, "outbound-ports-to-ignore")?,
            subnets_ignored: subnets(&args, "subnets-to-ignore")?,
            close_wait_timeout_s: id("timeout-close-wait-secs")?.filter(|seconds| *seconds != 0),
            netns: args.get("netns", |path| Ok(PathBuf::from(path)))?.filter(|path| !path.as_os_str().is_empty()),
            has_ipv6: args.get_bool("ipv6")?.unwrap_or(true),
            is_simulation: args.get_bool("simulate")?.unwrap_or(false),
            log_is_json: args.get("log-format", parse_log_format)?.unwrap_or(false),
            log_level: args.get("log-level", parse_log_level)?.unwrap_or(LogLevel::Info),
        })
        .and_then(|options| {
            args.get_bool("use-wait-flag")?;
            Ok(options)
        })
    }
}

fn parse_port(value: &str) -> Result<u16, String> {
    value.parse().ok().filter(|port| *port != 0).ok_or_else(|| "is not a port (1 to 65535)".to_owned())
}

fn parse_mark(value: &str) -> Result<u32, String> {
    let parsed = match value.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => value.parse(),
    };
    // Zero is the mark of every packet that nobody marked.
    parsed.ok().filter(|mark| *mark != 0).ok_or_else(|| "is not a packet mark (1 to 4294967295)".to_owned())
}

/// Sorted, with ranges that touch made one.
fn port_ranges(args: &Arguments, name: &str) -> Result<Vec<PortRange>, String> {
    let mut ranges = args.get_list(name, |item| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let range = PortRange(parse_port(first.trim())?, parse_port(last.trim())?);
        if range.0 > range.1 { Err("ends before it begins".to_owned()) } else { Ok(range) }
    })?;
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let touches = u32::from(next.0) <= u32::from(kept.1) + 1;
        if touches {
            kept.1 = kept.1.max(next.1);
        }
        touches
    });
    if ranges.len() > RANGES_MAX {
        return Err(format!("--{name}: more than {RANGES_MAX} ranges"));
    }
    Ok(ranges)
}

fn subnets(args: &Arguments, name: &str) -> Result<Vec<Subnet>, String> {
    let subnets = args.get_list(name, |item| {
        let (address, prefix) = item.split_once('/').ok_or("is not a subnet in CIDR form")?;
        let address: IpAddr = address.parse().map_err(|_| "is not a subnet in CIDR form")?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= bits);
        Ok(Subnet { address, prefix: prefix.ok_or_else(|| format!("has a prefix outside 0 to {bits}"))? })
    })?;
    if subnets.len() > SUBNETS_MAX {
        return Err(format!("--{name}: more than {SUBNETS_MAX} subnets"));
    }
    Ok(subnets)
}

fn parse_log_format(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "" | "plain" => Ok(false),
        "json" => Ok(true),
        _ => Err("is neither plain nor json".to_owned()),
    }
}

fn parse_log_level(value: &str) -> Result<LogLevel, String> {
    match value.to_ascii_lowercase().as_str() {
        "panic" | "fatal" | "error" | "warn" | "warning" => Ok(LogLevel::Error),
        "" | "info" => Ok(LogLevel::Info),
        "debug" | "trace" => Ok(LogLevel::Debug),
        _ => Err("is not a log level".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let line = format!("--incoming-proxy-port 4143 --outgoing-proxy-port 4140 {line}");
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn takes_what_the_injector_writes() {
        let options = parse(
            "--firewall-bin-path iptables-nft --firewall-save-bin-path iptables-nft-save --ipv6=false --proxy-uid 2102 \
             --inbound-ports-to-ignore 4190,4191,4567,4568,100-200 --outbound-ports-to-ignore 443,6443 \
             --subnets-to-ignore 10.0.0.0/8,fd00::/8 --timeout-close-wait-secs 0 --proxy-gid -1 -w --log-format plain \
             --log-level debug",
        )
        .unwrap();
        assert_eq!((options.inbound_port, options.outbound_port), (4143, 4140));
        assert_eq!((options.proxy_uid, options.proxy_gid, options.has_ipv6), (Some(2102), None, false));
        assert_eq!(options.inbound_ports_ignored, [PortRange(100, 200), PortRange(4190, 4191), PortRange(4567, 4568)]);
        assert_eq!(options.subnets_ignored.len(), 2);
        assert_eq!((options.close_wait_timeout_s, options.log_level), (None, LogLevel::Debug));
    }

    #[test]
    fn names_every_malformed_flag() {
        for (line, expected) in [
            ("--proxy-uid x", "--proxy-uid: \"x\" is not a number"),
            ("--proxy-uid -2", "--proxy-uid: \"-2\" is out of range"),
            ("--proxy-mark 0", "--proxy-mark: \"0\" is not a packet mark (1 to 4294967295)"),
            ("--inbound-ports-to-ignore 1,70000", "--inbound-ports-to-ignore: \"70000\" is not a port (1 to 65535)"),
            ("--outbound-ports-to-ignore 9-1", "--outbound-ports-to-ignore: \"9-1\" ends before it begins"),
            ("--subnets-to-ignore 10.0.0.0", "--subnets-to-ignore: \"10.0.0.0\" is not a subnet in CIDR form"),
            ("--subnets-to-ignore 10.0.0.0/33", "--subnets-to-ignore: \"10.0.0.0/33\" has a prefix outside 0 to 32"),
            ("--ipv6=no", "--ipv6: \"no\" is neither true nor false"),
            ("--log-level loud", "--log-level: \"loud\" is not a log level"),
            ("--log-format xml", "--log-format: \"xml\" is neither plain nor json"),
            ("--outgoing-proxy-port 0", "--outgoing-proxy-port: \"0\" is not a port (1 to 65535)"),
            ("--bogus", "--bogus: unknown flag"),
            ("word", "\"word\": unexpected argument"),
        ] {
            assert_eq!(parse(line).unwrap_err(), expected);
        }
        assert_eq!(Options::parse(&[]).unwrap_err(), "--incoming-proxy-port: is required");
    }
}
