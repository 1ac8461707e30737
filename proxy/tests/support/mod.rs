//! What the tests stand on.
#![allow(dead_code, reason = "each part serves some of the tests")]

pub mod isolation;
pub mod network;
