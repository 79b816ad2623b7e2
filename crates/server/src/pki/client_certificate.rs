//! The certificate of the client of a connection, verified in the TLS handshake.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use jiff::Timestamp;
use pandaemon_certificates::ClientSubject;
use pandaemon_store::Revision;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::sha256_hex;
use crate::auth::{CERTIFICATE_KEY, Caller, User};

/// The certificate of the client of a connection, by the CA that it is of.
#[derive(Debug)]
pub(crate) enum PeerCertificate {
    /// Of the CA of clients: it names a user.
    Client(ClientCertificate),
    /// Of the CA of front proxies: it names no user, whatever its subject says.
    FrontProxy(FrontProxyCertificate),
}

impl PeerCertificate {
    /// Who sends the requests of the connection.
    #[must_use]
    pub(crate) fn caller(&self) -> Caller {
        match self {
            Self::Client(certificate) => Caller::User(certificate.user.clone()),
            Self::FrontProxy(certificate) => Caller::FrontProxy(certificate.name.clone()),
        }
    }

    /// The name of the user, or of the front proxy.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Client(certificate) => &certificate.user.name,
            Self::FrontProxy(certificate) => &certificate.name,
        }
    }

    /// What ends its validity while the connection is open.
    #[must_use]
    pub(crate) fn validity(&self) -> &Validity {
        match self {
            Self::Client(certificate) => &certificate.validity,
            Self::FrontProxy(certificate) => &certificate.validity,
        }
    }
}

/// What ends the validity of a certificate while a connection with it is open.
#[derive(Debug)]
pub(crate) struct Validity {
    /// The serial number, in hexadecimal without zeros in front.
    pub serial: String,
    not_after: i64,
}

impl Validity {
    /// Whether it has expired since the connection was made.
    #[must_use]
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        now.as_second() > self.not_after
    }

    /// The last moment at which it is valid.
    #[must_use]
    pub(crate) fn not_after(&self) -> UnixTime {
        let seconds = u64::try_from(self.not_after).unwrap_or_default();
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }
}

/// The certificate of a front proxy.
#[derive(Debug)]
pub(crate) struct FrontProxyCertificate {
    /// The common name.
    pub name: String,
    pub validity: Validity,
}

impl FrontProxyCertificate {
    /// What a certificate says; `None` if it has no common name.
    #[must_use]
    pub(crate) fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let subject = ClientSubject::of(der)?;
        Some(Self {
            name: subject.name,
            validity: Validity {
                serial: subject.serial,
                not_after: subject.not_after,
            },
        })
    }
}

/// Whom a client certificate names, and what is checked with each request that comes with it.
#[derive(Debug)]
pub(crate) struct ClientCertificate {
    /// The user: common name and organizations of the subject.
    pub user: User,
    /// The hash of the public key, in hexadecimal.
    pub key: String,
    pub validity: Validity,
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
            validity: Validity {
                serial: subject.serial,
                not_after: subject.not_after,
            },
            found_at: AtomicU64::new(0),
        })
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
