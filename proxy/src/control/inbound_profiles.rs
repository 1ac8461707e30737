//! ServiceProfiles of the names that inbound requests are for: their routes are what is counted and what says which
//! responses are failures.

use super::decode;
use super::model::profile::ProfileRoute;
use super::model::route::{Condition, Request};
use super::overlay;
use super::stream::{Follow, Heard};
use linkerd2_proxy_api::destination::{DestinationProfile, GetDestination};
use std::sync::Arc;
use tokio::sync::watch;

/// Requests may be for any name that a client thinks of; beyond so many at once there is no profile.
pub(super) const NAMES_MAX: usize = 256;

/// What a profile says to the server's side.
#[derive(Debug, Default)]
pub struct InboundProfile {
    /// `name:port`; without it there is nothing to count under.
    pub logical: Option<Arc<str>>,
    routes: Vec<(Condition, Arc<ProfileRoute>)>,
}

/// `None` until the control plane has answered.
pub type InboundProfileWatch = watch::Receiver<Option<Arc<InboundProfile>>>;

pub(super) type Publisher = watch::Sender<Option<Arc<InboundProfile>>>;

impl InboundProfile {
    fn new(profile: decode::profile::Profile, port: &str) -> Self {
        let routes = profile.routes.into_iter().map(|r| (r.condition, r.route));
        Self { logical: profile.name.map(|name| format!("{name}:{port}").into()), routes: routes.collect() }
    }

    /// The first route that a request fits, and its position.
    pub fn find(&self, request: Request<'_>) -> Option<(usize, &Arc<ProfileRoute>)> {
        let at = self.routes.iter().position(|(condition, _)| condition.matches(request))?;
        Some((at, &self.routes[at].1))
    }
}

pub(super) async fn run(follow: Follow<GetDestination>, profile: Arc<Publisher>) {
    let path = follow.request.path.clone();
    let port = path.rsplit_once(':').map_or("80", |(_, port)| port);
    let status = follow
        .run(|heard: Heard<DestinationProfile, overlay::DestinationProfile>| {
            let next = InboundProfile::new(decode::profile::profile(heard.message, &heard.overlay), port);
            profile.send_replace(Some(Arc::new(next)));
        })
        .await;
    log::debug!(target: "destination", "no profile of {path}: {}", super::describe(&status));
    profile.send_replace(Some(Arc::default()));
    profile.closed().await;
}
