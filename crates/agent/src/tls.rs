//! TLS for probes and for the kubelet server. Clients of the API server have theirs in
//! `pandaemon_client::connect`.

use std::sync::Arc;

use anyhow::Context as _;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Accepts any certificate. HTTPS probes use it, as in the kubelet.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Opens a TLS connection without verifying the server's certificate.
///
/// # Errors
/// If the handshake fails.
pub(crate) async fn unverified(
    stream: TcpStream,
    host: &str,
) -> Result<TlsStream<TcpStream>, String> {
    let provider = provider();
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|error| error.to_string())?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())
}

fn roots(ca_pem: &str) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate.context("read the CA certificate")?)?;
    }
    Ok(roots)
}

/// The first certificate of a PEM text, in DER.
///
/// # Errors
/// If there is none.
pub(crate) fn first_certificate(pem: &str) -> anyhow::Result<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).context("read a certificate")
}

/// The certificate of a PEM text, in DER.
///
/// # Errors
/// If there is none, or another one.
pub(crate) fn only_certificate(pem: &str) -> anyhow::Result<CertificateDer<'static>> {
    let mut all = CertificateDer::pem_slice_iter(pem.as_bytes());
    let first = all.next().context("read a certificate: there is none")?;
    anyhow::ensure!(
        all.next().is_none(),
        "read a certificate: there are several"
    );
    first.context("read a certificate")
}

/// The configuration of a server with this certificate that asks clients for one signed by this CA.
/// A handshake without a client certificate succeeds; the server then refuses all but health
/// checks.
///
/// # Errors
/// If a certificate or the key cannot be read.
pub(crate) fn server(
    certificate_pem: &str,
    key_pem: &str,
    ca_pem: &str,
) -> anyhow::Result<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(certificate_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .context("read the serving certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).context("read the serving key")?;
    let roots = Arc::new(roots(ca_pem)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pandaemon_testkit::client_hello::CLIENT_HELLOS;
    use rcgen::{CertificateParams, KeyPair};
    use rustls::ServerConnection;

    use super::server;

    #[test]
    fn old_versions_and_weak_cipher_suites_are_refused() {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["n".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let config = server(&certificate, &key.serialize_pem(), &certificate).unwrap();
        let config = Arc::new(config);
        for hello in &CLIENT_HELLOS {
            let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            connection.read_tls(&mut &*hello.bytes()).unwrap();
            let accepted = connection.process_new_packets().is_ok();
            let mut answer = Vec::new();
            connection.write_tls(&mut answer).unwrap();
            let is_expected = accepted == hello.alert.is_none() && hello.is_answered_by(&answer);
            assert!(is_expected, "{}: {answer:?}", hello.name);
        }
    }
}
