//! What is known of original destinations: profile and policy asked for in parallel, merged into one outbound policy.

use super::decode::{self, profile::Profile};
use super::merge::{Answer, merge};
use super::model::outbound::{Policy, Queue};
use super::overlay;
use super::stream::{Follow, Heard};
use linkerd2_proxy_api::destination::{DestinationProfile, GetDestination};
use linkerd2_proxy_api::outbound::{OutboundPolicy, TrafficSpec};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tonic::Code;

pub const GET_PROFILE: &str = "/io.linkerd.proxy.destination.Destination/GetProfile";
pub const WATCH: &str = "/io.linkerd.proxy.outbound.OutboundPolicies/Watch";

/// What traffic is looked up by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    Addr(SocketAddr),
    /// `name:port`, where an application or gateway names its destination.
    Name(Arc<str>),
}

/// What is known of one destination. Hold it as long as it is in use: it is forgotten after
/// OUTBOUND_DISCOVERY_IDLE_TIMEOUT without a holder.
#[derive(Debug)]
pub struct OutboundTarget {
    pub destination: Destination,
    pub policy: watch::Receiver<Arc<Policy>>,
}

/// The control plane refused to say anything about a destination; the connection must be closed.
#[derive(Clone, Debug)]
pub struct DiscoveryError(pub Arc<str>);

#[derive(Clone, Debug)]
pub(super) enum State {
    /// Nobody is kept from waiting: without an answer there is no way to go.
    Waiting,
    Known(Arc<OutboundTarget>),
    Refused(DiscoveryError),
}

pub(super) struct Lookup {
    pub destination: Destination,
    /// `None` where profiles are not to be asked for.
    pub profile: Option<Follow<GetDestination>>,
    pub policy: Follow<TrafficSpec>,
    pub queue: Queue,
    pub state: Arc<watch::Sender<State>>,
}

impl Lookup {
    pub async fn run(self) {
        let Self { destination, profile, policy, queue, state } = self;
        let heard = Mutex::new(Merger { destination, queue, profile: None, answer: None, publisher: None, state });
        if profile.is_none() {
            super::lock(&heard).profile = Some(Profile::default());
        }
        let profiles = async {
            let Some(follow) = profile else { return };
            let hear = |h: Heard<DestinationProfile, overlay::DestinationProfile>| {
                super::lock(&heard).set_profile(decode::profile::profile(h.message, &h.overlay));
            };
            let status = follow.run(hear).await;
            log::debug!(target: "destination", "no profile: {}", super::describe(&status));
            super::lock(&heard).set_profile(Profile::default());
        };
        let policies = async {
            let hear = |h: Heard<OutboundPolicy, overlay::OutboundPolicy>| {
                let decoded = decode::outbound::policy(h.message).and_then(|mut policy| {
                    decode::http_rules::apply(&mut policy, &h.overlay.http_rules)?;
                    decode::hash::apply(&mut policy, &h.overlay.balancers)?;
                    Ok(policy)
                });
                let answer = match decoded {
                    Ok(policy) => Answer::Policy(policy),
                    Err(error) => Answer::Invalid(error.to_string().into()),
                };
                super::lock(&heard).set_answer(answer);
            };
            let status = policy.run(hear).await;
            let mut merger = super::lock(&heard);
            match status.code() {
                Code::NotFound | Code::Unimplemented => merger.set_answer(Answer::Absent),
                _ => merger.refuse(super::describe(&status).into()),
            }
        };
        tokio::join!(profiles, policies);
        // Final answers stay for as long as anybody holds the target.
        std::future::pending().await
    }
}

struct Merger {
    destination: Destination,
    queue: Queue,
    profile: Option<Profile>,
    answer: Option<Answer>,
    publisher: Option<watch::Sender<Arc<Policy>>>,
    state: Arc<watch::Sender<State>>,
}

impl Merger {
    fn set_profile(&mut self, profile: Profile) {
        self.profile = Some(profile);
        self.publish();
    }

    fn set_answer(&mut self, answer: Answer) {
        self.answer = Some(answer);
        self.publish();
    }

    fn refuse(&mut self, why: Arc<str>) {
        log::warn!(target: "policy", "{:?}: {why}", self.destination);
        // Whoever has an answer keeps it.
        if self.publisher.is_none() {
            self.state.send_replace(State::Refused(DiscoveryError(why)));
        }
    }

    fn publish(&mut self) {
        let (Some(profile), Some(answer)) = (&self.profile, &self.answer) else { return };
        let policy = Arc::new(merge(&self.destination, profile, answer, self.queue));
        match &self.publisher {
            Some(publisher) => {
                publisher.send_replace(policy);
            }
            None => {
                let (publisher, policy) = watch::channel(policy);
                let target = OutboundTarget { destination: self.destination.clone(), policy };
                self.state.send_replace(State::Known(Arc::new(target)));
                self.publisher = Some(publisher);
            }
        }
    }
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DiscoveryError {}
