//! A store with its keys: opening it, writing values again that have an outdated form, and
//! replacing the keys.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
};

use futures::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;

use super::{
    error::Error,
    key::{Key as CipherKey, KeyId},
    key_file::{KeyFile, Listed, names},
    transformer::Encrypting,
};
use crate::{
    Durability, Entry, Error as StoreError, Expect, Key, Op, Range, StateSnapshot, Store,
    Transaction, Transformed, Transformer as _,
};

/// How many entries are looked at in one read.
const PAGE: usize = 1000;
/// How many values are written again at the same time.
const CONCURRENCY: usize = 64;

/// What is encrypted, and with which keys.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file with the keys.
    pub key_file: PathBuf,
    /// What the keys of entries begin with whose values are encrypted, such as `/secrets/`.
    pub prefixes: Vec<String>,
    /// Whether collections that have encrypted values stay encrypted, although they are not in
    /// `prefixes`.
    pub keeps_encrypted: bool,
    /// Whether values are deleted that are encrypted with keys that are not in the file. Otherwise
    /// they are an error.
    pub deletes_lost: bool,
}

/// The keys of a store that is not open yet.
#[derive(Debug)]
pub struct Encryption {
    file: KeyFile,
    /// The keys of the file, if it exists.
    listed: Option<Vec<Listed>>,
    encrypting: Arc<Encrypting>,
    deletes_lost: bool,
}

impl Encryption {
    /// Reads the key file, if it exists.
    ///
    /// # Errors
    /// If the file cannot be read or is malformed.
    pub fn read(settings: Settings) -> Result<Self, Error> {
        let file = KeyFile {
            path: settings.key_file,
        };
        let listed = file.read()?;
        let encrypting = Encrypting::new(settings.prefixes, settings.keeps_encrypted);
        encrypting.set_keys(keys(listed.as_deref().unwrap_or_default()));
        Ok(Self {
            file,
            listed,
            encrypting: Arc::new(encrypting),
            deletes_lost: settings.deletes_lost,
        })
    }

    /// Whether a stored value has another form than it would be written in now: for
    /// [`crate::Embedded::open_checked`].
    #[must_use]
    pub fn is_outdated(&self, key: &str, stored: &[u8]) -> bool {
        self.encrypting.is_outdated(key, stored)
    }
}

/// A store some of whose values are encrypted.
#[derive(Debug)]
pub struct EncryptedStore {
    store: Arc<Transformed>,
    inner: Arc<dyn Store>,
    encrypting: Arc<Encrypting>,
    file: KeyFile,
    listed: Mutex<Vec<Listed>>,
    rotating: tokio::sync::Mutex<()>,
}

/// What a backup is made of.
#[derive(Debug)]
pub struct Snapshot {
    /// The entries, encrypted as they are stored.
    pub state: StateSnapshot,
    /// The content of the key file, which has the keys of all entries that can be read.
    pub key_file: Option<String>,
}

/// What a rotation did.
#[derive(Debug)]
pub struct Rotation {
    /// The new key.
    pub key: KeyId,
    /// Number of values that were encrypted with it.
    pub rewritten: u64,
    /// The keys of entries that cannot be read. While there are some, no old key is removed.
    pub unreadable: Vec<Key>,
}

/// The values of outdated form.
#[derive(Debug, Default)]
struct Survey {
    outdated: Vec<Key>,
    /// Entries whose value is encrypted with a key that is not known.
    lost: Vec<(KeyId, Entry)>,
}

/// What became of a value of outdated form.
#[derive(Debug)]
enum Rewrite {
    Done,
    /// It was replaced or deleted meanwhile.
    Gone,
    Unreadable,
}

/// What became of all values of outdated form.
#[derive(Debug, Default)]
struct Rewritten {
    count: u64,
    unreadable: Vec<Key>,
}

/// How many of how many values are written.
type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

fn keys(listed: &[Listed]) -> Vec<Arc<CipherKey>> {
    listed
        .iter()
        .map(|listed| Arc::clone(&listed.key))
        .collect()
}

fn new_key() -> Result<Arc<CipherKey>, Error> {
    let key = CipherKey::generate();
    key.map(Arc::new)
        .map_err(|error| Error::Generate(error.to_string()))
}

