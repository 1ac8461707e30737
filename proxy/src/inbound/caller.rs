//! A client and the application that its HTTP connection is to: whether what it has been allowed goes on being so.

use super::{app::App, client::Client, metrics::Events};
use crate::{
    control::model::{
        inbound::{HttpPolicy, ServerPolicy},
        route,
    },
    http::permission::{Authority, Changes, Head, Permission},
    metrics::Registry,
};
use http::{HeaderMap, Request};
use std::sync::Arc;

pub struct Caller {
    pub registry: Registry,
    pub app: Arc<App>,
    pub client: Client,
}

impl Caller {
    pub fn events<'a>(&'a self, policy: &'a ServerPolicy) -> Events<'a> {
        Events { registry: &self.registry, addr: self.app.addr, policy }
    }

    /// What a request that `policy` lets in goes on by. `seen` is the number of changes from before.
    pub fn permission<B>(self: &Arc<Self>, request: &Request<B>, policy: &ServerPolicy, seen: u64) -> Permission {
        let asks_headers = request.uri().host().is_none() || policy.http().is_some_and(|http| http.asks_headers);
        Permission::new(self.clone(), Head::new(request, asks_headers), seen)
    }

    fn allows_by(&self, rule: &HttpPolicy) -> bool {
        rule.check(self.client.addr.ip(), self.client.tls()).is_some()
    }
}

impl Authority for Caller {
    fn allows(&self, head: &Head) -> bool {
        let policy = self.app.policy();
        let Some(http) = policy.http() else {
            // A connection that would pass as bytes now may go on as what it is.
            let is_allowed = policy.check(self.client.addr.ip(), self.client.tls()).is_some();
            if !is_allowed {
                self.events(&policy).http_terminated(&self.client, None);
            }
            return is_allowed;
        };
        let none = HeaderMap::new();
        let headers = head.headers.as_deref().unwrap_or(&none);
        let request = route::Request::of(&head.method, &head.uri, headers);
        let rule = http.find(request).map(|(_, rule)| rule);
        let is_allowed = rule.is_some_and(|rule| self.allows_by(rule))
            // Rules that ask for headers which were not kept may be the request's.
            && (head.headers.is_some() || http.if_headers_match(request).all(|rule| self.allows_by(rule)));
        if !is_allowed {
            self.events(&policy).http_terminated(&self.client, rule);
        }
        is_allowed
    }

    fn changes(&self) -> &Changes {
        &self.app.changes
    }
}
