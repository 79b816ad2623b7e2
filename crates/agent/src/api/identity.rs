//! The agent's keys and certificates on disk: created once, readable by root only, renewed before
//! they expire.

use std::{fs, net::IpAddr, path::PathBuf};

use anyhow::Context as _;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use crate::{files, tls};

/// Certificates are renewed when less than this many seconds, or a quarter of their validity, is
/// left.
const RENEW_BEFORE: i64 = 7 * 24 * 3600;

/// The directory with keys and certificates.
#[derive(Debug, Clone)]
pub struct Identity {
    dir: PathBuf,
}

impl Identity {
    /// The identity in this directory.
    #[must_use]
    pub const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The path of the client certificate.
    #[must_use]
    pub fn client_certificate(&self) -> PathBuf {
        self.path("client.crt")
    }

    /// The path of the client key.
    #[must_use]
    pub fn client_key(&self) -> PathBuf {
        self.path("client.key")
    }

    /// Reads a file of the identity.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, name: &str) -> anyhow::Result<String> {
        let path = self.path(name);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    /// Writes a file of the identity with mode 0600.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.path(name);
        files::replace(&path, text.as_bytes(), 0o600)
            .with_context(|| format!("write {}", path.display()))
    }

    /// Whether all files exist, were made for this scope ([`identity_scope`]), and the certificates
    /// need no renewal yet.
    #[must_use]
    pub fn is_usable(&self, scope: &str) -> bool {
        let all = [
            "client.crt",
            "client.key",
            "serving.crt",
            "serving.key",
            "ca.crt",
        ];
        let present = all.iter().all(|name| self.path(name).is_file());
        let same = self.read("subject").is_ok_and(|text| text == scope);
        let fresh = |name| {
            self.read(name)
                .is_ok_and(|pem| is_fresh(&pem).unwrap_or(false))
        };
        present && same && fresh("client.crt") && fresh("serving.crt")
    }

    /// The secret that proves to the server that this agent holds the node's name.
    ///
    /// # Errors
    /// If it can neither be read nor created.
    pub fn secret(&self) -> anyhow::Result<String> {
        if let Ok(secret) = self.read("node-secret") {
            return Ok(secret);
        }
        let key = KeyPair::generate()?;
        let secret: String = key
            .public_key_raw()
            .iter()
            .skip(1)
            .take(32)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.write("node-secret", &secret)?;
        Ok(secret)
    }

    /// A private key, created if it does not exist.
    ///
    /// # Errors
    /// If it can neither be read nor created.
    pub fn key(&self, name: &str) -> anyhow::Result<KeyPair> {
        if let Ok(pem) = self.read(name)
            && let Ok(key) = KeyPair::from_pem(&pem)
        {
            return Ok(key);
        }
        let key = KeyPair::generate()?;
        self.write(name, &key.serialize_pem())?;
        Ok(key)
    }
}

/// Whether a certificate needs no renewal yet.
fn is_fresh(pem: &str) -> anyhow::Result<bool> {
    let der = tls::first_certificate(pem)?;
    let (not_before, not_after) = validity(&der).context("read a certificate's validity")?;
    let now = jiff::Timestamp::now().as_second();
    let left = (not_after - not_before).min(RENEW_BEFORE * 4) / 4;
    Ok(now + left < not_after)
}

/// `notBefore` and `notAfter` of a certificate, in seconds since 1970.
fn validity(der: &[u8]) -> Option<(i64, i64)> {
    // Certificate, TBSCertificate, and in it: version, serial number, algorithm, issuer, validity.
    let (_, certificate, _) = element(der)?;
    let (_, mut signed, _) = element(certificate)?;
    for _ in 0..8 {
        let (tag, content, rest) = element(signed)?;
        if tag == 0x30
            && let Some((0x17 | 0x18, ..)) = element(content)
        {
            let (from_tag, from, later) = element(content)?;
            let (to_tag, to, _) = element(later)?;
            return Some((time(from_tag, from)?, time(to_tag, to)?));
        }
        signed = rest;
    }
    None
}

/// Tag and content of a DER element, and the bytes after it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        length = bytes
            .iter()
            .fold(0, |sum, &byte| (sum << 8) | usize::from(byte));
        rest = after;
    }
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

/// UTCTime (`YYMMDDhhmmssZ`) or GeneralizedTime (`YYYYMMDDhhmmssZ`) as seconds since 1970.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let full = match tag {
        0x17 => format!("{}{text}", if text < "50" { "20" } else { "19" }),
        _ => text.to_owned(),
    };
    let part = |from: usize, to: usize| full.get(from..to);
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?
    );
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_second)
}

/// The certificate signing request for the client certificate of a node.
///
/// # Errors
/// If the key cannot sign.
pub(crate) fn client_request(key: &KeyPair, node: &str) -> anyhow::Result<String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("system:node:{node}"));
    params
        .distinguished_name
        .push(DnType::OrganizationName, "system:nodes");
    Ok(params.serialize_request(key)?.pem()?)
}

/// The certificate signing request for the serving certificate of a node.
///
/// # Errors
/// If the key cannot sign.
pub(crate) fn serving_request(
    key: &KeyPair,
    node: &str,
    address: IpAddr,
) -> anyhow::Result<String> {
    let names = vec![node.to_owned(), address.to_string(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("system:node:{node}"));
    Ok(params.serialize_request(key)?.pem()?)
}

/// The node, address and CA that an identity is for. If one of them changes, the agent joins again.
#[must_use]
pub fn identity_scope(node: &str, address: IpAddr, ca_digest: &str) -> String {
    format!("{node} {address} {ca_digest}")
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::{Identity, validity};
    use crate::tls;

    #[test]
    fn the_validity_of_a_certificate_is_read() {
        let mut params = CertificateParams::new(vec!["n".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2060, 1, 1);
        let pem = params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .pem();
        let found = validity(&tls::first_certificate(&pem).unwrap()).unwrap();
        assert_eq!(found, (1_577_836_800, 2_840_140_800));
    }

    #[test]
    fn keys_and_secret_are_created_once() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::new(dir.path().join("identity"));
        assert_eq!(identity.secret().unwrap(), identity.secret().unwrap());
        let first = identity.key("client.key").unwrap().serialize_pem();
        assert_eq!(identity.key("client.key").unwrap().serialize_pem(), first);
    }
}
