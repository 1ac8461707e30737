//! Who this proxy is: a key made in memory, certified by the identity service, and certified again before it expires.

use crate::config;
use crate::control::model::PeerId;
use crate::tls::Credentials;
use std::sync::Arc;
use tokio::sync::watch;

/// The current certificate; clone it freely.
#[derive(Clone)]
pub struct Identity {
    local_id: Arc<PeerId>,
    server_name: Arc<str>,
    credentials: watch::Receiver<Option<Arc<Credentials>>>,
}

impl Identity {
    pub fn new(config: &config::Identity, credentials: watch::Receiver<Option<Arc<Credentials>>>) -> Self {
        let id = config.local_id.clone();
        let local_id = if id.starts_with("spiffe://") { PeerId::Uri(id) } else { PeerId::Dns(id) };
        Self { local_id: Arc::new(local_id), server_name: config.server_name.clone(), credentials }
    }

    /// `None` until the first certificate is there.
    pub fn credentials(&self) -> Option<Arc<Credentials>> {
        self.credentials.borrow().clone()
    }

    /// Resolves once the first certificate is there.
    pub async fn ready(&self) {
        let mut credentials = self.credentials.clone();
        let _ = credentials.wait_for(Option::is_some).await;
    }

    pub fn local_id(&self) -> &PeerId {
        &self.local_id
    }

    /// The TLS name by which peers ask for this proxy.
    pub fn server_name(&self) -> &str {
        &self.server_name
    }
}
