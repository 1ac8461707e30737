//! Routes arranged so that finding a request's rule costs the same however many there are that do not match it: by host,
//! then by path, then by the header or query parameter that tells most apart. It finds what [`super::find`] finds.

use super::literal::ByLiteral;
use super::{Found, HostMatch, PathMatch, PathRank, Request, RequestMatch, Route, Rule, ValueMatch, query_pairs};
use http::HeaderName;
use std::{cmp::Reverse, collections::HashMap};

/// Shorter lists are walked: that is as quick as looking up.
const LIST_LEN: usize = 4;

/// Made of a list of routes, which must be the one that is searched.
#[derive(Debug, Default)]
pub struct RouteIndex {
    /// One rule takes everything.
    is_trivial: bool,
    exact: HashMap<Box<str>, Table>,
    /// By what follows the wildcard, without its dot.
    suffixes: HashMap<Box<str>, Table>,
    any: Table,
    /// The longest name above; longer ones are not looked up.
    name_len_max: usize,
}

/// The matches for one host, by path.
#[derive(Debug, Default)]
struct Table {
    exact: HashMap<Box<str>, Bucket>,
    /// Without the slashes at their end.
    prefixes: HashMap<Box<str>, Bucket>,
    prefix_lens: Vec<bool>,
    grpc_services: HashMap<Box<str>, Bucket>,
    grpc_methods: HashMap<Box<str>, Bucket>,
    regexes: ByLiteral<Candidate>,
    /// Of a ServiceProfile, whose paths are in conditions.
    conditions: ByLiteral<Candidate>,
    any: Bucket,
}

/// The matches for one path.
#[derive(Debug, Default)]
struct Bucket {
    list: Vec<Candidate>,
    headers: Vec<(HeaderName, ByValue)>,
    queries: Vec<(Box<str>, ByValue)>,
}

type ByValue = HashMap<Box<[u8]>, Vec<Candidate>>;

/// One match of a rule, or a rule that has none. Lists are sorted by rank, best first.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    at: Place,
    rank: (PathRank, bool, usize, usize),
}

/// The route, the rule, and the match in it.
type Place = (usize, usize, Option<usize>);

/// What is better comes last: the rank, then the earlier place; the prefix decides nothing.
type Best = ((PathRank, bool, usize, usize), Reverse<Place>, Option<usize>);

impl RouteIndex {
    pub fn new<R>(routes: &[Route<R>]) -> Self {
        let mut index = Self { is_trivial: super::is_trivial(routes), ..Self::default() };
        for (route_at, route) in routes.iter().enumerate() {
            for (rule_at, rule) in route.rules.iter().enumerate() {
                if rule.matches.is_empty() {
                    index.insert(route, (route_at, rule_at, None), &RequestMatch::default());
                }
                for (at, m) in rule.matches.iter().enumerate() {
                    index.insert(route, (route_at, rule_at, Some(at)), m);
                }
            }
        }
        let tables = index.exact.values_mut().chain(index.suffixes.values_mut());
        for table in tables.chain([&mut index.any]) {
            table.arrange(routes);
        }
        index
    }

    fn insert<R>(&mut self, route: &Route<R>, at: Place, m: &RequestMatch) {
        if route.hosts.is_empty() {
            self.any.insert(at, m);
        }
        for host in &route.hosts {
            let (map, name) = match host {
                HostMatch::Exact(name) => (&mut self.exact, name.to_string()),
                // A dot within a label fits no host.
                HostMatch::Suffix(labels) if labels.iter().any(|l| l.contains('.')) => continue,
                HostMatch::Suffix(labels) => {
                    let labels: Vec<&str> = labels.iter().rev().map(|l| &**l).collect();
                    (&mut self.suffixes, labels.join("."))
                }
            };
            self.name_len_max = self.name_len_max.max(name.len());
            map.entry(name.to_ascii_lowercase().into()).or_default().insert(at, m);
        }
    }

