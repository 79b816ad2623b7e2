//! The client certificate of a connection, verified in the TLS handshake.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use pandaemon_certificates::ClientSubject;
use pandaemon_store::Revision;
use rustls_pki_types::CertificateDer;

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
        let subject = ClientSubject::of(der)?;
        let key = sha256_hex(&subject.public_key);
        let mut user = User::known(&subject.name, &subject.organizations);
        if user.node().is_some() {
            user.extra
                .insert(CERTIFICATE_KEY.to_owned(), vec![key.clone()]);
        }
        Some(Self {
            user,
            key,
            serial: subject.serial,
            not_after: subject.not_after,
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
