//! HTTP and gRPC routes and how a request finds its one. Precedence is the Gateway API's: exact host before longer suffix
//! before none; then more of the path, an exact one before others; then a method; then more headers; then more query
//! parameters; then the earlier one. Expressions take the whole path, and so go before prefixes of it, as with Linkerd.

mod index;
mod literal;
#[cfg(test)]
mod tests;

pub use index::RouteIndex;

use super::meta::Meta;
use http::{HeaderMap, HeaderName, Method, Uri};
use regex_lite::Regex;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Route<R> {
    pub meta: Arc<Meta>,
    /// Empty: any host.
    pub hosts: Vec<HostMatch>,
    pub rules: Vec<Rule<R>>,
}

#[derive(Clone, Debug)]
pub struct Rule<R> {
    /// Empty: any request.
    pub matches: Vec<RequestMatch>,
    pub policy: R,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostMatch {
    Exact(Box<str>),
    /// Labels in reverse: `*.example.com` is `com`, `example`.
    Suffix(Box<[Box<str>]>),
}

#[derive(Clone, Debug, Default)]
pub struct RequestMatch {
    pub path: Option<PathMatch>,
    pub method: Option<Method>,
    pub headers: Vec<(HeaderName, ValueMatch)>,
    pub query: Vec<(Box<str>, ValueMatch)>,
    /// A ServiceProfile's condition, tested beside the rest.
    pub condition: Option<Condition>,
}

#[derive(Clone, Debug)]
pub enum PathMatch {
    Exact(Box<str>),
    /// Whole path elements.
    Prefix(Box<str>),
    /// Compiled by `whole_regex`.
    Regex(Regex),
    /// An empty service or method is any.
    Grpc {
        service: Box<str>,
        method: Box<str>,
    },
}

#[derive(Clone, Debug)]
pub enum ValueMatch {
    Exact(Box<[u8]>),
    Regex(Regex),
}

/// A ServiceProfile's request condition.
#[derive(Clone, Debug)]
pub enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Path(Regex),
    Method(Method),
}

/// What a route is chosen by.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Without a port.
    pub host: &'a str,
    pub method: &'a Method,
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
}

/// Where a request belongs: indexes into the routes that were searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub route: usize,
    pub rule: usize,
    /// The length of the path prefix that matched, for a redirect that replaces it; None where the match was by no prefix.
    pub prefix_len: Option<usize>,
}

type Rank = (HostRank, PathRank, bool, usize, usize);
/// The rank without its host, and the length of the prefix.
type Matched = (PathRank, bool, usize, usize, Option<usize>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HostRank {
    Any,
    Suffix(usize),
    Exact,
}

/// How much of the path is matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PathRank {
    len: usize,
    is_exact: bool,
}

impl PathRank {
    /// No match for the path is one for the prefix `/`.
    const ANY: Self = Self::of_part(1);

    const fn of_part(len: usize) -> Self {
        Self { len, is_exact: false }
    }
}

impl<'a> Request<'a> {
    pub fn new<B>(request: &'a http::Request<B>) -> Self {
        Self::of(request.method(), request.uri(), request.headers())
    }

    pub fn of(method: &'a Method, uri: &'a Uri, headers: &'a HeaderMap) -> Self {
        let host = match uri.host() {
            Some(host) => host,
            None => headers
                .get(http::header::HOST)
                .and_then(|value| value.to_str().ok())
                .map(without_port)
                .unwrap_or_default(),
        };
        Self { host, method, path: uri.path(), query: uri.query(), headers }
    }
}

/// Whether there is one route that matches everything, as in nearly every policy.
fn is_trivial<R>(routes: &[Route<R>]) -> bool {
    matches!(routes, [Route { hosts, rules, .. }] if hosts.is_empty()
        && matches!(&rules[..], [Rule { matches, .. }] if matches.is_empty()))
}