impl EncryptedStore {
    /// Opens `inner`: makes the key file if there is none, writes values of outdated form again,
    /// and removes the outdated ones from the files. `has_outdated` says that the files of `inner`
    /// may have some; without them nothing is read.
    ///
    /// If the disk refuses that, the store opens all the same, and the next start tries again.
    ///
    /// # Errors
    /// If a key is missing or the key file cannot be made.
    pub async fn open(
        inner: Arc<dyn Store>,
        encryption: Encryption,
        has_outdated: bool,
        progress: Progress<'_>,
    ) -> Result<Self, Error> {
        let Encryption {
            file,
            listed,
            encrypting,
            deletes_lost,
        } = encryption;
        let has_file = listed.is_some();
        let store = Transformed::new(Arc::clone(&inner), Arc::clone(&encrypting) as _);
        let this = Self {
            store: Arc::new(store),
            inner,
            encrypting,
            file,
            listed: Mutex::new(listed.unwrap_or_default()),
            rotating: tokio::sync::Mutex::default(),
        };
        let mut survey = Survey::default();
        if has_outdated {
            survey = this.survey().await?;
        }
        if !survey.lost.is_empty() {
            if !deletes_lost {
                return Err(this.lacks(&survey, has_file));
            }
            this.delete(std::mem::take(&mut survey.lost)).await?;
        }
        if !has_file && this.encrypting.is_on() {
            let first = Listed::new(new_key()?);
            this.file.write(std::slice::from_ref(&first))?;
            this.encrypting.set_keys(vec![Arc::clone(&first.key)]);
            tracing::info!(
                key = %first.key.id(),
                "made the encryption key file {}: keep a copy of it in a safe place",
                this.file.path.display()
            );
            *this.listed.lock() = vec![first];
        }
        if let Err(error) = this.update(survey, has_outdated, progress).await {
            tracing::error!(
                %error,
                "stored values are still unencrypted or have old keys; the next start tries again"
            );
        }
        Ok(this)
    }

