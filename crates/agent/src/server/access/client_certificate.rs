//! The client certificate of a connection, verified in the TLS handshake.

use k8s_openapi::api::authentication::v1::UserInfo;
use pandaemon_certificates::ClientSubject;
use rustls::pki_types::CertificateDer;

/// The extra value of a user by whose serial number the control plane knows a revoked certificate.
const SERIAL: &str = "pandaemon.dev/certificate-serial";
/// The group of all users with credentials.
const AUTHENTICATED: &str = "system:authenticated";

/// Whom a client certificate names, and until when.
pub(in crate::server) struct ClientCertificate {
    pub(super) user: UserInfo,
    /// In seconds since 1970.
    not_after: i64,
}

impl ClientCertificate {
    /// What a certificate says: the common name is the user, the organizations are the groups.
    /// `None` if it names no user.
    pub(in crate::server) fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let subject = ClientSubject::of(der).filter(|subject| !subject.name.is_empty())?;
        let mut groups = subject.organizations;
        groups.push(AUTHENTICATED.to_owned());
        let user = UserInfo {
            username: Some(subject.name),
            groups: Some(groups),
            extra: Some([(SERIAL.to_owned(), vec![subject.serial])].into()),
            ..UserInfo::default()
        };
        let not_after = subject.not_after;
        Some(Self { user, not_after })
    }

    /// Whether it has expired since the connection was made.
    pub(super) const fn is_expired(&self, now: i64) -> bool {
        self.not_after < now / 1000
    }
}