/// The best route and rule for a request, if any matches: the definition that [`RouteIndex`] is held to.
pub fn find<R>(routes: &[Route<R>], request: Request<'_>) -> Option<Found> {
    if is_trivial(routes) {
        return Some(Found { route: 0, rule: 0, prefix_len: Some(0) });
    }
    let mut best: Option<(Rank, Found)> = None;
    for (route_at, route) in routes.iter().enumerate() {
        let Some(host) = host_rank(&route.hosts, request.host) else { continue };
        for (rule_at, rule) in route.rules.iter().enumerate() {
            let Some((path, method, headers, query, prefix_len)) = rule.best_match(request) else { continue };
            let rank = (host, path, method, headers, query);
            if best.as_ref().is_none_or(|(other, _)| rank > *other) {
                best = Some((rank, Found { route: route_at, rule: rule_at, prefix_len }));
            }
        }
    }
    best.map(|(_, found)| found)
}

/// The rules that may be a request's besides the one that is found for it, when its headers are not known.
pub fn if_headers_match<'a, R>(routes: &'a [Route<R>], request: Request<'a>) -> impl Iterator<Item = &'a Rule<R>> {
    let of_host = routes.iter().filter(move |route| host_rank(&route.hosts, request.host).is_some());
    let rules = of_host.flat_map(|route| &route.rules);
    rules.filter(move |rule| rule.matches.iter().any(|m| m.matches_if_headers_do(request)))
}

/// Whether any rule asks for headers.
pub fn asks_headers<R>(routes: &[Route<R>]) -> bool {
    let mut matches = routes.iter().flat_map(|route| &route.rules).flat_map(|rule| &rule.matches);
    matches.any(|m| !m.headers.is_empty())
}

impl<R> Rule<R> {
    fn best_match(&self, request: Request<'_>) -> Option<Matched> {
        if self.matches.is_empty() {
            return Some((PathRank::ANY, false, 0, 0, Some(0)));
        }
        let ranked = self.matches.iter().filter_map(|m| m.rank(request));
        // `max_by_key` keeps the last of equals; the first must win.
        let key = |(at, (path, method, headers, query, _)): &(usize, Matched)| {
            (*path, *method, *headers, *query, Reverse(*at))
        };
        ranked.enumerate().max_by_key(key).map(|(_, matched)| matched)
    }
}

impl RequestMatch {
    fn rank(&self, request: Request<'_>) -> Option<Matched> {
        let (path, prefix_len) = match &self.path {
            None => (PathRank::ANY, Some(0)),
            Some(path) => path.rank(request.path)?,
        };
        let is_match = self.fits_but_for_path_and_headers(request)
            && self
                .headers
                .iter()
                .all(|(name, value)| request.headers.get_all(name).iter().any(|v| value.matches(v.as_bytes())));
        is_match.then_some((path, self.method.is_some(), self.headers.len(), self.query.len(), prefix_len))
    }

    fn fits_but_for_path_and_headers(&self, request: Request<'_>) -> bool {
        self.method.as_ref().is_none_or(|m| m == request.method)
            && (!matches!(self.path, Some(PathMatch::Grpc { .. })) || request.method == Method::POST)
            && self.query.iter().all(|(name, value)| query_matches(request.query.unwrap_or_default(), name, value))
            && self.condition.as_ref().is_none_or(|c| c.matches(request))
    }

    /// Whether it asks for headers, and all that it asks for beside them is so.
    fn matches_if_headers_do(&self, request: Request<'_>) -> bool {
        !self.headers.is_empty()
            && self.path.as_ref().is_none_or(|path| path.rank(request.path).is_some())
            && self.fits_but_for_path_and_headers(request)
    }
}

impl PathMatch {
    fn rank(&self, path: &str) -> Option<(PathRank, Option<usize>)> {
        match self {
            Self::Exact(exact) => (path == &**exact).then(|| (self.fixed_rank(), None)),
            Self::Prefix(prefix) => {
                let bare = prefix.trim_end_matches('/');
                let rest = path.strip_prefix(bare)?;
                // The prefix of everything is also that of `*`, which has no slash.
                (rest.is_empty() || rest.starts_with('/') || bare.is_empty())
                    .then(|| (self.fixed_rank(), Some(bare.len())))
            }
            Self::Regex(regex) => regex.is_match(path).then(|| (PathRank::of_part(path.len()), None)),
            Self::Grpc { service, method } => {
                let (s, m) = path.strip_prefix('/')?.split_once('/')?;
                let is_match = (service.is_empty() || **service == *s) && (method.is_empty() || **method == *m);
                is_match.then(|| (self.fixed_rank(), None))
            }
        }
    }

