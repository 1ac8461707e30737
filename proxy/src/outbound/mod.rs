//! What the application sends: each connection's original destination is looked up, its protocol recognised, and its
//! requests or bytes carried to an endpoint, over mesh TLS where the endpoint has an identity.

mod context;
mod serve;
mod target;

mod backend;
mod endpoint;
mod failed;
mod hash_key;
mod http;
mod ingress;
mod router;

mod attempts;
mod budget;
mod mirror;
mod plan;
mod session;

mod opaque;

mod named;

mod metrics;
mod metrics_balancer;
mod metrics_plan;
mod metrics_profile;

pub use context::Context;
pub use metrics_profile::route_stats;
pub use named::{Named, NamedDestination};
pub use serve::serve;
