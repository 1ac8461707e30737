//! What comes to the application: mesh TLS is taken where it is meant for this proxy, the port's policy decides who
//! may pass, and requests or bytes go to the application on the same address.

mod client;
mod context;
mod direct;
mod gateway;
mod serve;

mod app;
mod caller;
mod http;
mod patience;
mod tcp;

mod metrics;
mod notes;
mod own_port;
mod profiles;
mod rate_limit;

pub use context::Context;
pub use own_port::{judge, sensor};
pub use serve::{MeshAccepted, accept_mesh, serve};
