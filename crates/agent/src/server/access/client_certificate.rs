//! The client certificate of a connection, verified in the TLS handshake.

use k8s_openapi::api::authentication::v1::UserInfo;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

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
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?;
        let groups = subject.iter_organization();
        let groups = groups.filter_map(|group| group.as_str().ok());
        let groups = groups.chain([AUTHENTICATED]).map(str::to_owned).collect();
        let user = UserInfo {
            username: Some(name.to_owned()),
            groups: Some(groups),
            ..UserInfo::default()
        };
        let not_after = certificate.validity().not_after.timestamp();
        (!name.is_empty()).then_some(Self { user, not_after })
    }

    /// Whether it has expired since the connection was made.
    pub(super) const fn is_expired(&self, now: i64) -> bool {
        self.not_after < now / 1000
    }
}
