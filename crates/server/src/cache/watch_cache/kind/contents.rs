//! The objects of a kind and their index.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use imbl::OrdMap;
use pandaemon_machinery::kind::IndexedField;
use pandaemon_store::{Entry, Key, Revision};

use super::{
    super::filter::{Filter, Scope},
    object_key, range,
};
use crate::cache::object::Object;

/// The objects of a kind at one revision.
#[derive(Debug, Default)]
pub(in crate::cache::watch_cache) struct Contents {
    pub(super) objects: OrdMap<Key, Arc<Object>>,
    /// Keys by the value of the indexed field: the pods of each node.
    pub(super) by_value: HashMap<Box<str>, BTreeSet<Key>>,
    /// Keys of stored values that are no object, such as those that cannot be decrypted, with the
    /// revision of their last write.
    pub(super) unreadable: BTreeMap<Key, Revision>,
}

/// A stored value that is no object, written last at this revision.
#[derive(Debug)]
pub(super) struct Unreadable(pub(super) Revision);

/// The object of a stored entry.
pub(super) fn read(entry: &Entry, index: Option<IndexedField>) -> Result<Arc<Object>, Unreadable> {
    Object::read(entry, index).map(Arc::new).map_err(|error| {
        tracing::error!(%error, "reads that need this object fail");
        Unreadable(entry.mod_revision)
    })
}

impl Contents {
    /// Adds a stored entry.
    pub(super) fn load(&mut self, entry: &Entry, index: Option<IndexedField>) {
        match read(entry, index) {
            Ok(object) => drop(self.put(object)),
            Err(Unreadable(revision)) => {
                self.unreadable.insert(Key::clone(&entry.key), revision);
            }
        }
    }

    /// Adds or replaces an object; returns the one before.
    pub(super) fn put(&mut self, object: Arc<Object>) -> Option<Arc<Object>> {
        let value = object.indexed_value();
        if !value.is_empty() {
            let keys = self.by_value.entry(value.into()).or_default();
            keys.insert(Arc::clone(&object.key));
        }
        let before = self
            .objects
            .insert(Arc::clone(&object.key), Arc::clone(&object));
        if let Some(before) = before
            .as_ref()
            .filter(|before| before.indexed_value() != object.indexed_value())
        {
            self.leave_index(before);
        }
        before
    }

    /// Removes and returns an object.
    pub(super) fn remove(&mut self, key: &str) -> Option<Arc<Object>> {
        let before = self.objects.remove(key)?;
        self.leave_index(&before);
        Some(before)
    }

    /// Adds what was read while these keys have changed, without the old states of these.
    pub(super) fn add_unchanged(&mut self, read: Self, changed: &BTreeSet<Key>) {
        let objects = read.objects.into_iter();
        for (_, object) in objects.filter(|(key, _)| !changed.contains(key)) {
            drop(self.put(object));
        }
        let unreadable = read.unreadable.into_iter();
        let unreadable = unreadable.filter(|(key, _)| !changed.contains(key));
        self.unreadable.extend(unreadable);
    }

    fn leave_index(&mut self, object: &Object) {
        let Some(keys) = self.by_value.get_mut(object.indexed_value()) else {
            return;
        };
        keys.remove(&object.key);
        if keys.is_empty() {
            self.by_value.remove(object.indexed_value());
        }
    }

    /// The objects that a filter may select.
    pub(super) fn candidates(&self, filter: &Filter) -> Candidates {
        let few = |keys: &mut dyn Iterator<Item = &Key>| {
            Candidates::Few(
                keys.filter_map(|key| self.objects.get(key).cloned())
                    .collect(),
            )
        };
        match filter.scope() {
            Scope::Object(name) => few(&mut std::iter::once(&object_key(filter, &name))),
            Scope::Indexed(value) if !value.is_empty() => {
                few(&mut self.by_value.get(&value).into_iter().flatten())
            }
            _ => Candidates::Snapshot(self.objects.clone()),
        }
    }
}

/// Objects that a filter may select. Taken under the lock, filtered outside of it.
pub(super) enum Candidates {
    Snapshot(OrdMap<Key, Arc<Object>>),
    Few(Vec<Arc<Object>>),
}

impl Candidates {
    /// Those below the key `prefix` that the filter selects.
    pub(super) fn select(&self, prefix: &str, filter: &Filter) -> Vec<Arc<Object>> {
        let wanted = |object: &&Arc<Object>| filter.matches(object);
        match self {
            Self::Few(objects) => objects.iter().filter(wanted).cloned().collect(),
            Self::Snapshot(objects) => range(objects, prefix)
                .map(|(_, object)| object)
                .filter(wanted)
                .cloned()
                .collect(),
        }
    }
}
