//! Request-level load balancing: power of two choices among a balancer's endpoints, by peak EWMA of their latency and
//! the requests that wait for them.

mod backoff;
mod balancer;
mod load;
mod random;

pub use backoff::Backoff;
pub use balancer::{Balancer, Member, Peer, PickError, Settings};
pub use load::{Load, Pending};
pub use random::random_below;
