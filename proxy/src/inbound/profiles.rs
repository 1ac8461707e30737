//! The ServiceProfile of the name that a request is for: how the request is counted, and which responses are failures.

use super::context::Context;
use crate::{
    control::{InboundProfile, InboundProfileWatch, model::profile::ProfileRoute, model::route},
    http::{headers, stats::RequestStats},
    idle_cache::IdleCache,
    outbound::route_stats,
};
use http::{HeaderName, Request, header::HOST};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

const DEFAULT_PORT: u16 = 80;

/// One worker's profiles.
pub struct Profiles(Arc<IdleCache<Arc<str>, Profiled>>);

/// The profile of one name.
pub struct Profiled {
    watch: InboundProfileWatch,
    /// Until when a request waits for the first answer.
    patience: Instant,
    known: Mutex<Known>,
}

/// The counters of the profile that was in force last, by route; the one without a number is for all others.
#[derive(Default)]
struct Known {
    profile: Arc<InboundProfile>,
    stats: HashMap<Option<usize>, Arc<RequestStats>>,
}

/// What the profile says of one request.
pub struct Profile {
    pub stats: Arc<RequestStats>,
    pub route: Option<Arc<ProfileRoute>>,
}

/// The profile of the name that a connection's last request was for: mostly all are for one.
pub type Memo = Mutex<Option<(Box<str>, Option<Arc<Profiled>>)>>;

impl Profiles {
    pub fn new(idle: Duration) -> Self {
        Self(IdleCache::new(idle))
    }

    /// What the profile of the name that a request is for says of it, if there is one. Waits for an answer that nobody
    /// has waited for yet, but not for long.
    pub async fn find<B>(
        &self,
        context: &Context,
        memo: &Memo,
        request: &Request<B>,
        is_meshed: bool,
    ) -> Option<Profile> {
        let profiled = {
            let name = name(request, is_meshed)?;
            let mut memo = memo.lock().unwrap_or_else(PoisonError::into_inner);
            match &*memo {
                Some((known, profiled)) if **known == *name => profiled.clone(),
                _ => {
                    let profiled = self.look_up(context, name);
                    *memo = Some((name.into(), profiled.clone()));
                    profiled
                }
            }
        }?;
        profiled.of(context, request).await
    }

    fn look_up(&self, context: &Context, name: &str) -> Option<Arc<Profiled>> {
        let host = route::without_port(name);
        let port = name[host.len()..].strip_prefix(':').map_or(Some(DEFAULT_PORT), |port| port.parse().ok())?;
        let path: Arc<str> = format!("{}:{port}", host.trim_end_matches('.').to_ascii_lowercase()).into();
        if let Some(profiled) = self.0.get(&path) {
            return Some(profiled);
        }
        let watch = context.control.inbound_profile(&path)?;
        let patience = Instant::now() + context.config.inbound.profile_timeout;
        Some(self.0.get_or_insert(path, || Arc::new(Profiled { watch, patience, known: Mutex::default() })))
    }
}

impl Profiled {
    async fn of<B>(&self, context: &Context, request: &Request<B>) -> Option<Profile> {
        let profile = self.profile().await?;
        let logical = profile.logical.as_ref()?;
        let found = profile.find(route::Request::new(request));
        let (at, route) = found.map_or((None, None), |(at, route)| (Some(at), Some(route)));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&known.profile, &profile) {
            *known = Known { profile: profile.clone(), stats: HashMap::new() };
        }
        let stats = known
            .stats
            .entry(at)
            .or_insert_with(|| route_stats(&context.metrics, "inbound", logical, route.map(|r| &**r)));
        Some(Profile { stats: stats.clone(), route: route.cloned() })
    }

    async fn profile(&self) -> Option<Arc<InboundProfile>> {
        if let Some(profile) = &*self.watch.borrow() {
            return Some(profile.clone());
        }
        let mut watch = self.watch.clone();
        let answer = timeout_at(self.patience, watch.wait_for(Option::is_some)).await.ok()?.ok()?;
        answer.clone()
    }
}

/// What the client's proxy says that the request is for, or else what the request says.
fn name<B>(request: &Request<B>, is_meshed: bool) -> Option<&str> {
    let header = |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let canonical = header(&headers::L5D_DST_CANONICAL).filter(|_| is_meshed);
    canonical.or_else(|| request.uri().authority().map(|a| a.as_str())).or_else(|| header(&HOST))
}
