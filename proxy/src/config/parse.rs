//! The syntax of single values.

use super::{AccessLog, DefaultPolicy, Suffixes};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// A set of ports; values are `80` or `1000-2000`, comma separated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports(pub(crate) Vec<RangeInclusive<u16>>);

impl Ports {
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }

    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().cloned().flatten()
    }
}

/// Longer than any proxy lives, and short enough to be added to any time.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// `250ms`, `5s`, `1m`, `2h`, `365d`; a bare number only when it is 0.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let bad = || format!("{text:?} is not a duration such as 250ms, 5s, 1m, 2h or 1d");
    let n: u64 = number.parse().map_err(|_| bad())?;
    let seconds = |factor: u64| n.checked_mul(factor).map(Duration::from_secs).ok_or_else(bad);
    let duration = match unit {
        "ms" => Ok(Duration::from_millis(n)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        "d" => seconds(86_400),
        "" if n == 0 => Ok(Duration::ZERO),
        _ => Err(bad()),
    };
    duration.and_then(|duration| if duration > DURATION_MAX { Err(bad()) } else { Ok(duration) })
}

pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text.trim() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

pub fn parse_number<T: FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is not a number in range"))
}

pub fn parse_addr(text: &str) -> Result<SocketAddr, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is not an address and port"))
}

pub fn parse_list<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(parse).collect()
}

pub fn parse_addrs(text: &str) -> Result<Vec<SocketAddr>, String> {
    parse_list(text, parse_addr)
}

pub fn parse_ips(text: &str) -> Result<Vec<IpAddr>, String> {
    parse_list(text, |item| item.parse().map_err(|_| format!("{item:?} is not an IP address")))
}

pub fn parse_networks(text: &str) -> Result<Vec<IpNet>, String> {
    parse_list(text, |item| match item.parse::<IpNet>() {
        Ok(net) => Ok(net),
        Err(_) => item.parse::<IpAddr>().map(IpNet::from).map_err(|_| format!("{item:?} is not a network")),
    })
}

pub fn parse_ports(text: &str) -> Result<Ports, String> {
    let one = |item: &str| {
        let bad = || format!("{item:?} is not a port or range of ports");
        let port = |p: &str| p.trim().parse::<u16>().map_err(|_| bad());
        match item.split_once('-') {
            None => port(item).map(|p| p..=p),
            Some((low, high)) => {
                let range = port(low)?..=port(high)?;
                if range.is_empty() { Err(bad()) } else { Ok(range) }
            }
        }
    };
    parse_list(text, one).map(Ports)
}

pub fn parse_suffixes(text: &str) -> Result<Suffixes, String> {
    let one = |item: &str| {
        let name = item.trim_matches('.');
        let is_name = name
            .split('.')
            .all(|label| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        if name.is_empty() || is_name {
            Ok(name.to_ascii_lowercase().into_boxed_str())
        } else {
            Err(format!("{item:?} is not a DNS suffix"))
        }
    };
    parse_list(text, one).map(Suffixes)
}

/// `host:port`; IPv6 hosts in brackets.
pub fn parse_host_port(text: &str) -> Result<(String, u16), String> {
    let bad = || format!("{text:?} is not HOST:PORT");
    let (host, port) = text.trim().rsplit_once(':').ok_or_else(bad)?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || host.contains(['/', ' ', '@']) {
        return Err(bad());
    }
    match port.parse() {
        Ok(port) if port > 0 => Ok((host.to_owned(), port)),
        _ => Err(bad()),
    }
}

pub fn parse_optional_duration(text: &str) -> Result<Option<Duration>, String> {
    if text.trim().is_empty() { Ok(None) } else { parse_duration(text).map(Some) }
}

pub fn parse_ratio(text: &str) -> Result<f64, String> {
    match text.trim().parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(format!("{text:?} is not between 0 and 1")),
    }
}

pub fn parse_log_format(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_uppercase().as_str() {
        "" | "PLAIN" => Ok(false),
        "JSON" => Ok(true),
        _ => Err(format!("{text:?} is neither PLAIN nor JSON")),
    }
}

pub fn parse_access_log(text: &str) -> Result<Option<AccessLog>, String> {
    match text.trim() {
        "" | "off" | "none" => Ok(None),
        "apache" => Ok(Some(AccessLog::Apache)),
        "json" => Ok(Some(AccessLog::Json)),
        _ => Err(format!("{text:?} is neither apache nor json")),
    }
}

pub fn parse_policy(text: &str) -> Result<DefaultPolicy, String> {
    match text.trim() {
        "deny" => Ok(DefaultPolicy::Deny),
        "all-authenticated" => Ok(DefaultPolicy::AllAuthenticated),
        "all-unauthenticated" => Ok(DefaultPolicy::AllUnauthenticated),
        "cluster-authenticated" => Ok(DefaultPolicy::ClusterAuthenticated),
        "cluster-unauthenticated" => Ok(DefaultPolicy::ClusterUnauthenticated),
        "audit" => Ok(DefaultPolicy::Audit),
        _ => Err(format!("{text:?} is not a default policy")),
    }
}

pub fn parse_name(text: &str) -> Result<Arc<str>, String> {
    match rustls::pki_types::DnsName::try_from(text) {
        Ok(_) => Ok(text.into()),
        Err(_) => Err(format!("{text:?} is not a DNS name")),
    }
}

pub fn parse_id(text: &str) -> Result<Arc<str>, String> {
    if text.starts_with("spiffe://") { Ok(text.into()) } else { parse_name(text) }
}

/// A path, or a `unix:` URL of one.
pub fn parse_unix_socket(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix:").map_or(text, |path| path.strip_prefix("//").unwrap_or(path));
    if path.starts_with('/') { Ok(path.into()) } else { Err("not the absolute path of a Unix socket".to_owned()) }
}

pub fn parse_anchors(text: &str) -> Result<Arc<str>, String> {
    crate::tls::parse_trust_anchors(text).map(|_| text.into()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_unless_zero() {
        assert_eq!(parse_duration(" 250ms "), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("365d"), Ok(Duration::from_secs(365 * 86_400)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        for bad in
            ["", "5", "1.5s", "s", "-1s", "1 s", "1y", "99999999999999999999s", "18446744073709551615d", "40000d"]
        {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_are_numbers_and_ranges() {
        let ports = parse_ports("25, 1000-1002,").expect("valid");
        assert_eq!(ports.iter().collect::<Vec<_>>(), [25, 1000, 1001, 1002]);
        assert!(ports.contains(1001) && !ports.contains(26));
        for bad in ["x", "2-1", "70000", "1-", "-1"] {
            assert!(parse_ports(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn suffixes_end_at_labels() {
        let suffixes = parse_suffixes("svc.cluster.local.").expect("valid");
        assert!(suffixes.contains("web.ns.svc.cluster.local") && suffixes.contains("WEB.ns.svc.cluster.LOCAL."));
        assert!(!suffixes.contains("xsvc.cluster.local") && !suffixes.contains("local"));
        assert!(parse_suffixes(".").expect("valid").contains("anything"));
        assert!(parse_suffixes("a b").is_err());
    }

    #[test]
    fn host_and_port_are_both_needed() {
        assert_eq!(parse_host_port("localhost.:8086"), Ok(("localhost.".into(), 8086)));
        assert_eq!(parse_host_port("[::1]:80"), Ok(("::1".into(), 80)));
        for bad in ["host", ":80", "host:0", "host:x", "http://host:80"] {
            assert!(parse_host_port(bad).is_err(), "{bad}");
        }
    }
}
