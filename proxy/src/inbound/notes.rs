//! What the log says about authorizations: who was refused, and who was let in only to be watched.

use super::client::Client;
use crate::{control::model::inbound::Authz, log_limit::LogLimit, metrics::Labels};
use std::{fmt::Display, time::Instant};

/// Enough to see who comes; a flood is told by its number.
const LINES_PER_SECOND_MAX: u32 = 10;

static DENIED: LogLimit = LogLimit::per_second(LINES_PER_SECOND_MAX);
static AUDITED: LogLimit = LogLimit::per_second(LINES_PER_SECOND_MAX);

/// `what` was refused: a request or a connection, under a server and route with these labels.
pub fn denied(what: impl Display, client: &Client, labels: &Labels) {
    if log::log_enabled!(target: "inbound", log::Level::Info)
        && let Some(left_out) = DENIED.admit(Instant::now())
    {
        let (from, labels) = (From(client), labels.as_str());
        log::info!(target: "inbound", "{what} denied: {from},{labels},left_out={left_out}");
    }
}

/// `what` was allowed by an authorization that is there to see who comes.
pub fn audited(what: impl Display, client: &Client, labels: &Labels, authz: &Authz) {
    if log::log_enabled!(target: "inbound", log::Level::Info)
        && let Some(left_out) = AUDITED.admit(Instant::now())
    {
        let (from, labels, authz) = (From(client), labels.as_str(), authz.labels.as_str());
        log::info!(target: "inbound", "{what} allowed: {from},{labels},{authz},left_out={left_out}");
    }
}

struct From<'a>(&'a Client);

impl Display for From<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "client_ip={}", self.0.addr.ip().to_canonical())?;
        match self.0.id() {
            Some(id) => write!(f, ",client_id={:?}", id.as_str()),
            None => Ok(()),
        }
    }
}
