//! The agent's keys and certificates on disk, readable by root only.

use std::{fs, net::IpAddr, path::PathBuf};

use anyhow::Context as _;
use pandaemon_certificates::{
    ClientSubject,
    signers::{NODE_USER, NODES},
};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{files, tls};

/// The validity of the certificates of an identity, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    /// When they are to be renewed: after two thirds of their lifetime and up to a tenth more, so
    /// that nodes that joined at once are not renewed at once.
    pub renew_at: i64,
    /// When the first of them expires.
    pub not_after: i64,
}

/// With what the agent shows who it is.
pub(crate) enum Credential {
    /// The token of the configuration.
    Token,
    /// A client certificate of the node and its key, in PEM.
    Certificate { certificate: String, key: String },
}

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
        files::replace(&path, text.as_bytes()).with_context(|| format!("write {}", path.display()))
    }

    /// Removes a file of the identity, if it exists.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(crate) fn remove_file(&self, name: &str) -> anyhow::Result<()> {
        let path = self.path(name);
        files::remove(&path).with_context(|| format!("remove {}", path.display()))
    }

    /// Removes all keys and certificates: the next agent joins as a new node.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        files::remove_dir(&self.dir).with_context(|| format!("remove {}", self.dir.display()))
    }

    /// The validity of the certificates; `None` if one of them is missing or cannot be read, or
    /// they were made for another scope ([`identity_scope`]).
    pub(crate) fn validity(&self, scope: &str) -> Option<Validity> {
        let same = self.read("subject").is_ok_and(|text| text == scope);
        let of = |name| validity(&self.read(name).ok()?).ok();
        let (client, serving) = (of("client.crt")?, of("serving.crt")?);
        same.then(|| Validity {
            renew_at: client.renew_at.min(serving.renew_at),
            not_after: client.not_after.min(serving.not_after),
        })
    }

    /// The address in the scope of certificates that were made for this node, in whichever cluster
    /// and however long ago.
    pub(crate) fn address_of(&self, node: &str) -> Option<IpAddr> {
        let scope = self.read("subject").ok()?;
        let (of, rest) = scope.split_once(' ')?;
        let (address, _ca) = rest.split_once(' ')?;
        address.parse().ok().filter(|_| of == node)
    }

    /// The client certificate of this node and its key, in whichever cluster and however old;
    /// `None` if there is none.
    pub(crate) fn credential_of(&self, node: &str) -> Option<Credential> {
        let certificate = self.read("client.crt").ok()?;
        let subject = ClientSubject::of(&tls::first_certificate(&certificate).ok()?)?;
        let key = self.read("client.key").ok()?;
        let is_own = subject.name == format!("{NODE_USER}{node}");
        is_own.then_some(Credential::Certificate { certificate, key })
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

fn validity(pem: &str) -> anyhow::Result<Validity> {
    let der = tls::first_certificate(pem)?;
    let (_, certificate) = X509Certificate::from_der(&der).context("read a certificate")?;
    let times = certificate.validity();
    let (from, to) = (times.not_before.timestamp(), times.not_after.timestamp());
    let lifetime = (to - from).max(0);
    // The last byte of a signature is as good as a random number, and the same in each run.
    let jitter = i64::from(der.last().copied().unwrap_or(0));
    Ok(Validity {
        renew_at: from + lifetime / 3 * 2 + lifetime / 10 * jitter / 255,
        not_after: to,
    })
}

/// The certificate signing request for the client certificate of a node.
///
/// # Errors
/// If the key cannot sign.
pub(crate) fn client_request(key: &KeyPair, node: &str) -> anyhow::Result<String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(node);
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
    let mut params = CertificateParams::new(vec![node.to_owned(), address.to_string()])?;
    params.distinguished_name = subject(node);
    Ok(params.serialize_request(key)?.pem()?)
}

/// The subject of a node's certificates.
fn subject(node: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, NODES);
    subject.push(DnType::CommonName, format!("{NODE_USER}{node}"));
    subject
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

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_lifetime() {
        let mut params = CertificateParams::new(vec!["n".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2060, 1, 1);
        let pem = params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .pem();
        let found = validity(&pem).unwrap();
        let (from, to) = (1_577_836_800, 2_840_140_800);
        assert_eq!(found.not_after, to);
        let (part, whole) = (found.renew_at - from, to - from);
        assert!(whole * 2 / 3 <= part && part <= whole * 23 / 30, "{part}");
        assert_eq!(validity(&pem).unwrap(), found, "the same at each look");
        assert!(validity("no certificate").is_err());
    }

    #[test]
    fn keys_are_created_once() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::new(dir.path().join("identity"));
        let first = identity.key("client.key").unwrap().serialize_pem();
        assert_eq!(identity.key("client.key").unwrap().serialize_pem(), first);
    }
}
