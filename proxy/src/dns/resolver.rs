//! Asks name servers, one after the other, and turns SRV, A and AAAA records into socket addresses.

use super::{
    message::{self, Answer, Data, Record, RecordType, Rejected},
    system::{self, ResolvConf},
};
use crate::dial;
use ring::rand::{SecureRandom, SystemRandom};
use std::{
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    time::{self, Instant},
};

/// RFC 1035: a datagram without extensions is at most this long. Room for servers that send more.
const DATAGRAM_BYTES_MAX: usize = 4096;
/// Addresses taken from one answer: more replicas of a control plane than anyone runs.
const ADDRESSES_MAX: usize = 256;
/// SRV targets looked up one by one because the answer brought no address for them.
const TARGET_LOOKUPS_MAX: usize = 16;
/// Files, address literals and `localhost.` have no TTL of their own.
const TTL_LOCAL: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// In the order of the answer, without duplicates, never empty.
    pub addrs: Vec<SocketAddr>,
    /// For how long the answer holds; the shortest of all its records. May be zero.
    pub ttl: Duration,
    pub source: Source,
}

/// What addresses were found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Services,
    Addresses,
    /// No name server was asked.
    Machine,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not a name that DNS can carry.
    BadName(String),
    /// The servers say that the name has no address.
    NotFound(String),
    /// No server gave an answer; the reason that the last one gave.
    Unavailable(String, String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName(name) => write!(f, "resolve {name:?}: not a name"),
            Self::NotFound(name) => write!(f, "resolve {name}: no such name or no address"),
            Self::Unavailable(name, why) => {
                write!(f, "resolve {name}: no name server answered: {why}")
            }
        }
    }
}

impl std::error::Error for Error {}

/// Cheap to make and to keep: it holds two paths.
#[derive(Clone, Debug)]
pub struct Resolver {
    resolv_conf: PathBuf,
    hosts: PathBuf,
    port_override: Option<u16>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { resolv_conf: "/etc/resolv.conf".into(), hosts: "/etc/hosts".into(), port_override: None }
    }
}

impl Resolver {
    /// The addresses behind `name`: its SRV records when it has any (their ports win over `port`), else its A and AAAA records with `port`.
    ///
    /// A name that ends in a dot is absolute; others go through the search list. SRV records for other ports than
    /// `port` are left out when one for `port` exists (a headless Service has records for all its ports).
    /// Takes at most attempts × servers × timeout of resolv.conf per name tried.
    pub async fn resolve_srv_or_a(&self, name: &str, port: u16) -> Result<Resolved, Error> {
        if let Some(ip) = parse_literal(name) {
            return Ok(local([ip], port));
        }
        if name.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
            return Ok(local([Ipv4Addr::LOCALHOST.into()], port));
        }
        let in_hosts = system::find_in_hosts(&fs::read_to_string(&self.hosts).unwrap_or_default(), name);
        if !in_hosts.is_empty() {
            return Ok(local(in_hosts, port));
        }
        let mut conf = ResolvConf::parse(&fs::read_to_string(&self.resolv_conf).unwrap_or_default());
        if let Some(port) = self.port_override {
            conf.servers.iter_mut().for_each(|server| server.set_port(port));
        }
        let mut outcome = Error::NotFound(name.to_owned());
        for candidate in conf.candidates(name) {
            match resolve_candidate(&conf, &candidate, port).await {
                Ok(resolved) => return Ok(resolved),
                // A search domain may make a name too long; that does not condemn the others.
                Err(error @ (Error::BadName(_) | Error::NotFound(_))) => outcome = error,
                Err(error) => return Err(error),
            }
        }
        match outcome {
            Error::BadName(_) => Err(Error::BadName(name.to_owned())),
            _ => Err(Error::NotFound(name.to_owned())),
        }
    }
}

async fn resolve_candidate(conf: &ResolvConf, name: &str, port: u16) -> Result<Resolved, Error> {
    match query(conf, name, RecordType::Srv).await {
        Ok((records, additional)) if !records.is_empty() => {
            let resolved = follow_services(conf, records, &additional, port).await;
            if !resolved.addrs.is_empty() {
                return Ok(resolved);
            }
        }
        Ok(_) | Err(Error::NotFound(_)) => {}
        // Some servers refuse SRV; the addresses may still be had. When no server answers at all, asking again cannot help.
        Err(Error::Unavailable(_, why)) if why.starts_with(SERVER_FAILURE) => {}
        Err(error) => return Err(error),
    }
    let (ips, ttl) = resolve_addresses(conf, name).await?;
    Ok(collect(Source::Addresses, ips.into_iter().map(|ip| (SocketAddr::new(ip, port), ttl))))
}

