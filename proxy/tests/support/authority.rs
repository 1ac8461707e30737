//! A certificate authority as an identity service has it: a trust anchor, and an issuer below it that signs leaves.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    server::WebPkiClientVerifier,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

pub const TRANSPORT_ALPN: &[u8] = b"transport.l5d.io/v1";
/// Clocks of one machine: certificates hold from a little earlier.
const BACKDATE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);

pub struct Authority {
    pub anchor_pem: String,
    anchor: CertificateDer<'static>,
    pub issuer_der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate's chain and key.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// The public key of a CSR: an uncompressed point on P-256.
struct RequestedKey(Vec<u8>);

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl Authority {
    pub fn new() -> Self {
        let anchor_key = KeyPair::generate().unwrap();
        let anchor_params = authority_params("root.linkerd.cluster.local");
        let anchor = anchor_params.self_signed(&anchor_key).unwrap();
        let anchor_issuer = Issuer::new(anchor_params, anchor_key);
        let issuer_key = KeyPair::generate().unwrap();
        let issuer_params = authority_params("identity.linkerd.cluster.local");
        let issuer_cert = issuer_params.signed_by(&issuer_key, &anchor_issuer).unwrap();
        Self {
            anchor_pem: anchor.pem(),
            anchor: anchor.der().clone(),
            issuer_der: issuer_cert.der().clone(),
            issuer: Issuer::new(issuer_params, issuer_key),
        }
    }

    /// The leaf for a CSR's key under `name`, good for `lifetime` from now.
    pub fn sign(&self, csr_der: &[u8], name: &str, lifetime: Duration) -> CertificateDer<'static> {
        // A BIT STRING of an uncompressed point; nothing else in such a request begins like this.
        let at = csr_der.windows(4).position(|bytes| bytes == [3, 0x42, 0, 4]).expect("a CSR with a P-256 key");
        let key = RequestedKey(csr_der[at + 3..at + 68].to_vec());
        leaf_params(name, lifetime).signed_by(&key, &self.issuer).unwrap().der().clone()
    }

    pub fn issue(&self, name: &str) -> Identity {
        self.issue_for(leaf_params(name, HOUR))
    }

    pub fn issue_expired(&self, name: &str) -> Identity {
        let mut params = leaf_params(name, HOUR);
        params.not_before = (SystemTime::now() - 2 * HOUR).into();
        params.not_after = (SystemTime::now() - HOUR).into();
        self.issue_for(params)
    }

    /// A leaf whose identity is a URI, and that has a DNS name besides.
    pub fn issue_uri(&self, uri: &str, name: &str) -> Identity {
        let mut params = leaf_params(name, HOUR);
        params.subject_alt_names.insert(0, rcgen::SanType::URI(uri.try_into().unwrap()));
        self.issue_for(params)
    }

    fn issue_for(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            chain: vec![leaf.der().clone(), self.issuer_der.clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.anchor.clone()).unwrap();
        Arc::new(roots)
    }

    /// Asks for a client certificate, and does without.
    pub fn server_config(&self, identity: Identity, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider()).allow_unauthenticated();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(identity.chain, identity.key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    pub fn client_config(&self, identity: Option<Identity>, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match identity {
            Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn params(name: &str, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (SystemTime::now() - BACKDATE).into();
    params.not_after = (SystemTime::now() + lifetime).into();
    params
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(name, 24 * HOUR);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(name: &str, lifetime: Duration) -> CertificateParams {
    let mut params = params(name, lifetime);
    params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}
