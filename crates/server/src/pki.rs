//! Certificates and tokens of the cluster, stored in `DATA/pki`.
//!
//! There is a CA for each purpose: `docs/design/certificates.md`.

mod ca;
mod certificate;
mod client_certificate;
mod files;
mod node_names;
mod renewal;
mod service_account_keys;
mod tokens;

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::SignedDuration;
use pandaemon_certificates::{
    CertificateRequest,
    encode::subject,
    signers::{NODE_USER, NODES},
};
use pandaemon_runtime::files::private_dir;
use tokio::sync::watch;
use x509_parser::prelude::X509Certificate;

use self::{
    ca::{Ca, Leaf},
    certificate::alternative_names,
};
pub(crate) use self::{
    certificate::Usage,
    client_certificate::{ClientCertificate, FrontProxyCertificate, PeerCertificate, Validity},
    node_names::check_node_name,
    renewal::Renewable,
    service_account_keys::{ServiceAccountKeys, SigningKey, signing_key_ids},
    tokens::{Tokens, constant_time_eq, sha256_hex},
};

/// The certificate of the client CA by the CA of the server, for agents that joined when one CA was
/// for everything. A data directory that has this file was made then.
const CROSS_SIGNED: &str = "client-ca-cross.crt";

/// The certificate of the server's CA, in a data directory.
pub(crate) const CA_CERTIFICATE: &str = "pki/ca.crt";
/// The keys that sign the tokens of service accounts, in a data directory.
pub(crate) const SERVICE_ACCOUNT_KEYS: &str = "pki/service-account-keys.json";

/// How long certificates are valid. They are renewed in the last third.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// The server's own certificates, and that of the administrator.
    pub own: Duration,
    /// The certificates of nodes.
    pub nodes: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        let days = |count: u64| Duration::from_secs(count * 24 * 3600);
        Self {
            own: days(365),
            nodes: days(30),
        }
    }
}

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

/// Certificates and tokens of the cluster.
pub(crate) struct Pki {
    dir: PathBuf,
    /// The names and addresses of the server.
    names: Vec<String>,
    lifetimes: Lifetimes,
    /// Signs the certificates of the server, which API clients and agents verify. Tokens and
    /// kubeconfigs name it.
    server_ca: Ca,
    /// Signs the certificates of clients of the server, and that of the server as client of agents.
    client_ca: Ca,
    /// Signs the certificates with which agents serve. Only the server trusts it.
    agent_ca: Ca,
    /// Signs the certificates of proxies that name the user in headers.
    front_proxy_ca: Ca,
    /// [`CROSS_SIGNED`]: then certificates of the server's CA also count as those of clients and
    /// agents, until they expire.
    cross_signed: Option<String>,
    /// The server's serving certificate.
    pub server: Arc<Renewable>,
    /// The server's client certificate for requests to agents.
    pub client: Arc<Renewable>,
    /// The administrator's client certificate.
    pub admin: watch::Sender<Pair>,
    /// The bearer tokens of administrator and agents.
    pub tokens: Tokens,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pki")
    }
}

impl Pki {
    /// Reads the files and creates the missing ones, for a server with these names and addresses.
    ///
    /// # Errors
    /// When a file cannot be read, written or parsed.
    pub(crate) fn open(data: &Path, names: &[String], lifetimes: Lifetimes) -> Result<Self> {
        let dir = data.join("pki");
        private_dir(&dir).map_err(|source| Error::File {
            action: "create",
            path: dir.clone(),
            source,
        })?;
        let names = normalized(names)?;
        let (server_ca, client_ca) = open_cas(&dir)?;
        let cross_signed = files::read(&dir.join(CROSS_SIGNED))?;
        let own = Own {
            dir: &dir,
            names: &names,
            lifetime: duration(lifetimes.own)?,
        };
        let server = own.server(&server_ca)?;
        let client = own.client(&client_ca)?;
        Ok(Self {
            agent_ca: Ca::open(&dir, "agent-ca", "pandaemon-agent-ca")?,
            front_proxy_ca: Ca::open(&dir, "front-proxy-ca", "pandaemon-front-proxy-ca")?,
            server: Arc::new(Renewable::new(&server, None)?),
            client: Arc::new(Renewable::new(&client, cross_signed.as_deref())?),
            admin: watch::Sender::new(own.admin(&client_ca)?),
            tokens: tokens::open(data, &server_ca.certificate)?,
            names,
            dir,
            lifetimes,
            server_ca,
            client_ca,
            cross_signed,
        })
    }

