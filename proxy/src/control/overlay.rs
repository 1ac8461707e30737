//! Our own fields of control-plane messages: the same messages with only fields numbered from 50000, which stock proxies and
//! control planes skip. `api/proto/tulle/overlay.proto` is their definition.

use linkerd2_proxy_api::http_route::ResponseHeaderModifier;
use std::fmt::Debug;

/// A message of our own fields; all absent is its default.
pub trait Overlay: prost::Message + Default + PartialEq + Debug + 'static {}

impl<T: prost::Message + Default + PartialEq + Debug + 'static> Overlay for T {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct InboundServer {
    /// What the control plane that sent this is, for logs and tests.
    #[prost(string, tag = "50000")]
    pub sender: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct OutboundPolicy {
    #[prost(string, tag = "50000")]
    pub sender: String,
    #[prost(message, repeated, tag = "50001")]
    pub http_rules: Vec<HttpRule>,
    #[prost(message, repeated, tag = "50002")]
    pub balancers: Vec<Balancer>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct DestinationProfile {
    #[prost(string, tag = "50000")]
    pub sender: String,
    #[prost(message, repeated, tag = "50001")]
    pub balancers: Vec<Balancer>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct DestinationUpdate {
    #[prost(string, tag = "50000")]
    pub sender: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct HttpRule {
    #[prost(uint32, tag = "1")]
    pub route: u32,
    #[prost(uint32, tag = "2")]
    pub rule: u32,
    #[prost(bool, tag = "3")]
    pub has_refusal: bool,
    #[prost(message, optional, tag = "4")]
    pub url_rewrite: Option<UrlRewrite>,
    #[prost(message, repeated, tag = "5")]
    pub mirrors: Vec<Mirror>,
    #[prost(message, optional, tag = "6")]
    pub session_persistence: Option<SessionPersistence>,
    #[prost(message, repeated, tag = "7")]
    pub backends: Vec<HttpBackend>,
    #[prost(message, repeated, tag = "8")]
    pub response_headers: Vec<ResponseHeaderModifier>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct HttpBackend {
    #[prost(uint32, tag = "1")]
    pub backend: u32,
    #[prost(bool, tag = "2")]
    pub has_refusal: bool,
    #[prost(message, optional, tag = "3")]
    pub url_rewrite: Option<UrlRewrite>,
    #[prost(message, repeated, tag = "4")]
    pub mirrors: Vec<Mirror>,
    #[prost(message, repeated, tag = "5")]
    pub response_headers: Vec<ResponseHeaderModifier>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct UrlRewrite {
    #[prost(string, tag = "1")]
    pub host: String,
    #[prost(oneof = "PathRewrite", tags = "2, 3")]
    pub path: Option<PathRewrite>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum PathRewrite {
    #[prost(string, tag = "2")]
    Full(String),
    #[prost(string, tag = "3")]
    Prefix(String),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Mirror {
    #[prost(string, tag = "1")]
    pub authority: String,
    #[prost(string, tag = "2")]
    pub group: String,
    #[prost(string, tag = "3")]
    pub kind: String,
    #[prost(string, tag = "4")]
    pub namespace: String,
    #[prost(string, tag = "5")]
    pub name: String,
    #[prost(uint32, tag = "6")]
    pub port: u32,
    #[prost(uint32, tag = "7")]
    pub numerator: u32,
    #[prost(uint32, tag = "8")]
    pub denominator: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SessionPersistence {
    #[prost(enumeration = "SessionKind", tag = "1")]
    pub kind: i32,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(uint64, tag = "3")]
    pub absolute_timeout_ms: u64,
    #[prost(uint64, tag = "4")]
    pub idle_timeout_ms: u64,
    #[prost(bool, tag = "5")]
    pub is_permanent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum SessionKind {
    Cookie = 0,
    Header = 1,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Balancer {
    #[prost(string, tag = "1")]
    pub path: String,
    #[prost(message, optional, tag = "2")]
    pub hash: Option<HashKey>,
    #[prost(double, tag = "3")]
    pub load_factor: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct HashKey {
    #[prost(oneof = "HashSource", tags = "1, 2, 3, 4")]
    pub source: Option<HashSource>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum HashSource {
    #[prost(string, tag = "1")]
    Header(String),
    #[prost(string, tag = "2")]
    Cookie(String),
    #[prost(string, tag = "3")]
    QueryParameter(String),
    #[prost(bool, tag = "4")]
    SourceAddress(bool),
}