/// The addresses of SRV targets: spelled in the name (`10-0-0-1.web.ns…`), brought along by the answer, or asked for.
async fn follow_services(conf: &ResolvConf, records: Vec<Record>, additional: &[Record], port: u16) -> Resolved {
    let services: Vec<(u16, String, Duration)> = records
        .into_iter()
        .filter_map(|record| match record.data {
            Data::Service { port, target } => Some((port, target, record.ttl)),
            Data::Address(_) => None,
        })
        .collect();
    let has_port = services.iter().any(|(service_port, _, _)| *service_port == port);
    let mut found = Vec::new();
    let mut lookups = 0;
    for (service_port, target, ttl) in services {
        if has_port && service_port != port || found.len() >= ADDRESSES_MAX {
            continue;
        }
        if let Some(ip) = parse_dashed(&target) {
            found.push((SocketAddr::new(ip, service_port), ttl));
            continue;
        }
        let before = found.len();
        for record in additional.iter().filter(|record| record.name == target) {
            if let Data::Address(ip) = record.data {
                found.push((SocketAddr::new(ip, service_port), ttl.min(record.ttl)));
            }
        }
        if found.len() == before && lookups < TARGET_LOOKUPS_MAX {
            lookups += 1;
            if let Ok((ips, ips_ttl)) = resolve_addresses(conf, &target).await {
                found.extend(ips.into_iter().map(|ip| (SocketAddr::new(ip, service_port), ttl.min(ips_ttl))));
            }
        }
    }
    collect(Source::Services, found)
}

/// A and AAAA at once. One of them is enough; an error counts only when neither brought an address.
async fn resolve_addresses(conf: &ResolvConf, name: &str) -> Result<(Vec<IpAddr>, Duration), Error> {
    let (v4, v6) = tokio::join!(query(conf, name, RecordType::A), query(conf, name, RecordType::Aaaa));
    let mut ips = Vec::new();
    let mut ttl = Duration::MAX;
    let mut failure = Error::NotFound(name.to_owned());
    for outcome in [v4, v6] {
        match outcome {
            Ok((records, _)) => {
                for record in records {
                    if let Data::Address(ip) = record.data {
                        ips.push(ip);
                        ttl = ttl.min(record.ttl);
                    }
                }
            }
            Err(Error::NotFound(_)) => {}
            Err(error) => failure = error,
        }
    }
    if ips.is_empty() { Err(failure) } else { Ok((ips, ttl)) }
}

fn collect(source: Source, found: impl IntoIterator<Item = (SocketAddr, Duration)>) -> Resolved {
    let mut resolved = Resolved { addrs: Vec::new(), ttl: Duration::MAX, source };
    for (addr, ttl) in found {
        if resolved.addrs.len() < ADDRESSES_MAX && !resolved.addrs.contains(&addr) {
            resolved.addrs.push(addr);
            resolved.ttl = resolved.ttl.min(ttl);
        }
    }
    resolved
}

fn local(ips: impl IntoIterator<Item = IpAddr>, port: u16) -> Resolved {
    collect(Source::Machine, ips.into_iter().map(|ip| (SocketAddr::new(ip, port), TTL_LOCAL)))
}

fn parse_literal(name: &str) -> Option<IpAddr> {
    name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name).parse().ok()
}

/// The first label of a pod's name in cluster DNS is its address with dashes.
fn parse_dashed(target: &str) -> Option<IpAddr> {
    let label = target.split('.').next()?;
    label.replace('-', ".").parse::<Ipv4Addr>().map(IpAddr::V4).ok().or_else(|| {
        // A label cannot begin or end with a dash, so `::1` is written `0--1`: both forms parse.
        label.contains('-').then(|| label.replace('-', ":").parse::<Ipv6Addr>().map(IpAddr::V6).ok()).flatten()
    })
}

/// Records of the asked type, and the additional ones. Found to have none: an empty list.
type Records = (Vec<Record>, Vec<Record>);

const SERVER_FAILURE: &str = "server failure";

async fn query(conf: &ResolvConf, name: &str, record_type: RecordType) -> Result<Records, Error> {
    let mut why = String::new();
    for _ in 0..conf.attempts {
        for server in &conf.servers {
            let mut id = [0; 2];
            SystemRandom::new().fill(&mut id).map_err(|_| Error::Unavailable(name.into(), "no randomness".into()))?;
            let question = message::encode_question(u16::from_be_bytes(id), name, record_type)
                .ok_or_else(|| Error::BadName(name.to_owned()))?;
            let deadline = Instant::now() + conf.timeout;
            match time::timeout_at(deadline, ask(*server, &question)).await {
                Ok(Ok(Answer::Records { records, additional })) => return Ok((records, additional)),
                Ok(Ok(Answer::NoSuchName)) => return Err(Error::NotFound(name.to_owned())),
                Ok(Ok(Answer::ServerFailure(code))) => why = format!("{SERVER_FAILURE} {code} from {server}"),
                Ok(Ok(Answer::Truncated)) => why = format!("{server} truncated its answer over TCP"),
                Ok(Err(error)) => why = format!("{server}: {error}"),
                Err(_) => why = format!("{server}: no answer in {} s", conf.timeout.as_secs()),
            }
        }
    }
    Err(Error::Unavailable(name.to_owned(), why))
}

/// One question to one server. The socket is connected, so that datagrams of others never arrive.
async fn ask(server: SocketAddr, question: &[u8]) -> io::Result<Answer> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match message::parse_answer(&buffer[..length], question) {
            Ok(Answer::Truncated) => return ask_by_tcp(server, question).await,
            Ok(answer) => return Ok(answer),
            // Not our answer, perhaps a forger's: the real one may still come.
            Err(Rejected::NotOurs) => {}
            Err(Rejected::Malformed) => return Err(malformed()),
        }
    }
}

async fn ask_by_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Answer> {
    let mut stream = dial::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(|_| malformed())?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    message::parse_answer(&answer, question).map_err(|_| malformed())
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed answer")
}

#[cfg(test)]
mod tests;
