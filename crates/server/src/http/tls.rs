//! TLS configurations of the listener and of the client of node agents.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::ResolvesClientCert,
    crypto::{CryptoProvider, ring},
    server::{ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::client_verifier::ClientVerifier;
use crate::pki::{Error, PeerCertificate, Pki};

fn unusable(error: impl std::fmt::Display) -> Error {
    Error::Certificate(error.to_string())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(cas: &[&str]) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    for ca in cas {
        let der = CertificateDer::from_pem_slice(ca.as_bytes()).map_err(unusable)?;
        roots.add(der).map_err(unusable)?;
    }
    Ok(Arc::new(roots))
}

/// TLS of the listener.
#[derive(Debug, Clone)]
pub(crate) struct ServerTls {
    /// Client certificates of the CA of clients and of that of front proxies are accepted, not
    /// required.
    pub config: Arc<ServerConfig>,
    verifier: Arc<ClientVerifier>,
}

impl ServerTls {
    /// With the certificates of the server.
    ///
    /// # Errors
    /// When a certificate cannot be used.
    pub(crate) fn new(pki: &Pki) -> Result<Self, Error> {
        let verifier = |cas: &[&str]| {
            let builder = WebPkiClientVerifier::builder_with_provider(roots(cas)?, provider());
            builder.build().map_err(unusable)
        };
        let verifier = Arc::new(ClientVerifier::new(
            verifier(&pki.client_cas())?,
            verifier(&[pki.front_proxy_ca()])?,
        ));
        let certificate = Arc::clone(&pki.server) as Arc<dyn ResolvesServerCert>;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_client_cert_verifier(Arc::clone(&verifier) as Arc<dyn ClientCertVerifier>)
            .with_cert_resolver(certificate);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            verifier,
        })
    }

    /// The certificate of a client that showed this chain, which was verified in the handshake;
    /// `None` if it names no user.
    ///
    /// # Errors
    /// When it is of neither CA, or that of a front proxy without a name.
    pub(crate) fn peer(
        &self,
        chain: &[CertificateDer<'_>],
    ) -> Result<Option<PeerCertificate>, rustls::Error> {
        self.verifier.peer(chain)
    }
}

/// The configuration of requests to agents, with the server's client certificate.
///
/// # Errors
/// When a certificate cannot be used.
pub(crate) fn client(pki: &Pki) -> Result<Arc<ClientConfig>, Error> {
    let certificate = Arc::clone(&pki.client) as Arc<dyn ResolvesClientCert>;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots(&pki.agent_cas())?)
        .with_client_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
