//! Certificates and tokens of the cluster, stored in `DATA/pki`.
//!
//! One CA signs the certificates of the server, of the administrator, of the server as a client of
//! agents, and of every agent. Leaf certificates are renewed before they expire and when their
//! names change.

mod files;
mod tokens;

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use pandaemon_runtime::files::private_dir;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::auth::User;

pub(crate) use self::tokens::Tokens;
pub(crate) use self::tokens::{constant_time_eq, sha256_hex};

/// Lifetimes in days. A leaf certificate is renewed in the last third of its lifetime.
const CA_DAYS: i64 = 3650;
const LEAF_DAYS: i64 = 365;
const RENEW_BEFORE_DAYS: i64 = 120;

/// Why certificates or tokens cannot be opened or created.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{action} `{path}`: {source}")]
    File {
        /// The failed action: read, write or create.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A certificate cannot be created or parsed.
    #[error("{0}")]
    Certificate(String),
}

type Result<T, E = Error> = std::result::Result<T, E>;

fn unusable(error: impl std::fmt::Display) -> Error {
    Error::Certificate(error.to_string())
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    /// The certificate, in PEM.
    pub certificate: String,
    /// The private key, in PEM.
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pair")
    }
}

impl Pair {
    /// The certificate and the key in DER, as rustls takes them.
    ///
    /// # Errors
    /// When the PEM cannot be parsed.
    pub(crate) fn to_der(&self) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
        let certificate =
            CertificateDer::from_pem_slice(self.certificate.as_bytes()).map_err(unusable)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(unusable)?;
        Ok((certificate, key))
    }
}

/// Certificates and tokens of the cluster.
pub(crate) struct Pki {
    issuer: Issuer<'static, KeyPair>,
    /// The certificate and key of the CA.
    pub ca: Pair,
    /// The server's serving certificate.
    pub server: Pair,
    /// The administrator's client certificate.
    pub admin: Pair,
    /// The server's client certificate for requests to agents.
    pub client: Pair,
    /// The bearer tokens of administrator and agents.
    pub tokens: Tokens,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pki")
    }
}

/// The subject, names and usage of a leaf certificate.
struct Leaf<'a> {
    name: &'a str,
    organization: Option<&'a str>,
    sans: &'a [String],
    usage: &'a [ExtendedKeyUsagePurpose],
}

