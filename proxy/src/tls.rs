//! Mesh TLS: TLS 1.3 only, ECDSA P-256 leaves, identities by SAN and not by host name. Configurations are built once per
//! certificate; there is no resumption.

use crate::control::model::{PeerId, PeerIdentity};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, CommonState, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// What a client offers, and the server selects, where a transport header follows.
pub const TRANSPORT_ALPN: &[u8] = b"transport.l5d.io/v1";

/// Everything that one certificate makes possible.
#[derive(Debug)]
pub struct Credentials {
    /// For connections whose original destination is an application port.
    pub server: Arc<ServerConfig>,
    /// For connections to the proxy's own port: selects `TRANSPORT_ALPN`.
    pub server_alpn: Arc<ServerConfig>,
    pub client: Arc<ClientConfig>,
    /// Offers `TRANSPORT_ALPN`.
    pub client_alpn: Arc<ClientConfig>,
    pub expiry: SystemTime,
}

#[derive(Debug, PartialEq, Eq)]
pub struct ServerIdMismatch {
    pub expected: PeerId,
    pub found: Vec<PeerId>,
}

/// An identity that is its own TLS server name, as the control plane's are.
pub fn peer_identity(name: &str) -> Result<PeerIdentity, Error> {
    let server_name = ServerName::try_from(name.to_owned()).map_err(|e| Error::General(format!("{name}: {e}")))?;
    Ok(PeerIdentity { server_name, id: PeerId::Dns(name.into()) })
}

/// Checks that the server has proved the identity that was expected of it.
pub fn verify_server_id(connection: &CommonState, expected: &PeerIdentity) -> Result<(), ServerIdMismatch> {
    let mut found = Vec::new();
    if let Some(leaf) = connection.peer_certificates().and_then(<[_]>::first) {
        found = names(leaf);
    }
    if found.contains(&expected.id) { Ok(()) } else { Err(ServerIdMismatch { expected: expected.id.clone(), found }) }
}

/// The identity of a client that has shown a certificate: its first name.
pub fn client_id(connection: &CommonState) -> Option<PeerId> {
    names(connection.peer_certificates()?.first()?).into_iter().next()
}

/// The DNS and then the URI names of a certificate.
fn names(leaf: &CertificateDer<'_>) -> Vec<PeerId> {
    let Ok(cert) = webpki::EndEntityCert::try_from(leaf) else { return Vec::new() };
    // A wildcard names nobody.
    let dns = cert.valid_dns_names().filter(|name| !name.contains('*')).map(|name| PeerId::Dns(name.into()));
    dns.chain(cert.valid_uri_names().map(|name| PeerId::Uri(name.into()))).collect()
}

pub fn parse_trust_anchors(pem: &str) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let cert = cert.map_err(|e| Error::General(format!("trust anchors: not PEM: {e}")))?;
        roots.add(cert).map_err(|e| Error::General(format!("trust anchors: {e}")))?;
    }
    if roots.is_empty() { Err(Error::General("trust anchors: no certificate".to_owned())) } else { Ok(roots) }
}

/// What trusts the anchors, and makes configurations.
pub struct Trust {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
}

impl Trust {
    pub fn new(anchors_pem: &str) -> Result<Self, Error> {
        let roots = Arc::new(parse_trust_anchors(anchors_pem)?);
        Ok(Self { provider: Arc::new(provider()), roots })
    }

    /// For the first call to the identity service: there is no certificate yet to show.
    pub fn anonymous_client(&self) -> Result<Arc<ClientConfig>, Error> {
        Ok(Arc::new(without_resumption(self.client_builder()?.with_no_client_auth())))
    }

    /// Builds the configurations of a certificate, after checking that peers with the same anchors would accept it.
    pub fn credentials(
        &self,
        own: &PeerId,
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'static>,
        expiry: SystemTime,
    ) -> Result<Credentials, Error> {
        let (leaf, intermediates) = chain.split_first().ok_or_else(|| Error::General("no certificate".to_owned()))?;
        self.verifier().verify_chain(leaf, intermediates, UnixTime::now())?;
        if !names(leaf).contains(own) {
            return Err(Error::General(format!("the certificate is not for {own}")));
        }
        let client = without_resumption(self.client_builder()?.with_client_auth_cert(chain.clone(), key.clone_key())?);
        let mut client_alpn = client.clone();
        client_alpn.alpn_protocols = vec![TRANSPORT_ALPN.to_vec()];

        let client_verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), self.provider.clone())
            .allow_unauthenticated()
            // Every client has one certificate; hints to choose by would only be bytes.
            .clear_root_hint_subjects()
            .build()
            .map_err(|e| Error::General(e.to_string()))?;
        let mut server = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(client_verifier)
            .with_single_cert(chain, key.clone_key())?;
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        let mut server_alpn = server.clone();
        server_alpn.alpn_protocols = vec![TRANSPORT_ALPN.to_vec()];
        Ok(Credentials {
            server: Arc::new(server),
            server_alpn: Arc::new(server_alpn),
            client: Arc::new(client),
            client_alpn: Arc::new(client_alpn),
            expiry,
        })
    }

    fn client_builder(&self) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, Error> {
        Ok(ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.verifier())))
    }

    fn verifier(&self) -> AnyName {
        AnyName { roots: self.roots.clone(), algorithms: self.provider.signature_verification_algorithms }
    }
}

/// AES-128 first: with AES in hardware it costs least, and the client's order decides.
fn provider() -> CryptoProvider {
    use rustls::crypto::ring::{cipher_suite, default_provider};
    let cipher_suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    CryptoProvider { cipher_suites, ..default_provider() }
}

fn without_resumption(mut config: ClientConfig) -> ClientConfig {
    config.resumption = rustls::client::Resumption::disabled();
    config
}

/// Verifies that a chain leads to a trust anchor, whatever names its leaf has: the identity is compared afterwards.
#[derive(Debug)]
struct AnyName {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyName {
    fn verify_chain(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let leaf = rustls::server::ParsedCertificate::try_from(leaf)?;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &leaf,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify_chain(end_entity, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Display for ServerIdMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected the server to be {}, it is ", self.expected)?;
        match &self.found[..] {
            [] => f.write_str("nobody"),
            names => names.iter().enumerate().try_for_each(|(i, n)| write!(f, "{}{n}", if i > 0 { ", " } else { "" })),
        }
    }
}

impl std::error::Error for ServerIdMismatch {}
