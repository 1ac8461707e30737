//! From wire types to the model. Whatever a peer sends is either understood, or an `Invalid` that says why.

mod endpoint;
mod filter;
pub mod hash;
pub mod http_rules;
pub mod inbound;
pub mod outbound;
pub mod profile;
mod route;
#[cfg(test)]
mod tests;

pub use endpoint::{endpoint, endpoints, socket_addr};

use super::model::Meta;
use linkerd2_proxy_api::meta;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

impl Invalid {
    pub fn missing(what: &str) -> Self {
        Self(format!("{what} is missing"))
    }

    pub fn bad(what: &str, why: impl std::fmt::Display) -> Self {
        Self(format!("bad {what}: {why}"))
    }

    /// Says in which field it is; called from the inside out: `routes[0].rules[1]: bad header name: "é"`.
    pub fn within(self, field: impl std::fmt::Display) -> Self {
        match self.0.split_once(": ") {
            Some((path, _)) if path.ends_with(']') => Self(format!("{field}.{}", self.0)),
            _ => Self(format!("{field}: {}", self.0)),
        }
    }
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Decodes a list; what is wrong in it says at which place.
pub fn each<W, T, C: FromIterator<T>>(
    field: &str,
    list: impl IntoIterator<Item = W>,
    one: impl Fn(W) -> Result<T, Invalid>,
) -> Result<C, Invalid> {
    let place = |(at, wire)| one(wire).map_err(|error| error.within(format_args!("{field}[{at}]")));
    list.into_iter().enumerate().map(place).collect()
}

pub fn meta(wire: Option<meta::Metadata>) -> Result<Meta, Invalid> {
    match wire.and_then(|m| m.kind) {
        Some(meta::metadata::Kind::Default(name)) => Ok(Meta::default_named(&name)),
        Some(meta::metadata::Kind::Resource(r)) => Ok(Meta {
            group: r.group.into(),
            kind: r.kind.into(),
            namespace: r.namespace.into(),
            name: r.name.into(),
            section: r.section.into(),
            // For labels alone: what is no port is none.
            port: u16::try_from(r.port).unwrap_or_default(),
        }),
        None => Err(Invalid::missing("metadata")),
    }
}

/// Longer than anything lasts, and short enough to be added to any time.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A duration that must not be negative.
pub fn duration(what: &str, wire: prost_types::Duration) -> Result<Duration, Invalid> {
    let duration: Duration = wire.try_into().map_err(|_| Invalid::bad(what, "negative or out of range"))?;
    Ok(duration.min(DURATION_MAX))
}

pub fn optional_duration(what: &str, wire: Option<prost_types::Duration>) -> Result<Option<Duration>, Invalid> {
    wire.map(|d| duration(what, d)).transpose()
}

pub fn required_duration(what: &str, wire: Option<prost_types::Duration>) -> Result<Duration, Invalid> {
    duration(what, wire.ok_or_else(|| Invalid::missing(what))?)
}
