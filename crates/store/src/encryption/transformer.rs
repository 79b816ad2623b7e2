//! The transformer that encrypts values.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::key::{Key, KeyId, is_encrypted, key_id};
use crate::{Error, Result, Transformer, prefix_of};

/// The keys in use.
#[derive(Debug, Default)]
struct Keys {
    /// The one that encrypts.
    first: Option<Arc<Key>>,
    /// Those that decrypt.
    all: Vec<Arc<Key>>,
}

/// Encrypts the values of some collections.
#[derive(Debug)]
pub(super) struct Encrypting {
    /// What the names of their entries begin with, such as `/secrets/`.
    prefixes: Vec<String>,
    /// Those of more collections, which stay encrypted.
    kept: Option<RwLock<Vec<String>>>,
    keys: RwLock<Keys>,
}

impl Encrypting {
    /// Encrypts the values of entries whose keys begin with `prefixes`. If `keeps_encrypted`, the
    /// collections of encrypted values stay encrypted, too.
    pub(super) fn new(prefixes: Vec<String>, keeps_encrypted: bool) -> Self {
        Self {
            prefixes,
            kept: keeps_encrypted.then(RwLock::default),
            keys: RwLock::default(),
        }
    }

    /// Encrypts with the first of these keys from now on, and decrypts with all of them and with
    /// those from before: readers of older states need them.
    pub(super) fn set_keys(&self, keys: Vec<Arc<Key>>) {
        let mut current = self.keys.write();
        current.first = keys.first().cloned();
        let mut all = keys;
        let old = std::mem::take(&mut current.all);
        let has = |all: &[Arc<Key>], key: &Key| all.iter().any(|known| known.id() == key.id());
        for key in old {
            if !has(&all, &key) {
                all.push(key);
            }
        }
        current.all = all;
    }

    /// Takes note of a stored value: its collection may have to stay encrypted.
    pub(super) fn found(&self, key: &str, stored: &[u8]) {
        let Some(kept) = &self.kept else { return };
        if is_encrypted(stored) && !self.transforms(key) {
            kept.write().push(prefix_of(key).to_owned());
        }
    }

    /// Whether anything is encrypted.
    pub(super) fn is_on(&self) -> bool {
        let has_kept = |kept: &RwLock<Vec<String>>| !kept.read().is_empty();
        !self.prefixes.is_empty() || self.kept.as_ref().is_some_and(has_kept)
    }

    fn key(&self, id: KeyId) -> Option<Arc<Key>> {
        let keys = self.keys.read();
        keys.all.iter().find(|key| key.id() == id).cloned()
    }

    /// The key of a stored value that is none of the known ones.
    pub(super) fn missing_key(&self, stored: &[u8]) -> Option<KeyId> {
        key_id(stored).filter(|id| self.key(*id).is_none())
    }
}

impl Transformer for Encrypting {
    fn transforms(&self, key: &str) -> bool {
        let begins = |prefixes: &[String]| {
            prefixes
                .iter()
                .any(|prefix| key.starts_with(prefix.as_str()))
        };
        let kept = self.kept.as_ref();
        begins(&self.prefixes) || kept.is_some_and(|kept| begins(&kept.read()))
    }

    fn is_transformed(&self, _: &str, stored: &[u8]) -> bool {
        is_encrypted(stored)
    }

    fn is_outdated(&self, key: &str, stored: &[u8]) -> bool {
        match (self.transforms(key), key_id(stored)) {
            (true, Some(id)) => {
                let keys = self.keys.read();
                keys.first.as_ref().is_none_or(|first| first.id() != id)
            }
            (false, None) => false,
            (true, None) | (false, Some(_)) => true,
        }
    }

    fn transform_to_storage(&self, key: &str, value: &Bytes) -> Result<Bytes> {
        if !self.transforms(key) {
            return Ok(value.clone());
        }
        let first = self.keys.read().first.clone();
        let failed = |why: &str| Error::Storage(format!("encrypt {key}: {why}"));
        let first = first.ok_or_else(|| failed("there is no key"))?;
        first
            .seal(key, value)
            .map_err(|error| failed(&error.to_string()))
    }

    fn transform_from_storage(&self, key: &str, stored: &Bytes) -> Result<Bytes> {
        let Some(id) = key_id(stored) else {
            return Ok(stored.clone());
        };
        let failed = |why: &str| Error::Storage(format!("decrypt {key} with the key {id}: {why}"));
        let known = self
            .key(id)
            .ok_or_else(|| failed("it is not in the key file"))?;
        known
            .open(key, stored)
            .map_err(|error| failed(&error.to_string()))
    }
}
