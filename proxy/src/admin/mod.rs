//! The admin server: readiness, liveness, metrics, log level, shutdown. It is a port of the pod like any other: over mesh TLS
//! or without, HTTP/1 or HTTP/2, and under its port's policy.

mod answers;
mod gzip;
mod server;

pub use server::Admin;