    /// The rank of any match of this one; all expressions rank the same for one path.
    fn fixed_rank(&self) -> PathRank {
        match self {
            Self::Exact(path) => PathRank { len: path.len(), is_exact: true },
            Self::Prefix(prefix) => PathRank::of_part(prefix.trim_end_matches('/').len().max(1)),
            Self::Regex(_) => PathRank::of_part(0),
            // Not by length: what two of these match of one path is equally long. None is as much as no match at all.
            Self::Grpc { service, method } => match (service.is_empty(), method.is_empty()) {
                (false, false) => PathRank::of_part(4),
                (false, true) => PathRank::of_part(3),
                (true, false) => PathRank::of_part(2),
                (true, true) => PathRank::ANY,
            },
        }
    }
}

impl ValueMatch {
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => **exact == *value,
            Self::Regex(regex) => std::str::from_utf8(value).is_ok_and(|text| regex.is_match(text)),
        }
    }
}

impl Condition {
    pub fn matches(&self, request: Request<'_>) -> bool {
        match self {
            Self::All(list) => list.iter().all(|c| c.matches(request)),
            Self::Any(list) => list.iter().any(|c| c.matches(request)),
            Self::Not(inner) => !inner.matches(request),
            Self::Path(regex) => regex.is_match(request.path),
            Self::Method(method) => method == request.method,
        }
    }
}

fn host_rank(hosts: &[HostMatch], host: &str) -> Option<HostRank> {
    if hosts.is_empty() {
        return Some(HostRank::Any);
    }
    hosts.iter().filter_map(|m| m.rank(host)).max()
}

impl HostMatch {
    fn rank(&self, host: &str) -> Option<HostRank> {
        match self {
            Self::Exact(exact) => exact.eq_ignore_ascii_case(host.trim_end_matches('.')).then_some(HostRank::Exact),
            Self::Suffix(reverse_labels) => {
                let mut labels = host.trim_end_matches('.').rsplit('.');
                let is_suffix = reverse_labels
                    .iter()
                    .all(|want| labels.next().is_some_and(|label| want.eq_ignore_ascii_case(label)));
                // A wildcard stands for at least one label.
                (is_suffix && labels.next().is_some()).then_some(HostRank::Suffix(reverse_labels.len()))
            }
        }
    }

    /// Whether a TLS server name belongs to this match.
    pub fn matches(&self, name: &str) -> bool {
        self.rank(name).is_some()
    }
}

/// The index of the route whose names fit `name` best; of equals, the first.
pub fn find_by_name<'a>(routes: impl Iterator<Item = &'a [HostMatch]>, name: &str) -> Option<usize> {
    let ranked = routes.enumerate().filter_map(|(at, hosts)| Some((host_rank(hosts, name)?, Reverse(at))));
    ranked.max().map(|(_, Reverse(at))| at)
}

fn query_matches(query: &str, name: &str, value: &ValueMatch) -> bool {
    query_pairs(query).any(|(key, text)| *key == *name.as_bytes() && value.matches(&text))
}

fn query_pairs(query: &str) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    query.split('&').map(|pair| {
        let (key, text) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(text))
    })
}

/// Undoes `application/x-www-form-urlencoded`; a broken escape stays as it is.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|b| matches!(b, b'+' | b'%')) {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |i: usize| bytes.get(i).and_then(|b| (*b as char).to_digit(16)).map(|d| d as u8);
        match bytes[at] {
            b'+' => out.push(b' '),
            b'%' if hex(at + 1).is_some() && hex(at + 2).is_some() => {
                out.push(hex(at + 1).unwrap_or(0) << 4 | hex(at + 2).unwrap_or(0));
                at += 2;
            }
            byte => out.push(byte),
        }
        at += 1;
    }
    Cow::Owned(out)
}

/// The host of a `host[:port]`, IPv6 brackets kept.
pub fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(at) if !authority[at..].contains(']') => &authority[..at],
        _ => authority,
    }
}

/// Compiles a pattern that has to match the whole text.
pub fn whole_regex(pattern: &str) -> Result<Regex, regex_lite::Error> {
    // By itself first: what closes a group that it has not opened would close the one around it.
    Regex::new(pattern)?;
    Regex::new(&format!("^(?:{pattern})$"))
}