    /// The store as its readers and writers see it.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as _
    }

    /// The entries at one revision, with the key file of the same moment.
    ///
    /// # Errors
    /// While keys are rotated: some of the keys go. If the key file cannot be read, or the store
    /// has no snapshots.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let Ok(_rotating) = self.rotating.try_lock() else {
            return Err(Error::Busy);
        };
        let state = self.inner.snapshot().await?.ok_or(Error::NoSnapshot)?;
        let key_file = self.file.text()?;
        Ok(Snapshot { state, key_file })
    }

    /// Makes a new key, encrypts all values with it, and removes the old keys and what was
    /// encrypted with them. The store is in use meanwhile. A rotation that breaks off is finished
    /// by the next start or rotation.
    ///
    /// # Errors
    /// If another rotation runs, or the key file or the store cannot be written.
    pub async fn rotate(&self, progress: Progress<'_>) -> Result<Rotation, Error> {
        let Ok(_rotating) = self.rotating.try_lock() else {
            return Err(Error::Busy);
        };
        let key = new_key()?;
        let mut listed = vec![Listed::new(Arc::clone(&key))];
        listed.extend(self.listed.lock().iter().map(|old| Listed {
            key: Arc::clone(&old.key),
            is_retired: true,
        }));
        // On disk before the first value is encrypted with it.
        self.file.write(&listed)?;
        self.encrypting.set_keys(keys(&listed));
        *self.listed.lock() = listed;
        tracing::info!(key = %key.id(), "encrypting with a new key");
        // Writes that have begun may still bring values under the old key.
        self.store.decided().await;
        let survey = self.survey().await?;
        let rewritten = self.update(survey, true, progress).await?;
        Ok(Rotation {
            key: key.id(),
            rewritten: rewritten.count,
            unreadable: rewritten.unreadable,
        })
    }

    /// Finds the values of outdated form, and those whose key is not known.
    async fn survey(&self) -> Result<Survey, Error> {
        let mut survey = Survey::default();
        let mut range = Range {
            limit: PAGE,
            ..Range::default()
        };
        loop {
            let page = self.inner.range(range.clone()).await?;
            for entry in &page.entries {
                let (key, stored) = (&entry.key, &*entry.value);
                self.encrypting.found(key, stored);
                if let Some(missing) = self.encrypting.missing_key(stored) {
                    survey.lost.push((missing, entry.clone()));
                } else if self.encrypting.is_outdated(key, stored) {
                    survey.outdated.push(Key::clone(key));
                }
            }
            if !page.has_more {
                return Ok(survey);
            }
            range.after = page.entries.last().map(|entry| Key::clone(&entry.key));
        }
    }

    /// Writes values of outdated form again, removes the outdated ones from the files, and then
    /// the keys that are no longer used.
    async fn update(
        &self,
        survey: Survey,
        has_outdated: bool,
        progress: Progress<'_>,
    ) -> Result<Rewritten, Error> {
        let rewritten = self.rewrite_all(survey.outdated, progress).await?;
        if has_outdated {
            self.inner.compact().await?;
        }
        if rewritten.count > 0 {
            tracing::info!(
                values = rewritten.count,
                "stored values in their current form"
            );
        }
        if rewritten.unreadable.is_empty() && survey.lost.is_empty() {
            let mut kept = self.listed.lock().clone();
            let before = kept.len();
            kept.retain(|listed| !listed.is_retired);
            if kept.len() < before {
                self.file.write(&kept)?;
                *self.listed.lock() = kept;
            }
        }
        Ok(rewritten)
    }

    async fn rewrite_all(
        &self,
        outdated: Vec<Key>,
        progress: Progress<'_>,
    ) -> Result<Rewritten, Error> {
        let (total, done) = (outdated.len() as u64, AtomicU64::new(0));
        let writes = futures::stream::iter(outdated).map(|key| async {
            let outcome = self.rewrite(&key).await?;
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
            Ok::<_, Error>((key, outcome))
        });
        let add = |mut sum: Rewritten, (key, outcome)| async move {
            match outcome {
                Rewrite::Done => sum.count += 1,
                Rewrite::Gone => {}
                Rewrite::Unreadable => sum.unreadable.push(key),
            }
            Ok(sum)
        };
        let all = writes.buffer_unordered(CONCURRENCY);
        all.try_fold(Rewritten::default(), add).await
    }

    async fn rewrite(&self, key: &Key) -> Result<Rewrite, Error> {
        loop {
            let Some(stored) = self.inner.get(key).await? else {
                return Ok(Rewrite::Gone);
            };
            if !self.encrypting.is_outdated(key, &stored.value) {
                return Ok(Rewrite::Gone);
            }
            let value = match self.encrypting.transform_from_storage(key, &stored.value) {
                Ok(value) => value,
                Err(error) => {
                    tracing::error!(%error, "a stored value stays as it is");
                    return Ok(Rewrite::Unreadable);
                }
            };
            let expect = Expect::At(stored.mod_revision);
            let write = Transaction {
                // What is durable stays so, and what is volatile does not become durable.
                durability: Durability::Volatile,
                ..Transaction::of(Key::clone(key), expect, Op::Put(value))
            };
            match self.store.commit(write).await {
                Ok(_) => return Ok(Rewrite::Done),
                Err(StoreError::Conflict { .. } | StoreError::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The error of values whose key is missing.
    fn lacks(&self, survey: &Survey, has_file: bool) -> Error {
        let path = self.file.path.clone();
        let values = survey.lost.len() as u64;
        let ids: BTreeSet<KeyId> = survey.lost.iter().map(|(id, _)| *id).collect();
        let keys = names(ids);
        if has_file {
            Error::MissingKey { path, values, keys }
        } else {
            Error::MissingFile { path, values, keys }
        }
    }

    /// Deletes entries whose key is lost.
    async fn delete(&self, lost: Vec<(KeyId, Entry)>) -> Result<(), Error> {
        for (id, entry) in lost {
            tracing::warn!("deletes {}: its key {id} is lost", entry.key);
            let expect = Expect::At(entry.mod_revision);
            let write = Transaction::of(entry.key, expect, Op::Delete);
            self.inner.commit(write).await?;
        }
        Ok(())
    }
}
