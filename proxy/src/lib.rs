//! The Tulle proxy: the byte path of the mesh. `app` starts it, `control` knows what the control plane says,
//! `inbound` and `outbound` carry the traffic; `init` and `await` are the pod's set-up.

pub mod admin;
pub mod app;
mod arguments;
pub mod await_ready;
pub mod balance;
pub mod config;
pub mod control;
mod dial;
pub mod dns;
pub mod drain;
pub mod http;
mod idle_cache;
pub mod inbound;
pub mod init;
pub mod log_limit;
pub mod logging;
pub mod metrics;
pub mod outbound;
mod system;
pub mod tls;
pub mod transport;
mod workers;
mod x509;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
