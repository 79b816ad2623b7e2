//! What a backup of a control plane has beside the objects: its manifest, and on request the keys
//! and CAs of the data directory.

use std::{
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use pandaemon_store::{BackupStream, Contents, MANIFEST, encryption::Snapshot};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::pki::{self, SERVICE_ACCOUNT_KEYS, signing_key_ids};

/// The path of the request for a backup.
pub(crate) const PATH: &str = "/pandaemon/v1/backup";
/// How long a client may take to read a backup. It keeps the state from its beginning in memory.
const TIMEOUT: Duration = Duration::from_secs(3600);
/// The key file of encryption at rest, as it is called in a backup, wherever it is.
pub const ENCRYPTION_KEYS: &str = "encryption-keys";
/// The directory of certificates and keys in a data directory.
pub const PKI: &str = "pki";
/// The files of a data directory that cannot be made anew: with other ones, certificates and tokens
/// from before count no more. The server's own certificates can be.
const KEY_FILES: [&str; 12] = [
    pki::CA_CERTIFICATE,
    "pki/ca.key",
    "pki/client-ca.crt",
    "pki/client-ca.key",
    "pki/agent-ca.crt",
    "pki/agent-ca.key",
    "pki/front-proxy-ca.crt",
    "pki/front-proxy-ca.key",
    "pki/client-ca-cross.crt",
    SERVICE_ACCOUNT_KEYS,
    "admin-token",
    "token",
];

/// What a backup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The version of the program that wrote it.
    pub program: String,
    /// When it was made.
    pub time: Timestamp,
    /// The UID of the namespace `kube-system`, which names a cluster. `None` if namespaces are
    /// encrypted.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Whose certificates and tokens the cluster takes.
    #[serde(flatten)]
    pub identity: Identity,
    /// Whether the keys and CAs are in the backup.
    pub has_keys: bool,
}

/// What certificates and tokens a control plane takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Identity {
    /// The SHA-256 of the certificate of the server's CA: the first part of tokens to join with.
    pub ca: Option<String>,
    /// The ids of the keys that sign the tokens of service accounts.
    pub signing_keys: Vec<String>,
}

impl Identity {
    /// That of a data directory; of one that no server has used, an empty one.
    ///
    /// # Errors
    /// If a file cannot be read or parsed.
    pub fn of(data_dir: &Path) -> Result<Self, pki::Error> {
        let keys = signing_key_ids(&data_dir.join(SERVICE_ACCOUNT_KEYS))?;
        Ok(Self {
            ca: pki::ca_digest(&data_dir.join(pki::CA_CERTIFICATE))?,
            signing_keys: keys,
        })
    }
}

/// Why a backup cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// Certificates or keys cannot be read.
    #[error(transparent)]
    Pki(#[from] pki::Error),
    /// A file cannot be read.
    #[error("read {path}: {source}")]
    File {
        /// Its path in the data directory, or with it.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The system gives no random bytes.
    #[error("make a backup: {0}")]
    Random(io::Error),
    /// The manifest of a backup cannot be understood.
    #[error("the manifest of the backup cannot be read: {0}")]
    Manifest(serde_json::Error),
}

/// The manifest of a backup that was read.
///
/// # Errors
/// If it is none.
pub fn manifest(contents: &Contents) -> Result<Manifest, BackupError> {
    let text = contents.files.get(MANIFEST).map(Vec::as_slice);
    serde_json::from_slice(text.unwrap_or_default()).map_err(BackupError::Manifest)
}

/// The files of keys and CAs in a backup, by their paths in a data directory. Files of other names
/// are left out.
pub fn key_files(contents: &Contents) -> impl Iterator<Item = (&str, &[u8])> {
    let known = KEY_FILES.iter();
    known.filter_map(|name| Some((*name, contents.files.get(*name)?.as_slice())))
}

/// A backup of the control plane with this data directory: its objects at one revision, and its
/// keys and CAs if they are asked for.
///
/// # Errors
/// If something cannot be read.
pub fn begin(
    snapshot: Snapshot,
    data_dir: &Path,
    has_keys: bool,
) -> Result<BackupStream, BackupError> {
    let namespace = snapshot.state.value("/namespaces//kube-system");
    let manifest = Manifest {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        time: Timestamp::now(),
        cluster: namespace.and_then(uid),
        identity: Identity::of(data_dir)?,
        has_keys,
    };
    let text = serde_json::to_vec_pretty(&manifest).map_err(BackupError::Manifest)?;
    let mut files = vec![(MANIFEST.to_owned(), text)];
    if has_keys {
        for name in KEY_FILES {
            let path = data_dir.join(name);
            match fs::read(&path) {
                Ok(content) => files.push((name.to_owned(), content)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    let path = path.display().to_string();
                    return Err(BackupError::File { path, source });
                }
            }
        }
        let keys = snapshot.key_file;
        files.extend(keys.map(|keys| (ENCRYPTION_KEYS.to_owned(), keys.into_bytes())));
    }
    BackupStream::new(snapshot.state, &files).map_err(BackupError::Random)
}

/// The UID of a stored object.
fn uid(stored: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Stored {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        uid: String,
    }
    let stored: Option<Stored> = serde_json::from_slice(stored).ok();
    stored.map(|stored| stored.metadata.uid)
}

/// Lets one backup be taken at a time: each keeps a state in memory.
#[derive(Debug)]
pub(crate) struct Backups(Arc<Semaphore>);

impl Default for Backups {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Backups {
    /// Begins one; `None` while another is taken.
    pub(crate) fn try_begin(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

/// The body of a response with a backup.
#[derive(Debug)]
pub(crate) struct BackupBody {
    stream: BackupStream,
    /// What was made and not sent.
    left: Bytes,
    deadline: Instant,
    _permit: OwnedSemaphorePermit,
}

impl BackupBody {
    pub(crate) fn new(stream: BackupStream, permit: OwnedSemaphorePermit) -> Self {
        Self {
            stream,
            left: Bytes::new(),
            deadline: Instant::now() + TIMEOUT,
            _permit: permit,
        }
    }

    /// The next part, of at most so many bytes; `None` after the last one.
    pub(crate) fn next_part(&mut self, most: usize) -> Option<io::Result<Bytes>> {
        if Instant::now() > self.deadline {
            return Some(Err(io::ErrorKind::TimedOut.into()));
        }
        if self.left.is_empty() {
            match self.stream.next_part() {
                Ok(Some(part)) => self.left = part,
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        let length = self.left.len().min(most);
        Some(Ok(self.left.split_to(length)))
    }
}
