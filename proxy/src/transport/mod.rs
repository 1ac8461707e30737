//! Connections: how they are accepted, recognised, secured, made, counted and copied.

pub mod listen;
pub mod orig_dst;

mod buffers;
mod client_hello;
pub mod detect;
pub mod failure;
pub mod header;
mod peek;

pub mod accept_tls;
pub mod connect;
pub mod copy;
pub mod sensor;
pub mod stream;

pub use stream::Stream;