    /// The directory of the control plane.
    pub(crate) fn data_dir(&self) -> &Path {
        self.dir.parent().unwrap_or(&self.dir)
    }

    /// The certificate that clients of the server verify it with, in PEM.
    pub(crate) fn server_ca(&self) -> &str {
        &self.server_ca.certificate
    }

    /// The certificates that clients are verified with, in PEM.
    pub(crate) fn client_cas(&self) -> Vec<&str> {
        self.with_former(&self.client_ca)
    }

    /// The certificates that agents are verified with, in PEM.
    pub(crate) fn agent_cas(&self) -> Vec<&str> {
        self.with_former(&self.agent_ca)
    }

    /// The certificate that front proxies are verified with, in PEM.
    pub(crate) fn front_proxy_ca(&self) -> &str {
        &self.front_proxy_ca.certificate
    }

    /// A CA, and the one that was for everything if the data directory is of that time.
    fn with_former<'a>(&'a self, ca: &'a Ca) -> Vec<&'a str> {
        let former = self.cross_signed.as_ref().map(|_| self.server_ca());
        [Some(ca.certificate.as_str()), former]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Renews the certificates of the server and that of the administrator that are in the last
    /// third of their life. New connections get the new ones; who follows that of the
    /// administrator is told.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub(crate) fn renew(&self) -> Result<()> {
        let own = Own {
            dir: &self.dir,
            names: &self.names,
            lifetime: duration(self.lifetimes.own)?,
        };
        self.server.replace(&own.server(&self.server_ca)?, None)?;
        let client = own.client(&self.client_ca)?;
        self.client.replace(&client, self.cross_signed.as_deref())?;
        let admin = own.admin(&self.client_ca)?;
        self.admin.send_if_modified(|current| {
            let differs = current.certificate != admin.certificate;
            if differs {
                *current = admin;
            }
            differs
        });
        Ok(())
    }

    /// How often [`Pki::renew`] is due.
    pub(crate) fn renewal_interval(&self) -> Duration {
        (self.lifetimes.own / 24).min(Duration::from_secs(3600))
    }

    /// Signs the certificate of any client, with the subject and the names of the request.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(crate) fn sign_client(
        &self,
        request: &CertificateRequest,
        lifetime: Option<Duration>,
    ) -> Result<String> {
        let leaf = Leaf {
            subject: &request.subject,
            alternative_names: request.alternative_names.as_deref(),
            usage: Usage::Client,
            lifetime: granted(lifetime, self.lifetimes.own)?,
        };
        self.client_ca.sign(&leaf, &request.public_key)
    }

    /// Signs the client certificate of a node's agent. Of the request only the key is taken.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(crate) fn sign_node_client(
        &self,
        request: &CertificateRequest,
        node: &str,
        lifetime: Option<Duration>,
    ) -> Result<String> {
        let leaf = Leaf {
            subject: &node_subject(node),
            alternative_names: None,
            usage: Usage::Client,
            lifetime: granted(lifetime, self.lifetimes.nodes)?,
        };
        self.client_ca.sign(&leaf, &request.public_key)
    }

    /// Signs the certificate with which a node's agent serves. Of the request only the key is
    /// taken; the certificate has the node's name and no other, and no address.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(crate) fn sign_node_serving(
        &self,
        request: &CertificateRequest,
        node: &str,
        lifetime: Option<Duration>,
    ) -> Result<String> {
        let leaf = Leaf {
            subject: &node_subject(node),
            alternative_names: Some(&alternative_names(&[node.to_owned()])),
            usage: Usage::Server,
            lifetime: granted(lifetime, self.lifetimes.nodes)?,
        };
        self.agent_ca.sign(&leaf, &request.public_key)
    }
}

