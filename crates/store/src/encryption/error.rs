//! Why encryption fails.

use std::{io, path::PathBuf};

/// Why a store cannot be opened with its keys, or keys cannot be replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key file cannot be read or written.
    #[error("{action} the encryption key file {}: {source}", path.display())]
    File {
        /// What failed: read or write.
        action: &'static str,
        /// The key file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The key file cannot be understood.
    #[error(
        "the encryption key file {} is malformed: {why}. Restore it from a copy",
        path.display()
    )]
    Malformed {
        /// The key file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The store has encrypted values, and there is no key file.
    #[error(
        "the encryption key file {} is missing, and {values} stored values are encrypted with its keys ({keys}). \
         Restore it from a copy, or name it with --encryption-key-file. If it is lost, so are these objects: \
         `pandaemon rotate-keys --delete-lost` deletes them",
        path.display()
    )]
    MissingFile {
        /// The key file.
        path: PathBuf,
        /// Number of encrypted values.
        values: u64,
        /// The ids of the keys.
        keys: String,
    },
    /// The store has values that are encrypted with other keys.
    #[error(
        "the encryption key file {} lacks a key: {values} stored values are encrypted with {keys}. \
         Add the missing keys as further lines, or name the right file with --encryption-key-file. If they are \
         lost, so are these objects: `pandaemon rotate-keys --delete-lost` deletes them",
        path.display()
    )]
    MissingKey {
        /// The key file.
        path: PathBuf,
        /// Number of values that cannot be read.
        values: u64,
        /// The ids of the missing keys.
        keys: String,
    },
    /// Keys are being replaced already.
    #[error("the encryption keys are being rotated; try again when that is over")]
    Busy,
    /// The store has no snapshots.
    #[error("the store is not in files of this server: back it up by its own means")]
    NoSnapshot,
    /// The system has no random bytes for a key.
    #[error("make an encryption key: {0}")]
    Generate(String),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] crate::Error),
}