impl Pki {
    /// Reads the files and creates the missing ones, for a server with these names and addresses.
    ///
    /// # Errors
    /// When a file cannot be read, written or parsed.
    pub(crate) fn open(data: &Path, sans: &[String]) -> Result<Self> {
        let dir = data.join("pki");
        private_dir(&dir).map_err(|source| Error::File {
            action: "create",
            path: dir.clone(),
            source,
        })?;
        let (issuer, ca) = open_ca(&dir)?;
        let client = [ExtendedKeyUsagePurpose::ClientAuth];
        let server = [ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = |name, organization, sans, usage| Leaf {
            name,
            organization,
            sans,
            usage,
        };
        let make = |file: &str, leaf: &Leaf<'_>| open_leaf(&dir, file, &issuer, leaf);
        let pair = Self {
            server: make("server", &leaf("pandaemon-server", None, sans, &server))?,
            admin: make(
                "admin",
                &leaf("pandaemon-admin", Some("system:masters"), &[], &client),
            )?,
            client: make("client", &leaf("pandaemon-server", None, &[], &client))?,
            tokens: tokens::open(data, &ca)?,
            issuer,
            ca,
        };
        Ok(pair)
    }

    /// Signs an agent's request for a client certificate. The public key is taken from the request,
    /// the subject is that of the node.
    ///
    /// # Errors
    /// When the request cannot be read.
    pub(crate) fn sign_client(&self, request: &str, node: &str) -> Result<String> {
        let name = format!("system:node:{node}");
        let leaf = Leaf {
            name: &name,
            organization: Some("system:nodes"),
            sans: &[],
            usage: &[ExtendedKeyUsagePurpose::ClientAuth],
        };
        self.sign(request, &leaf)
    }

    /// Signs an agent's request for a serving certificate. Of the requested names only IP addresses
    /// and
    /// `localhost` are taken; the node's name is added.
    ///
    /// # Errors
    /// When the request cannot be read.
    pub(crate) fn sign_serving(&self, request: &str, node: &str) -> Result<String> {
        let parsed = CertificateSigningRequestParams::from_pem(request).map_err(unusable)?;
        let mut sans = vec![node.to_owned()];
        for name in &parsed.params.subject_alt_names {
            match name {
                SanType::IpAddress(address) => sans.push(address.to_string()),
                SanType::DnsName(name) if matches!(name.as_str(), "localhost") => {
                    sans.push(name.as_str().to_owned());
                }
                _ => {}
            }
        }
        let name = format!("system:node:{node}");
        let leaf = Leaf {
            name: &name,
            organization: Some("system:nodes"),
            sans: &sans,
            usage: &[ExtendedKeyUsagePurpose::ServerAuth],
        };
        self.sign(request, &leaf)
    }

    fn sign(&self, request: &str, leaf: &Leaf<'_>) -> Result<String> {
        let parsed = CertificateSigningRequestParams::from_pem(request).map_err(unusable)?;
        let signed = params(leaf)?.signed_by(&parsed.public_key, &self.issuer);
        Ok(signed.map_err(unusable)?.pem())
    }
}

fn days(params: &mut CertificateParams, count: i64) -> Result<()> {
    let now = Timestamp::now();
    let time = |offset: SignedDuration| {
        let seconds = (now + offset).as_second();
        rcgen::date_time_ymd(1970, 1, 1)
            .checked_add(
                std::time::Duration::from_secs(seconds.unsigned_abs())
                    .try_into()
                    .map_err(unusable)?,
            )
            .ok_or_else(|| Error::Certificate("the clock is out of range".into()))
    };
    // Valid since an hour ago, because the clocks of nodes differ.
    params.not_before = time(SignedDuration::from_hours(-1))?;
    params.not_after = time(SignedDuration::from_hours(24 * count))?;
    Ok(())
}

fn distinguished_name(name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut full = DistinguishedName::new();
    if let Some(organization) = organization {
        full.push(DnType::OrganizationName, organization);
    }
    full.push(DnType::CommonName, name);
    full
}

fn open_ca(dir: &Path) -> Result<(Issuer<'static, KeyPair>, Pair)> {
    if let Some(pair) = files::read_pair(dir, "ca")? {
        let key = KeyPair::from_pem(&pair.key).map_err(unusable)?;
        let issuer = Issuer::from_ca_cert_pem(&pair.certificate, key).map_err(unusable)?;
        return Ok((issuer, pair));
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name("pandaemon-ca", None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    days(&mut params, CA_DAYS)?;
    let key = KeyPair::generate().map_err(unusable)?;
    let certificate = params.self_signed(&key).map_err(unusable)?;
    let pair = Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    };
    files::write_pair(dir, "ca", &pair)?;
    Ok((Issuer::new(params, key), pair))
}

fn params(leaf: &Leaf<'_>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(leaf.sans.to_vec()).map_err(unusable)?;
    params.distinguished_name = distinguished_name(leaf.name, leaf.organization);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = leaf.usage.to_vec();
    params.use_authority_key_identifier_extension = true;
    days(&mut params, LEAF_DAYS)?;
    Ok(params)
}

fn open_leaf(
    dir: &Path,
    file: &str,
    issuer: &Issuer<'static, KeyPair>,
    leaf: &Leaf<'_>,
) -> Result<Pair> {
    if let Some(pair) = files::read_pair(dir, file)?
        && is_current(&pair.certificate, leaf.sans)
    {
        return Ok(pair);
    }
    let key = KeyPair::generate().map_err(unusable)?;
    let certificate = params(leaf)?.signed_by(&key, issuer).map_err(unusable)?;
    let pair = Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    };
    files::write_pair(dir, file, &pair)?;
    Ok(pair)
}

/// Whether a certificate has these names and need not be renewed yet.
fn is_current(certificate: &str, sans: &[String]) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(certificate.as_bytes()) else {
        return false;
    };
    let Ok((_, parsed)) = X509Certificate::from_der(&der) else {
        return false;
    };
    let renew_at = Timestamp::now().as_second() + RENEW_BEFORE_DAYS * 24 * 3600;
    let mut found = names(&parsed);
    let mut wanted = sans.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    found == wanted && parsed.validity().not_after.timestamp() > renew_at
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|a| a.to_string()),
        _ => None,
    };
    extension
        .value
        .general_names
        .iter()
        .filter_map(name)
        .collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}

/// The user of a client certificate: common name and organizations of its subject.
#[must_use]
pub(crate) fn subject(der: &CertificateDer<'_>) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    let groups: Vec<String> = subject
        .iter_organization()
        .filter_map(|o| o.as_str().ok())
        .map(str::to_owned)
        .collect();
    Some(User::known(name, &groups))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn certificates_are_reused_and_renewed_for_new_names() {
        let dir = tempfile::tempdir().unwrap();
        let sans = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let first = Pki::open(dir.path(), &sans).unwrap();
        let again = Pki::open(dir.path(), &sans).unwrap();
        assert_eq!(first.ca.certificate, again.ca.certificate);
        assert_eq!(first.server.certificate, again.server.certificate);
        assert_eq!(first.tokens.agent, again.tokens.agent);
        let renewed = Pki::open(dir.path(), &[sans[0].clone()]).unwrap();
        assert_ne!(first.server.certificate, renewed.server.certificate);
        assert_eq!(first.admin.certificate, renewed.admin.certificate);
        let mode = fs::metadata(dir.path().join("pki/ca.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn signed_certificates_contain_the_nodes_own_name_only() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path(), &[]).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut requested =
            CertificateParams::new(vec!["evil.example".into(), "10.0.0.7".into()]).unwrap();
        requested.distinguished_name =
            distinguished_name("pandaemon-admin", Some("system:masters"));
        let request = requested.serialize_request(&key).unwrap().pem().unwrap();
        let signed = pki.sign_client(&request, "n1").unwrap();
        let der = CertificateDer::from_pem_slice(signed.as_bytes()).unwrap();
        let user = subject(&der).unwrap();
        assert_eq!(user.node(), Some("n1"));
        assert!(!user.is_in("system:masters"));
        let serving = pki.sign_serving(&request, "n1").unwrap();
        let der = CertificateDer::from_pem_slice(serving.as_bytes()).unwrap();
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(names(&parsed), ["n1", "10.0.0.7"]);
    }
}
