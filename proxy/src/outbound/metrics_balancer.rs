//! What is counted about outbound balancers, by the kind of traffic that they take.

use super::backend::BackendRef;
use crate::metrics::{BalancerFamilies, Labels, balancer_families};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BalancerKind {
    Http,
    Tcp,
    Tls,
}

impl BalancerKind {
    pub fn families(self) -> &'static BalancerFamilies {
        match self {
            Self::Http => balancer_families!("outbound_http_balancer", "an endpoint"),
            Self::Tcp => balancer_families!("outbound_tcp_balancer", "an endpoint"),
            Self::Tls => balancer_families!("outbound_tls_balancer", "an endpoint"),
        }
    }
}

pub fn labels(backend: &BackendRef<'_>) -> Labels {
    let path = backend.path();
    let labels = backend.parent.parent_labels().join(&backend.backend.meta.backend_labels());
    labels.with("logical", &path).with("concrete", &path)
}
