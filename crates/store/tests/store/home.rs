//! A store with its key file, and what the tests of encryption put into it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use pandaemon_store::{
    Embedded, Expect, Options, Range, Store,
    encryption::{EncryptedStore, Encryption, Error, Settings},
};

use crate::common::{copy, delete, put};

pub(crate) const PREFIX: &str = "/secrets/";

/// A store and its key file in a directory.
pub(crate) struct Home {
    pub(crate) path: PathBuf,
    options: Options,
}

impl Home {
    pub(crate) fn new(root: &Path, name: &str) -> Self {
        let path = root.join(name);
        fs::create_dir_all(path.join("store")).unwrap();
        Self {
            path,
            options: small(),
        }
    }

    /// The same without checkpoints that begin by themselves: a copy of the files is then what a
    /// kill would leave.
    pub(crate) fn without_checkpoints(self) -> Self {
        Self {
            options: Options::default(),
            ..self
        }
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// What a kill at this moment would leave.
    pub(crate) fn copied(&self, root: &Path, name: &str) -> Self {
        let home = Self::new(root, name);
        copy(&self.store(), &home.store());
        drop(fs::copy(self.keys(), home.keys()));
        home
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            key_file: self.keys(),
            prefixes: vec![PREFIX.into()],
            keeps_encrypted: false,
            deletes_lost: false,
        }
    }

    pub(crate) async fn open(&self) -> Result<EncryptedStore, Error> {
        self.open_with(self.settings(), &|_, _| {}).await
    }

    pub(crate) async fn open_with(
        &self,
        settings: Settings,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<EncryptedStore, Error> {
        let encryption = Encryption::read(settings)?;
        let is_outdated = |key: &str, stored: &[u8]| encryption.is_outdated(key, stored);
        let (inner, has_outdated) =
            Embedded::open_checked(self.store(), self.options.clone(), is_outdated)?;
        EncryptedStore::open(Arc::new(inner), encryption, has_outdated, progress).await
    }

    /// A store without encryption, as it was before the upgrade.
    pub(crate) fn plain(&self) -> Embedded {
        Embedded::open(self.store(), small()).unwrap()
    }

    /// The files of the store that contain one of these texts, or its base64.
    pub(crate) fn files_with(&self, texts: &[String]) -> Vec<String> {
        let files = fs::read_dir(self.store()).unwrap();
        let with = files.filter_map(|file| {
            let path = file.unwrap().path();
            // A checkpoint may remove a file meanwhile.
            let content = fs::read(&path).unwrap_or_default();
            let has = |text: &[u8]| content.windows(text.len()).any(|window| window == text);
            let encoded = |text: &str| BASE64.encode(text);
            let has = texts
                .iter()
                .any(|text| has(text.as_bytes()) || has(encoded(text).as_bytes()));
            has.then(|| path.file_name().unwrap().to_string_lossy().into_owned())
        });
        with.collect()
    }
}

/// Leads to several segments and checkpoints with a few values.
pub(crate) fn small() -> Options {
    Options {
        log_bytes: 4_000,
        ..Options::default()
    }
}

pub(crate) fn secret(number: u64) -> String {
    format!("secret-of-{number:03}-that-nobody-may-read")
}

pub(crate) fn name(number: u64) -> String {
    format!("/secrets/d/{number:03}")
}

/// The name of the first key of a key file.
pub(crate) fn first_key(keys: &Path) -> String {
    let text = fs::read_to_string(keys).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("# key "));
    line.unwrap().to_owned()
}

/// Writes Secrets, of which some are replaced or deleted, and other objects. Returns the texts that
/// no file may contain later.
pub(crate) async fn fill(store: &dyn Store) -> Vec<String> {
    for number in 0..40 {
        let write = put(&name(number), Expect::Absent, &secret(number));
        let revision = store.commit(write).await.unwrap();
        let other = put(&format!("/pods/d/{number}"), Expect::Absent, "a pod");
        store.commit(other).await.unwrap();
        if number % 3 == 0 {
            let text = format!("{} replaced", secret(number + 100));
            let write = put(&name(number), Expect::At(revision), &text);
            store.commit(write).await.unwrap();
        } else if number % 3 == 1 {
            let gone = delete(&name(number), revision);
            store.commit(gone).await.unwrap();
        }
    }
    (0..140).map(secret).collect()
}

/// The entries without their revisions.
pub(crate) async fn values(store: &dyn Store) -> Vec<(String, Bytes)> {
    let page = store.range(Range::default()).await.unwrap();
    let entries = page.entries.into_iter();
    entries
        .map(|entry| (entry.key.to_string(), entry.value))
        .collect()
}
