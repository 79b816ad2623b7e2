//! The client certificate of a connection, verified in the TLS handshake.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use pandaemon_store::Revision;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::sha256_hex;
use crate::auth::{CERTIFICATE_KEY, User};

/// Whom a client certificate names, and what is checked with each request that comes with it.
#[derive(Debug)]
pub(crate) struct ClientCertificate {
    /// The user: common name and organizations of the subject.
    pub user: User,
    /// The serial number, in hexadecimal without zeros in front.
    pub serial: String,
    /// The hash of the public key, in hexadecimal.
    pub key: String,
    not_after: i64,
    /// The revision of the node's record in which the key was found last; 0 for none.
    found_at: AtomicU64,
}

impl ClientCertificate {
    /// What a certificate says; `None` if it names no user.
    #[must_use]
    pub(crate) fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?;
        let groups: Vec<String> = subject
            .iter_organization()
            .filter_map(|o| o.as_str().ok())
            .map(str::to_owned)
            .collect();
        let key = sha256_hex(certificate.public_key().raw);
        let mut user = User::known(name, &groups);
        if user.node().is_some() {
            user.extra
                .insert(CERTIFICATE_KEY.to_owned(), vec![key.clone()]);
        }
        Some(Self {
            user,
            key,
            serial: format!("{:x}", certificate.serial),
            not_after: certificate.validity().not_after.timestamp(),
            found_at: AtomicU64::new(0),
        })
    }

    /// Whether it has expired since the connection was made.
    #[must_use]
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        now.as_second() > self.not_after
    }

    /// Whether the key is known to be in the record of its node at this revision.
    #[must_use]
    pub(crate) fn was_found_at(&self, revision: Revision) -> bool {
        self.found_at.load(Ordering::Relaxed) == revision
    }

    /// Remembers that the key is in the record of its node at this revision.
    pub(crate) fn set_found_at(&self, revision: Revision) {
        self.found_at.store(revision, Ordering::Relaxed);
    }
}