    /// The best route and rule for a request, if any matches.
    pub fn find<R>(&self, routes: &[Route<R>], request: Request<'_>) -> Option<Found> {
        if self.is_trivial {
            return Some(Found { route: 0, rule: 0, prefix_len: Some(0) });
        }
        if self.exact.is_empty() && self.suffixes.is_empty() {
            return self.any.find(routes, request);
        }
        let lower;
        let mut host = request.host.trim_end_matches('.');
        if host.bytes().any(|b| b.is_ascii_uppercase()) {
            lower = host.to_ascii_lowercase();
            host = &lower;
        }
        let look_up = |map: &HashMap<Box<str>, Table>, name: &str| {
            if name.len() > self.name_len_max {
                return None;
            }
            map.get(name)?.find(routes, request)
        };
        let after_dots = host.bytes().enumerate().filter(|(_, b)| *b == b'.').map(|(at, _)| &host[at + 1..]);
        look_up(&self.exact, host)
            .or_else(|| after_dots.chain([""]).find_map(|name| look_up(&self.suffixes, name)))
            .or_else(|| self.any.find(routes, request))
    }
}

impl Table {
    fn insert(&mut self, at: Place, m: &RequestMatch) {
        let path = match &m.path {
            None => PathRank::ANY,
            Some(path) => path.fixed_rank(),
        };
        let candidate = Candidate { at, rank: (path, m.method.is_some(), m.headers.len(), m.query.len()) };
        match &m.path {
            None if m.condition.is_some() => self.conditions.insert(m.literal(), candidate),
            None => self.any.list.push(candidate),
            Some(PathMatch::Exact(path)) => self.exact.entry(path.clone()).or_default().list.push(candidate),
            Some(PathMatch::Prefix(prefix)) => {
                let bare = prefix.trim_end_matches('/');
                if self.prefix_lens.len() <= bare.len() {
                    self.prefix_lens.resize(bare.len() + 1, false);
                }
                self.prefix_lens[bare.len()] = true;
                self.prefixes.entry(bare.into()).or_default().list.push(candidate);
            }
            Some(PathMatch::Regex(_)) => self.regexes.insert(m.literal(), candidate),
            Some(PathMatch::Grpc { service, method }) => match (service.is_empty(), method.is_empty()) {
                (true, true) => self.any.list.push(candidate),
                (true, false) => self.grpc_methods.entry(method.clone()).or_default().list.push(candidate),
                (false, true) => self.grpc_services.entry(service.clone()).or_default().list.push(candidate),
                (false, false) => {
                    let path = format!("/{service}/{method}").into();
                    self.exact.entry(path).or_default().list.push(candidate);
                }
            },
        }
    }

    fn arrange<R>(&mut self, routes: &[Route<R>]) {
        self.regexes.lists_mut().chain(self.conditions.lists_mut()).for_each(|list| sort(list));
        let maps = [&mut self.exact, &mut self.prefixes, &mut self.grpc_services, &mut self.grpc_methods];
        for bucket in maps.into_iter().flat_map(HashMap::values_mut).chain([&mut self.any]) {
            bucket.arrange(routes);
        }
    }

    fn find<R>(&self, routes: &[Route<R>], request: Request<'_>) -> Option<Found> {
        let in_map = |map: &HashMap<Box<str>, Bucket>, key: &str| map.get(key)?.best(routes, request);
        let by_literal =
            |all: &ByLiteral<Candidate>| all.get(request.path).filter_map(|list| best_of(list, routes, request)).max();
        let exact = (!self.exact.is_empty()).then(|| in_map(&self.exact, request.path)).flatten();
        let best = exact.or_else(|| {
            let grpc = (!self.grpc_services.is_empty() || !self.grpc_methods.is_empty())
                .then(|| request.path.strip_prefix('/')?.split_once('/'))
                .flatten();
            let service = grpc.and_then(|(service, _)| in_map(&self.grpc_services, service));
            let method = || grpc.and_then(|(_, method)| in_map(&self.grpc_methods, method));
            by_literal(&self.regexes).max(self.best_prefix(routes, request)).max(service).or_else(method)
        });
        let best = match best {
            Some(best) if best.0.0 > PathRank::ANY => best,
            // The prefix of everything is no better than no match for the path.
            other => other.max(self.any.best(routes, request)).max(by_literal(&self.conditions))?,
        };
        let (_, Reverse((route, rule, _)), prefix_len) = best;
        Some(Found { route, rule, prefix_len })
    }

