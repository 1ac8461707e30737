//! What the control plane said, as immutable values: parsed once, shared by `Arc`, replaced as a whole.
//! Wire types stop here.

pub mod authz;
pub mod endpoint;
pub mod filter;
pub mod inbound;
pub mod meta;
pub mod outbound;
pub mod profile;
pub mod route;

pub use endpoint::{Endpoint, EndpointSet, PeerId, PeerIdentity};
pub use meta::Meta;
