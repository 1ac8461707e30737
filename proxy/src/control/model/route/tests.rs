//! Which of several routes a request finds.

use super::*;

fn route(name: &str, hosts: &[HostMatch], matches: Vec<RequestMatch>) -> Route<&'static str> {
    let meta = Arc::new(Meta::default_named(name));
    Route { meta, hosts: hosts.to_vec(), rules: vec![Rule { matches, policy: "" }] }
}

fn path(path: PathMatch) -> RequestMatch {
    RequestMatch { path: Some(path), ..RequestMatch::default() }
}

fn exact(host: &str) -> HostMatch {
    HostMatch::Exact(host.into())
}

fn suffix(name: &str) -> HostMatch {
    HostMatch::Suffix(name.rsplit('.').map(Box::from).collect())
}

/// The name of the route that a GET with header `x: 1` finds.
fn found(routes: &[Route<&'static str>], uri: &str) -> Option<String> {
    found_by(Method::GET, routes, uri)
}

fn found_by(method: Method, routes: &[Route<&'static str>], uri: &str) -> Option<String> {
    let request = http::Request::builder().method(method).uri(uri).header("x", "1").body(()).expect("a request");
    find(routes, Request::new(&request)).map(|found| routes[found.route].meta.name.to_string())
}

#[test]
fn hosts_go_before_paths() {
    let routes = [
        route("any", &[], vec![path(PathMatch::Exact("/a".into()))]),
        route("wide", &[suffix("example.com")], vec![]),
        route("narrow", &[suffix("b.example.com")], vec![]),
        route("exact", &[exact("a.b.example.com")], vec![]),
    ];
    let name = |uri| found(&routes, uri).unwrap_or_default();
    assert_eq!(name("http://A.b.example.com:80/a"), "exact");
    assert_eq!(name("http://c.b.example.com/a"), "narrow");
    assert_eq!(name("http://b.example.com/a"), "wide");
    assert_eq!(name("http://example.com/a"), "any", "a wildcard stands for a label at least");
    assert_eq!(found(&routes, "http://example.com/b"), None);
}

#[test]
fn exact_paths_go_before_expressions_before_shorter_prefixes() {
    let of = |name: &str, m| route(name, &[], vec![path(m)]);
    let routes = [
        of("short", PathMatch::Prefix("/".into())),
        of("long", PathMatch::Prefix("/a/b/".into())),
        of("regex", PathMatch::Regex(whole_regex("/a/.*c").expect("valid"))),
        of("same", PathMatch::Regex(whole_regex("/a/b").expect("valid"))),
        of("exact", PathMatch::Exact("/a/b/c".into())),
    ];
    let name = |uri| found(&routes, uri).unwrap_or_default();
    assert_eq!(name("http://h/a/b/c"), "exact");
    assert_eq!(name("http://h/a/b/d"), "long");
    assert_eq!(name("http://h/a/b"), "long", "as long as the expression, and earlier");
    assert_eq!(name("http://h/a/bc"), "regex");
    assert_eq!(name("http://h/a/bd"), "short", "prefixes end at slashes");
}

#[test]
fn no_path_is_the_prefix_of_everything() {
    let get = || RequestMatch { method: Some(Method::GET), ..RequestMatch::default() };
    let root = || path(PathMatch::Prefix("/".into()));
    let routes = [route("root", &[], vec![root()]), route("method", &[], vec![get()]), route("none", &[], vec![])];
    assert_eq!(found(&routes, "http://h/a").as_deref(), Some("method"));
    assert_eq!(found_by(Method::POST, &routes, "http://h/a").as_deref(), Some("root"));
    let routes = [route("none", &[], vec![]), route("root", &[], vec![root()])];
    assert_eq!(found(&routes, "http://h/").as_deref(), Some("none"));
    for target in ["*", "h:80"] {
        assert_eq!(found(&routes[1..], target).as_deref(), Some("root"));
        let request = http::Request::get(target).body(()).unwrap();
        assert!(RouteIndex::new(&routes[1..]).find(&routes[1..], Request::new(&request)).is_some(), "{target}");
    }
}

#[test]
fn slashes_at_the_end_of_a_prefix_are_no_part_of_it() {
    let prefix = |text: &str| path(PathMatch::Prefix(text.into()));
    let routes = [route("bare", &[], vec![prefix("/a")]), route("slash", &[], vec![prefix("/a//")])];
    assert_eq!(found(&routes, "http://h/a").as_deref(), Some("bare"));
    assert_eq!(found(&routes[1..], "http://h/a").as_deref(), Some("slash"));
    assert_eq!(found(&routes[1..], "http://h/a/b").as_deref(), Some("slash"));
}

#[test]
fn an_expression_is_one_by_itself() {
    assert!(whole_regex("/a)|(.*").is_err(), "it would match more than it says");
    assert!(whole_regex("/a|/b").is_ok_and(|regex| regex.is_match("/b") && !regex.is_match("/bc")));
    assert!(whole_regex("^/a$").is_ok_and(|regex| regex.is_match("/a")));
    assert!(whole_regex("(?i)/A").is_ok_and(|regex| regex.is_match("/a")));
}

#[test]
fn more_conditions_win_and_of_equals_the_first() {
    let header = || RequestMatch {
        headers: vec![(HeaderName::from_static("x"), ValueMatch::Exact((*b"1").into()))],
        ..RequestMatch::default()
    };
    let query = || RequestMatch {
        query: vec![("q".into(), ValueMatch::Regex(whole_regex("a b|c").expect("valid")))],
        ..RequestMatch::default()
    };
    let get = || RequestMatch { method: Some(Method::GET), ..RequestMatch::default() };
    let routes = [
        route("plain", &[], vec![]),
        route("query", &[], vec![query()]),
        route("header", &[], vec![header()]),
        route("header again", &[], vec![header()]),
    ];
    assert_eq!(found(&routes, "http://h/?q=a%20b").as_deref(), Some("header"));
    assert_eq!(found(&routes[..2], "http://h/?p=1&q=a+b").as_deref(), Some("query"));
    assert_eq!(found(&routes[..2], "http://h/?q=ac").as_deref(), Some("plain"));
    let routes = [route("header", &[], vec![header()]), route("method", &[], vec![get()])];
    assert_eq!(found(&routes, "http://h/").as_deref(), Some("method"));
}

#[test]
fn grpc_methods_are_paths_of_two_elements() {
    let grpc = |service: &str, method: &str| PathMatch::Grpc { service: service.into(), method: method.into() };
    let of = |name: &str, m| route(name, &[], vec![path(m)]);
    let routes = [of("any", grpc("", "")), of("service", grpc("a.B", "")), of("both", grpc("a.B", "C"))];
    let name = |uri| found_by(Method::POST, &routes, uri).unwrap_or_default();
    assert_eq!((name("http://h/a.B/C"), name("http://h/a.B/D")), ("both".into(), "service".into()));
    assert_eq!((name("http://h/x/C"), name("http://h/")), ("any".into(), String::new()));
    assert_eq!(found(&routes, "http://h/a.B/C"), None, "calls are posted");
}

#[test]
fn a_profiles_conditions_nest() {
    let get = Condition::Method(Method::GET);
    let path = |pattern| Condition::Path(whole_regex(pattern).expect("valid"));
    let not = Condition::Not(Box::new(path("/private/.*")));
    let condition = Condition::All(vec![get, not, Condition::Any(vec![path("/a"), path("/b.*")])]);
    let m = RequestMatch { condition: Some(condition), ..RequestMatch::default() };
    let routes = [route("profile", &[], vec![m])];
    assert!(found(&routes, "http://h/bcd").is_some() && found(&routes, "http://h/ab").is_none());
}

#[test]
fn hosts_lose_their_port_alone() {
    assert_eq!(without_port("h:80"), "h");
    assert_eq!(without_port("[::1]:80"), "[::1]");
    assert_eq!(without_port("[::1]"), "[::1]");
}

#[test]
fn names_are_found_by_the_best_match() {
    let lists = [vec![], vec![suffix("example.com")], vec![exact("a.example.com")]];
    let find = |name| find_by_name(lists.iter().map(Vec::as_slice), name);
    assert_eq!((find("a.example.com"), find("b.example.com"), find("x")), (Some(2), Some(1), Some(0)));
}

/// A generator of its own, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// Now and then.
    fn is(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    /// Of HTTP or of gRPC: never are both in one list.
    fn path_match(&mut self, is_grpc: bool) -> Option<PathMatch> {
        let path = self.pick(&["/", "/a", "/a/", "/a/b", "/a/b/", "/a//", "/s.A/M", "/s.A"]);
        let (service, method) = (self.pick(&["", "s.A", "a"]).into(), self.pick(&["", "M", "b"]).into());
        Some(match self.below(5) {
            0..4 if is_grpc => PathMatch::Grpc { service, method },
            0 => PathMatch::Exact(path.into()),
            1 | 2 => PathMatch::Prefix(path.into()),
            3 => PathMatch::Regex(whole_regex(self.pick(&["/a.*", "/.*/M", ".*", "/a/b", "/a|/s.A", "/ab?"])).unwrap()),
            _ => return None,
        })
    }

    fn value(&mut self) -> ValueMatch {
        match self.is(4) {
            true => ValueMatch::Regex(whole_regex("[12]").unwrap()),
            false => ValueMatch::Exact(self.pick(&["1", "2", "3"]).as_bytes().into()),
        }
    }

    fn request_match(&mut self, is_grpc: bool) -> RequestMatch {
        let path = self.path_match(is_grpc);
        let method = self.is(4).then(|| if self.is(2) { Method::GET } else { Method::POST });
        let mut headers = Vec::new();
        let mut query = Vec::new();
        while self.is(2) {
            headers.push((HeaderName::from_static(self.pick(&["x", "y"])), self.value()));
        }
        while self.is(3) {
            query.push((self.pick(&["p", "q"]).into(), self.value()));
        }
        let condition = self.is(6).then(|| self.condition(0));
        RequestMatch { path, method, headers, query, condition }
    }

    fn condition(&mut self, depth: usize) -> Condition {
        let list = |random: &mut Self| (0..random.below(3)).map(|_| random.condition(depth + 1)).collect();
        match self.below(if depth > 2 { 2 } else { 5 }) {
            0 => Condition::Path(whole_regex(self.pick(&["/a.*", "/a/b", "/s.A/M", ".*"])).unwrap()),
            1 => Condition::Method(Method::GET),
            2 => Condition::Not(Box::new(self.condition(depth + 1))),
            3 => Condition::Any(list(self)),
            _ => Condition::All(list(self)),
        }
    }

    fn routes(&mut self) -> Vec<Route<&'static str>> {
        let hosts = [exact("a.b"), exact("A.b.c"), suffix("b.c"), suffix("C"), HostMatch::Suffix(Box::default())];
        let mut routes = Vec::new();
        let is_grpc = self.is(3);
        for _ in 0..=self.below(12) {
            let mut route = route("", &[], vec![]);
            while self.is(2) {
                route.hosts.push(hosts[self.below(hosts.len())].clone());
            }
            route.rules.clear();
            for _ in 0..=self.below(6) {
                let matches = (0..self.below(4)).map(|_| self.request_match(is_grpc)).collect();
                route.rules.push(Rule { matches, policy: "" });
            }
            routes.push(route);
        }
        routes
    }

    fn request(&mut self) -> http::Request<()> {
        let host = self.pick(&["a.b", "a.b.c", "A.B.C", "x.a.b.c.", "b.c", "c", "z"]);
        let path = self.pick(&["/", "/a", "/a/", "/a/b", "/a/b/c", "/a//b", "/ab", "/s.A/M", "/s.A", "/a/M"]);
        let query = self.pick(&["", "?p=1", "?q=%32&p=3", "?q=2&q=1", "?p=2&p=1"]);
        let mut request = http::Request::get(format!("http://{host}{path}{query}")).body(()).unwrap();
        if self.is(2) {
            *request.method_mut() = Method::POST;
        }
        while self.is(2) {
            let value = self.pick(&["1", "2", "3"]);
            request.headers_mut().append(self.pick(&["x", "y"]), value.parse().unwrap());
        }
        request
    }
}

#[test]
fn the_index_finds_what_a_search_of_all_finds() {
    let mut random = Random(1);
    let mut matched = 0;
    for round in 0..3_000 {
        let routes = random.routes();
        let index = RouteIndex::new(&routes);
        for _ in 0..8 {
            let request = random.request();
            let expected = find(&routes, Request::new(&request));
            matched += usize::from(expected.is_some());
            assert_eq!(index.find(&routes, Request::new(&request)), expected, "{round}: {request:?} in {routes:#?}");
        }
    }
    assert!(matched > 5_000, "{matched}");
}

#[test]
fn one_of_a_thousand_is_found() {
    let of = |n| route("", &[], vec![path(PathMatch::Prefix(format!("/{n}").into()))]);
    let routes: Vec<_> = (0..1_000).map(of).collect();
    let index = RouteIndex::new(&routes);
    let request = http::Request::get("http://h/999/x").body(()).unwrap();
    assert_eq!(index.find(&routes, Request::new(&request)).map(|f| f.route), Some(999));
    // Names and paths longer than any that is known are not hashed.
    let long = http::Request::get(format!("http://h/{}", "/".repeat(60_000))).body(()).unwrap();
    assert_eq!(index.find(&routes, Request::new(&long)), None);
}
