//! Who this proxy is: a key made in memory, certified by the identity service, and certified again before it expires.

use super::backoff::Attempts;
use super::client::Client;
use super::model::PeerId;
use super::model::outbound::Backoff;
use crate::BoxError;
use crate::config;
use crate::metrics::{Counter, Family, Gauge, Labels, Registry};
use crate::tls::{Credentials, Trust};
use linkerd2_proxy_api::identity::{CertifyRequest, CertifyResponse};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

const CERTIFY: &str = "/io.linkerd.proxy.identity.Identity/Certify";
/// An identity service that takes longer is asked again.
const CERTIFY_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// A certificate is renewed when this part of what was left of its life is over.
const REFRESH_AT: f64 = 0.7;

static EXPIRATION: Family = Family::gauge(
    "control_identity_cert_expiration_timestamp_seconds",
    "When the current certificate expires, in seconds since the epoch.",
);
static REFRESHED: Family = Family::gauge(
    "control_identity_cert_refresh_timestamp_seconds",
    "When the current certificate was received, in seconds since the epoch.",
);
static REFRESHES: Family =
    Family::counter("control_identity_cert_refreshes_total", "Certificates asked for, by result.");
static EXPIRATION_LEGACY: Family = Family::gauge(
    "identity_cert_expiration_timestamp_seconds",
    "When the current certificate expires, in seconds since the epoch.",
);
static REFRESHES_LEGACY: Family =
    Family::counter("identity_cert_refresh_count", "Certificates received from the identity service.");

/// The current certificate; clone it freely.
#[derive(Clone)]
pub struct Identity {
    local_id: Arc<PeerId>,
    server_name: Arc<str>,
    credentials: watch::Receiver<Option<Arc<Credentials>>>,
}

/// Publishes certificates; there is one.
pub type Publisher = watch::Sender<Option<Arc<Credentials>>>;

impl Identity {
    pub fn new(config: &config::Identity) -> (Self, Publisher) {
        let (publisher, credentials) = watch::channel(None);
        let local_id = Arc::new(PeerId::parse(&config.local_id));
        (Self { local_id, server_name: config.server_name.clone(), credentials }, publisher)
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

/// The key and the request for a certificate that goes with it. Neither changes while the proxy lives.
pub struct KeyAndRequest {
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) csr: Vec<u8>,
}

impl KeyAndRequest {
    /// Takes `key.p8` and `csr.der` of the folder when both are there, makes them in memory otherwise.
    pub fn load_or_make(local_id: &str, dir: &Path) -> Result<Self, BoxError> {
        let (key, csr) = (dir.join("key.p8"), dir.join("csr.der"));
        if !key.exists() || !csr.exists() {
            return Self::make(local_id);
        }
        let read = |path: &std::path::Path| std::fs::read(path).map_err(|e| format!("read {}: {e}", path.display()));
        let pair = Self { key: PrivatePkcs8KeyDer::from(read(&key)?).into(), csr: read(&csr)? };
        rustls::crypto::ring::sign::any_ecdsa_type(&pair.key)
            .map_err(|_| format!("read {}: not an ECDSA key in PKCS#8", key.display()))?;
        Ok(pair)
    }

    fn make(local_id: &str) -> Result<Self, BoxError> {
        use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, local_id);
        let name = local_id.try_into()?;
        params.subject_alt_names = vec![match PeerId::parse(&local_id.into()) {
            PeerId::Dns(_) => SanType::DnsName(name),
            PeerId::Uri(_) => SanType::URI(name),
        }];
        let csr = params.serialize_request(&key)?.der().to_vec();
        Ok(Self { key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(), csr })
    }
}

/// Keeps the certificate fresh for ever.
pub struct Renewal {
    pub config: config::IdentityService,
    pub local_id: PeerId,
    pub client: Client,
    pub trust: Arc<Trust>,
    pub pair: KeyAndRequest,
    pub publisher: Publisher,
    pub metrics: Registry,
}

impl Renewal {
    pub async fn run(self) {
        let counters = Counters::new(&self.metrics);
        let own = self.local_id.clone();
        let max = self.config.min_refresh.max(FIRST_RETRY);
        let mut attempts = Attempts::new(Backoff { min: FIRST_RETRY, max, jitter: 0.1, respect_retry_after: false });
        loop {
            let result = tokio::time::timeout(CERTIFY_TIMEOUT, self.certify(&own)).await;
            // Certificates are rare; a connection in between would only cost memory here and there.
            self.client.close().await;
            match result.unwrap_or_else(|_| Err("timed out".into())) {
                Ok(credentials) => {
                    attempts.reset();
                    let now = SystemTime::now();
                    counters.renewed(credentials.expiry, now);
                    let left = credentials.expiry.duration_since(now).unwrap_or_default();
                    log::debug!(target: "identity", "certified as {own} for {} s", left.as_secs());
                    self.publisher.send_replace(Some(Arc::new(credentials)));
                    let refresh = left.mul_f64(REFRESH_AT).clamp(self.config.min_refresh, self.config.max_refresh);
                    tokio::time::sleep(refresh).await;
                }
                Err(error) => {
                    counters.failed.incr();
                    log::warn!(target: "identity", "certify {own}: {error}");
                    attempts.wait().await;
                }
            }
        }
    }

    async fn certify(&self, own: &PeerId) -> Result<Credentials, BoxError> {
        let file = &self.config.token_file;
        let token = std::fs::read(file).map_err(|e| format!("read token {}: {e}", file.display()))?;
        let request = CertifyRequest {
            identity: own.as_str().to_owned(),
            token,
            certificate_signing_request: self.pair.csr.clone(),
        };
        let response: CertifyResponse = self.client.ask(CERTIFY, request).await.map_err(describe)?;
        let expiry = response
            .valid_until
            .and_then(|t| {
                let nanos = Duration::from_nanos(t.nanos.try_into().ok()?);
                UNIX_EPOCH.checked_add(Duration::from_secs(t.seconds.try_into().ok()?))?.checked_add(nanos)
            })
            .ok_or("the identity service did not say until when the certificate is valid")?;
        if expiry <= SystemTime::now() {
            return Err("the identity service sent a certificate that has expired".into());
        }
        let chain = std::iter::once(response.leaf_certificate).chain(response.intermediate_certificates);
        let chain = chain.map(CertificateDer::from).collect();
        Ok(self.trust.credentials(own, chain, &self.pair.key, expiry)?)
    }
}

fn describe(status: tonic::Status) -> BoxError {
    super::describe(&status).into()
}

pub(super) struct Counters {
    expiration: [Gauge; 2],
    refreshed: Gauge,
    refreshes: [Counter; 2],
    pub failed: Counter,
}

impl Counters {
    pub fn new(metrics: &Registry) -> Self {
        let of = |family| metrics.gauge(family, Labels::new());
        Self {
            expiration: [of(&EXPIRATION), of(&EXPIRATION_LEGACY)],
            refreshed: of(&REFRESHED),
            refreshes: [
                metrics.counter(&REFRESHES, Labels::new().with("result", "ok")),
                metrics.counter(&REFRESHES_LEGACY, Labels::new()),
            ],
            failed: metrics.counter(&REFRESHES, Labels::new().with("result", "error")),
        }
    }

    pub fn renewed(&self, expiry: SystemTime, now: SystemTime) {
        let seconds = |t: SystemTime| t.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
        self.expiration.iter().for_each(|gauge| gauge.set(seconds(expiry)));
        self.refreshed.set(seconds(now));
        self.refreshes.iter().for_each(Counter::incr);
    }
}
