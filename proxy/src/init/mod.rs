//! The `init` sub-command (also started as `linkerd2-proxy-init`): redirects a pod's TCP connections to the proxy.
//!
//! It takes linkerd2-proxy-init's flags and gives the same result, but writes the rules itself, as nftables over netlink in
//! one transaction, so that the image needs no iptables and a second run replaces the first.

mod command;
mod netlink;
mod options;
mod rules;

pub use command::run;
