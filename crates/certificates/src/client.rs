//! Whom a client certificate names: the common name of its subject is the user, its organizations
//! are the groups. Upstream: `x509.CommonNameUserConversion`.

use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What a client certificate says. Its signature is not verified here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSubject {
    /// The common name: the name of the user.
    pub name: String,
    /// The groups of the user.
    pub organizations: Vec<String>,
    /// Until when it is valid, in seconds since 1970.
    pub not_after: i64,
    /// The serial number, in hexadecimal without zeros in front.
    pub serial: String,
    /// The public key (`SubjectPublicKeyInfo`), in DER.
    pub public_key: Vec<u8>,
}

impl ClientSubject {
    /// Reads a certificate in DER; `None` if it has no common name.
    #[must_use]
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?;
        let organizations = subject.iter_organization();
        Some(Self {
            name: name.to_owned(),
            organizations: organizations
                .filter_map(|name| name.as_str().ok())
                .map(str::to_owned)
                .collect(),
            not_after: certificate.validity().not_after.timestamp(),
            serial: format!("{:x}", certificate.serial),
            public_key: certificate.public_key().raw.to_vec(),
        })
    }
}
