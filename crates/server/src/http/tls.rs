//! TLS configurations of the listener and of the client of node agents.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::ResolvesClientCert,
    crypto::{CryptoProvider, ring},
    server::{ResolvesServerCert, WebPkiClientVerifier},
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use crate::pki::{Error, Pki};

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

/// The configuration of the listener. Client certificates of the CA of clients are accepted, not
/// required.
///
/// # Errors
/// When a certificate cannot be used.
pub(crate) fn server(pki: &Pki) -> Result<Arc<ServerConfig>, Error> {
    let roots = roots(&pki.client_cas())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .allow_unauthenticated()
        .build()
        .map_err(unusable)?;
    let certificate = Arc::clone(&pki.server) as Arc<dyn ResolvesServerCert>;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
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