/// The SHA-256 of the certificate in this file; `None` if it does not exist.
///
/// # Errors
/// When the file cannot be read or parsed.
pub(crate) fn ca_digest(path: &Path) -> Result<Option<String>> {
    let text = files::read(path)?;
    text.map(|pem| tokens::digest(&pem)).transpose()
}

/// The subject of a node's certificates.
fn node_subject(node: &str) -> Vec<u8> {
    subject(&[NODES], &format!("{NODE_USER}{node}"))
}

/// The life of a certificate for which this is asked, and at most this is granted.
fn granted(asked: Option<Duration>, most: Duration) -> Result<SignedDuration> {
    duration(asked.map_or(most, |asked| asked.min(most)))
}

fn duration(of: Duration) -> Result<SignedDuration> {
    SignedDuration::try_from(of).map_err(unusable)
}

/// Names as they are in a certificate: addresses have one form.
fn normalized(names: &[String]) -> Result<Vec<String>> {
    let normal = |name: &String| match name.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) if name.is_ascii() && !name.is_empty() => Ok(name.clone()),
        Err(_) => Err(unusable(format!(
            "the name {name:?} for the certificate of the server is neither a DNS name nor an address"
        ))),
    };
    names.iter().map(normal).collect()
}

/// The CA of the server and that of clients. A data directory in which the first exists and the
/// second does not is of the time when there was one CA.
fn open_cas(dir: &Path) -> Result<(Ca, Ca)> {
    const SERVER: (&str, &str) = ("ca", "pandaemon-ca");
    const CLIENT: (&str, &str) = ("client-ca", "pandaemon-client-ca");
    let former = Ca::read(dir, SERVER.0)?;
    let client = Ca::read(dir, CLIENT.0)?;
    let (former, client) = match (former, client) {
        (Some(former), None) => {
            let client = Ca::create(CLIENT.1)?;
            let cross_signed = former.cross_sign(&client, CLIENT.1)?;
            // First: without it the directory would count as one of today.
            files::write(&dir.join(CROSS_SIGNED), &cross_signed)?;
            client.write(dir, CLIENT.0)?;
            (Some(former), Some(client))
        }
        found => found,
    };
    // The CA of clients first, else a crash in between would make this a directory of that time.
    let client = match client {
        Some(client) => client,
        None => Ca::open(dir, CLIENT.0, CLIENT.1)?,
    };
    let server = match former {
        Some(server) => server,
        None => Ca::open(dir, SERVER.0, SERVER.1)?,
    };
    Ok((server, client))
}

/// Where the server's own certificates are, and what they say.
struct Own<'a> {
    dir: &'a Path,
    names: &'a [String],
    lifetime: SignedDuration,
}

impl Own<'_> {
    fn server(&self, ca: &Ca) -> Result<Pair> {
        let leaf = Leaf {
            subject: &subject(&[], "pandaemon-server"),
            alternative_names: Some(&alternative_names(self.names)),
            usage: Usage::Server,
            lifetime: self.lifetime,
        };
        renewal::open(self.dir, "server", ca, &leaf, self.names)
    }

    fn client(&self, ca: &Ca) -> Result<Pair> {
        self.of_client("client", &subject(&[], "pandaemon-server"), ca)
    }

    fn admin(&self, ca: &Ca) -> Result<Pair> {
        let subject = subject(&["system:masters"], "pandaemon-admin");
        self.of_client("admin", &subject, ca)
    }

    fn of_client(&self, file: &str, subject: &[u8], ca: &Ca) -> Result<Pair> {
        let leaf = Leaf {
            subject,
            alternative_names: None,
            usage: Usage::Client,
            lifetime: self.lifetime,
        };
        renewal::open(self.dir, file, ca, &leaf, &[])
    }
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

#[cfg(test)]
mod tests;
