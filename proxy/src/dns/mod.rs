//! A small stub resolver: A, AAAA and SRV over UDP, then TCP when the answer was cut short.
//!
//! The proxy is a static binary, so libc's resolver is out of reach, and it only ever asks for the few names of its control
//! plane. Nothing is cached here and no socket outlives a question; the caller honours the TTL that comes with the answer.

mod message;
mod resolver;
mod system;

pub use resolver::{Error, Resolved, Resolver, Source};
