//! Request-level load balancing: power of two choices among a balancer's endpoints, by peak EWMA of their latency and
//! the requests that wait for them, or by a key of the request; breakers that take failing endpoints out.

mod balancer;
mod hash;
mod load;
mod member;
mod random;

mod pool;

mod breaker;
mod success_rate;

pub use balancer::{Balancer, PickError};
pub use breaker::Outcome;
pub use hash::hash;
pub use load::{Load, Pending};
pub use member::{Member, Peer, Picked};
pub use pool::{Permit, Pool, Settings};
pub use random::random_below;
