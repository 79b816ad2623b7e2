//! The server's own certificates: made when they are missing, have other names or come from another
//! CA, and renewed in the last third of their life, also while the server runs.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use parking_lot::RwLock;
use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::sync::Arc;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    Pair, Result,
    ca::{Ca, Leaf},
    files, unusable,
};

/// A certificate with its key that is replaced while connections are made with it.
#[derive(Debug)]
pub(crate) struct Renewable(RwLock<Arc<CertifiedKey>>);

impl Renewable {
    /// This certificate, followed by the others of its chain, in PEM.
    ///
    /// # Errors
    /// When it cannot be parsed.
    pub(super) fn new(pair: &Pair, chain: Option<&str>) -> Result<Self> {
        Ok(Self(RwLock::new(Arc::new(certified_key(pair, chain)?))))
    }

    /// Replaces the certificate. Returns whether it is another one.
    ///
    /// # Errors
    /// When it cannot be parsed.
    pub(super) fn replace(&self, pair: &Pair, chain: Option<&str>) -> Result<bool> {
        let new = certified_key(pair, chain)?;
        let mut current = self.0.write();
        let differs = current.cert != new.cert;
        if differs {
            *current = Arc::new(new);
        }
        Ok(differs)
    }
}

impl ResolvesServerCert for Renewable {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

impl ResolvesClientCert for Renewable {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn certified_key(pair: &Pair, chain: Option<&str>) -> Result<CertifiedKey> {
    let certificates = [Some(pair.certificate.as_str()), chain];
    let certificates = certificates
        .into_iter()
        .flatten()
        .map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).map_err(unusable))
        .collect::<Result<Vec<_>>>()?;
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(unusable)?;
    CertifiedKey::from_der(certificates, key, &ring::default_provider()).map_err(unusable)
}

/// The certificate of these files, which is made new if it is missing or not current.
///
/// # Errors
/// When a file cannot be read or written.
pub(super) fn open(
    dir: &Path,
    file: &str,
    ca: &Ca,
    leaf: &Leaf<'_>,
    names: &[String],
) -> Result<Pair> {
    if let Some(pair) = files::read_pair(dir, file)?
        && is_current(&pair.certificate, ca, leaf.lifetime, names)
    {
        return Ok(pair);
    }
    let pair = ca.issue(leaf)?;
    files::write_pair(dir, file, &pair)?;
    tracing::info!(file, "made a new certificate");
    Ok(pair)
}

/// Whether a certificate is of this CA, has these names and is not in the last third of its life.
fn is_current(certificate: &str, ca: &Ca, lifetime: SignedDuration, names: &[String]) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(certificate.as_bytes()) else {
        return false;
    };
    let Ok((_, parsed)) = X509Certificate::from_der(&der) else {
        return false;
    };
    let renew_at = (Timestamp::now() + lifetime / 3).as_second();
    let mut found = super::names(&parsed);
    let mut wanted = names.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    found == wanted && parsed.validity().not_after.timestamp() > renew_at && ca.has_signed(&parsed)
}
