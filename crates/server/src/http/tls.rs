//! TLS configurations of the listener and of the client of node agents.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    server::WebPkiClientVerifier,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use crate::pki::{Error, Pair, Pki};

fn unusable(error: impl std::fmt::Display) -> Error {
    Error::Certificate(error.to_string())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(ca: &Pair) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    let der = CertificateDer::from_pem_slice(ca.certificate.as_bytes()).map_err(unusable)?;
    roots.add(der).map_err(unusable)?;
    Ok(Arc::new(roots))
}

/// The configuration of the listener. Client certificates of the cluster's CA are accepted, not
/// required.
///
/// # Errors
/// When a certificate or key cannot be used.
pub(crate) fn server(pki: &Pki) -> Result<Arc<ServerConfig>, Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(&pki.ca)?, provider())
        .allow_unauthenticated()
        .build()
        .map_err(unusable)?;
    let (certificate, key) = pki.server.to_der()?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The configuration of requests to agents, with the server's client certificate.
///
/// # Errors
/// When a certificate or key cannot be used.
pub(crate) fn client(pki: &Pki) -> Result<Arc<ClientConfig>, Error> {
    let (certificate, key) = pki.client.to_der()?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots(&pki.ca)?)
        .with_client_auth_cert(vec![certificate], key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
