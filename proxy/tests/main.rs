//! The proxy alone, as a process: the built binary between real sockets and a control plane that the tests play.
//!
//! Each test that needs a pod's network runs again as a child in network namespaces of its own (see `support::isolation`),
//! so tests share nothing and may run at the same time.

mod authorization;
mod await_ready;
mod balancing;
mod breakers;
mod control_plane;
mod edges;
mod egress;
mod features;
mod filters;
mod gateway;
mod hashing;
mod inbound_policy;
mod inbound_routes;
mod ingress;
mod init;
mod mesh;
mod metrics;
mod profiles;
mod rate_limit;
mod retries;
mod revocation;
mod routes;
mod scaling;
mod spire;
mod start;
mod streams;
mod support;
mod timeouts;
mod wire;
