//! What a route does to a request or response on its way.

use http::{HeaderName, HeaderValue, StatusCode};

#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Answers `status` for `ratio` of the requests.
    InjectHttpFailure {
        status: StatusCode,
        message: Box<str>,
        ratio: Ratio,
    },
    InjectGrpcFailure {
        code: u16,
        message: Box<str>,
        ratio: Ratio,
    },
    RequestHeaders(HeaderChanges),
    ResponseHeaders(HeaderChanges),
    Redirect(Redirect),
    Rewrite(Rewrite),
    /// A filter kind that this proxy does not know: requests fail with 500.
    Unknown,
}

/// Applied in this order: remove, set, add.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderChanges {
    pub remove: Vec<HeaderName>,
    pub set: Vec<(HeaderName, HeaderValue)>,
    pub add: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    pub scheme: Option<http::uri::Scheme>,
    /// The request's own when absent.
    pub host: Option<Box<str>>,
    pub port: Option<u16>,
    pub path: Option<PathRewrite>,
    pub status: StatusCode,
}

impl Redirect {
    /// Whether it names no other place: the status alone is what its author wants.
    pub fn is_status_only(&self) -> bool {
        self.scheme.is_none() && self.host.is_none() && self.port.is_none() && self.path.is_none()
    }
}

/// Changes where a request says it goes, not where it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewrite {
    /// The request's own when absent.
    pub host: Option<http::uri::Authority>,
    pub path: Option<PathRewrite>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PathRewrite {
    Full(Box<str>),
    /// Replaces the prefix that the route's match matched; empty: takes it away.
    Prefix(Box<str>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    pub numerator: u32,
    pub denominator: u32,
}

/// What layer-4 routes can have.
#[derive(Clone, Debug, PartialEq)]
pub enum ConnectionFilter {
    Forbidden,
    Invalid(Box<str>),
}

impl HeaderChanges {
    pub fn apply(&self, headers: &mut http::HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }
}
