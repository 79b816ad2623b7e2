//! Opening the store of a data directory: modes of its files, lock, keys.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use pandaemon_runtime::files;
use pandaemon_server::{backup::ENCRYPTION_KEYS, storage_prefix};
use pandaemon_store::{
    Counters, Embedded, Options,
    encryption::{EncryptedStore, Encryption, Settings},
};

use super::staged::settle;
use crate::{args::EncryptionArgs, progress::Step};

/// The directories of a data directory that are the control plane's alone, with all that is in
/// them. Others are those of nodes, which have files of other users.
const OWN_DIRECTORIES: [&str; 3] = ["store", "pki", "audit"];
/// After so many values that are written again there is a line in the log.
const LOG_EVERY: u64 = 10_000;

/// The store of a data directory, with its keys.
#[derive(Debug)]
pub(crate) struct OpenStore {
    pub(crate) encrypted: Arc<EncryptedStore>,
    pub(crate) counters: Counters,
}

/// Opens the store of a data directory, which is created if it does not exist, and takes the rights
/// of others from its files. The store stays locked until it is closed.
///
/// # Errors
/// If the directory cannot be created, another process has locked the store, or it is encrypted
/// with keys that are missing.
pub(crate) async fn open_store(
    data_dir: &Path,
    encryption: &EncryptionArgs,
    step: &Step,
) -> anyhow::Result<OpenStore> {
    let key_file = encryption.encryption_key_file.as_deref();
    let settings = Settings {
        prefixes: prefixes(&encryption.encrypt_resources)?,
        ..settings(data_dir, key_file)
    };
    files::private_dir(data_dir)
        .with_context(|| format!("create the data directory {}", data_dir.display()))?;
    restrict(data_dir);
    open(data_dir, settings, step).await
}

/// The key file of a data directory, unless another one is named.
pub(crate) fn key_file(data_dir: &Path, named: Option<&Path>) -> PathBuf {
    named.map_or_else(|| data_dir.join(ENCRYPTION_KEYS), Path::to_owned)
}

/// Settings that encrypt nothing.
pub(crate) fn settings(data_dir: &Path, key_file: Option<&Path>) -> Settings {
    Settings {
        key_file: self::key_file(data_dir, key_file),
        prefixes: Vec::new(),
        keeps_encrypted: false,
        deletes_lost: false,
    }
}

/// Opens the store of a data directory with these keys.
///
/// # Errors
/// As [`open_store`].
pub(crate) async fn open(
    data_dir: &Path,
    settings: Settings,
    step: &Step,
) -> anyhow::Result<OpenStore> {
    let encryption = Encryption::read(settings)?;
    let is_outdated = |key: &str, stored: &[u8]| encryption.is_outdated(key, stored);
    let directory = data_dir.join("store");
    let (inner, has_outdated) = Embedded::open_checked(directory, Options::default(), is_outdated)?;
    let counters = inner.counters().clone();
    let settled = settle(data_dir, counters.revision.get());
    settled.with_context(|| format!("move the restored keys in {}", data_dir.display()))?;
    let progress = |done, total| show(step, done, total);
    let encrypted =
        EncryptedStore::open(Arc::new(inner), encryption, has_outdated, &progress).await?;
    Ok(OpenStore {
        encrypted: Arc::new(encrypted),
        counters,
    })
}

/// Shows how many values have been written again.
pub(crate) fn show(step: &Step, done: u64, total: u64) {
    step.progress(&format!("{done} of {total} values are encrypted anew"));
    if done.is_multiple_of(LOG_EVERY) {
        tracing::info!("{done} of {total} values are encrypted anew");
    }
}

fn prefixes(resources: &[String]) -> anyhow::Result<Vec<String>> {
    let resources = resources.iter().filter(|resource| !resource.is_empty());
    let prefix = |resource: &String| {
        storage_prefix(resource).with_context(|| {
            format!(
                "--encrypt-resources: there is no resource {resource:?}; \
                 resources are named as in secrets,daemonsets.apps"
            )
        })
    };
    resources.map(prefix).collect()
}

/// Takes the rights of others from the files of a data directory.
fn restrict(data_dir: &Path) {
    files::restrict(data_dir);
    for path in files::children(data_dir) {
        match OWN_DIRECTORIES.iter().any(|own| path.ends_with(own)) {
            true => files::restrict_tree(&path),
            false => files::restrict(&path),
        }
    }
}
