//! What the tests stand on.
#![allow(dead_code, reason = "each part serves some of the tests")]

pub mod authority;
pub mod control_plane;
pub mod inbound;
pub mod isolation;
pub mod network;
pub mod policy;
pub mod proxy;
pub mod replica;
pub mod script;
mod topic;
