//! Stored values that are no objects, such as those that cannot be decrypted.

use pandaemon_store::{Key, Revision};

use super::{
    super::filter::{Filter, Scope},
    KindCache, object_key,
};

impl KindCache {
    /// The revision of a stored value that is no object; `None` if it is one, or does not exist.
    #[must_use]
    pub fn unreadable(&self, key: &str) -> Option<Revision> {
        self.state.read().contents.unreadable.get(key).copied()
    }

    /// The first key of a stored value that is no object, of those that a filter may select below
    /// the key `prefix`.
    #[must_use]
    pub fn first_unreadable(&self, prefix: &str, filter: &Filter) -> Option<Key> {
        let state = self.state.read();
        if state.contents.unreadable.is_empty() {
            return None;
        }
        let only = match filter.scope() {
            Scope::Object(name) => Some(object_key(filter, &name)),
            _ => None,
        };
        let mut keys = state.contents.unreadable.keys();
        keys.find(|key| match &only {
            Some(only) => only == *key,
            None => key.starts_with(prefix),
        })
        .cloned()
    }
}