    /// The longest prefix of the path that has a match for the request.
    fn best_prefix<R>(&self, routes: &[Route<R>], request: Request<'_>) -> Option<Best> {
        let path = request.path;
        let longest = path.len().min(self.prefix_lens.len().checked_sub(1)?);
        (0..=longest)
            .rev()
            .filter(|len| self.prefix_lens.get(*len).is_some_and(|is_one| *is_one))
            .filter(|len| *len == 0 || path.as_bytes().get(*len).is_none_or(|next| *next == b'/'))
            .find_map(|len| self.prefixes.get(path.get(..len)?)?.best(routes, request))
    }
}

impl Bucket {
    /// Sorts the matches, and where they are many, finds those by value that ask for the exact value of a header or of a
    /// query parameter.
    fn arrange<R>(&mut self, routes: &[Route<R>]) {
        if self.list.len() > LIST_LEN {
            for candidate in std::mem::take(&mut self.list) {
                self.list_for(candidate, routes).push(candidate);
            }
        }
        let headers = self.headers.iter_mut().flat_map(|(_, map)| map.values_mut());
        let queries = self.queries.iter_mut().flat_map(|(_, map)| map.values_mut());
        headers.chain(queries).chain([&mut self.list]).for_each(|list| sort(list));
    }

    fn list_for<R>(&mut self, candidate: Candidate, routes: &[Route<R>]) -> &mut Vec<Candidate> {
        let Some(m) = candidate.find_match(routes) else { return &mut self.list };
        let exact = |value: &ValueMatch| match value {
            ValueMatch::Exact(exact) => Some(exact.clone()),
            ValueMatch::Regex(_) => None,
        };
        if let Some((name, value)) = m.headers.iter().find_map(|(name, value)| Some((name, exact(value)?))) {
            return entry(&mut self.headers, name).entry(value).or_default();
        }
        if let Some((name, value)) = m.query.iter().find_map(|(name, value)| Some((name, exact(value)?))) {
            return entry(&mut self.queries, name).entry(value).or_default();
        }
        &mut self.list
    }

    fn best<R>(&self, routes: &[Route<R>], request: Request<'_>) -> Option<Best> {
        let mut best = best_of(&self.list, routes, request);
        for (name, by_value) in &self.headers {
            for value in request.headers.get_all(name) {
                let found = by_value.get(value.as_bytes()).and_then(|list| best_of(list, routes, request));
                best = best.max(found);
            }
        }
        if !self.queries.is_empty() {
            for (key, value) in query_pairs(request.query.unwrap_or_default()) {
                let by_value = self.queries.iter().find(|(name, _)| *key == *name.as_bytes());
                let list = by_value.and_then(|(_, by_value)| by_value.get(&*value));
                best = best.max(list.and_then(|list| best_of(list, routes, request)));
            }
        }
        best
    }
}

impl Candidate {
    fn find_match<'a, R>(&self, routes: &'a [Route<R>]) -> Option<&'a RequestMatch> {
        self.rule(routes)?.matches.get(self.at.2?)
    }

    fn rule<'a, R>(&self, routes: &'a [Route<R>]) -> Option<&'a Rule<R>> {
        routes.get(self.at.0)?.rules.get(self.at.1)
    }

    fn best<R>(&self, routes: &[Route<R>], request: Request<'_>) -> Option<Best> {
        let place = Reverse(self.at);
        match self.find_match(routes) {
            None => Some((self.rank, place, Some(0))),
            Some(m) => m.rank(request).map(|(path, method, headers, query, prefix_len)| {
                let rank = (path, method, headers, query);
                (rank, place, prefix_len)
            }),
        }
    }
}

fn entry<'a, K: PartialEq + Clone, V: Default>(list: &'a mut Vec<(K, V)>, key: &K) -> &'a mut V {
    let at = list.iter().position(|(k, _)| k == key).unwrap_or_else(|| {
        list.push((key.clone(), V::default()));
        list.len() - 1
    });
    &mut list[at].1
}

fn sort(list: &mut [Candidate]) {
    list.sort_by_key(|c| (Reverse(c.rank), c.at));
}

/// The first that matches, in a list of one path.
fn best_of<R>(list: &[Candidate], routes: &[Route<R>], request: Request<'_>) -> Option<Best> {
    list.iter().find_map(|candidate| candidate.best(routes, request))
}
