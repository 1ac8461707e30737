//! The Tulle proxy.

mod arguments;
pub mod await_ready;
pub mod dns;
pub mod init;
mod system;
