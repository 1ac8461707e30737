//! Our own fields of control-plane messages: the same messages with only fields numbered from 50000, which stock proxies and
//! control planes skip. `api/proto/tulle/overlay.proto` is their definition.

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
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct DestinationProfile {
    #[prost(string, tag = "50000")]
    pub sender: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct DestinationUpdate {
    #[prost(string, tag = "50000")]
    pub sender: String,
}
