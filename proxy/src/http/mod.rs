//! HTTP as the data path speaks it: connections served, requests sent, one body type, one table of errors.

mod body;
pub mod classify;
pub mod error;
pub mod filters;
pub mod headers;

mod keep_alive;
pub mod limit;
pub mod permission;
mod pump;
pub mod server;
pub mod upgrade;

pub mod h1_client;
pub mod h2_client;
pub mod retry_after;
pub mod send;

pub mod access_log;
pub mod stats;
pub mod tape;
pub mod timeouts;
pub mod track;

pub use body::Body;
pub use error::{BodyError, Error};
