//! The Tulle proxy.

pub mod dns;
