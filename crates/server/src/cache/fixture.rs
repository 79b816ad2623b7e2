//! Changes of objects in a watch cache without a store, for tests.

use std::sync::Arc;

use pandaemon_machinery::Kind;
use pandaemon_store::{Entry, Event, Revision};
use serde_json::Value;

use super::{
    object,
    watch_cache::{WatchCache, key},
};
use crate::registry::meta;

/// Puts an object at the next revision.
pub(crate) fn put(cache: &WatchCache, kind: &Kind, object: &Value) {
    let names = (meta::text(object, "namespace"), meta::name(object));
    change(cache, kind, cache.revision() + 1, names, Some(object));
}

/// Puts (or, with `None`, deletes) the object with this namespace and name at a revision.
pub(crate) fn change(
    cache: &WatchCache,
    kind: &Kind,
    revision: Revision,
    (namespace, name): (&str, &str),
    object: Option<&Value>,
) {
    let key = key(kind, namespace, name);
    let entry = object.map(|object| Entry {
        key: Arc::clone(&key),
        value: object::encode(object, kind.strategy.indexed_field())
            .unwrap()
            .bytes,
        create_revision: revision,
        mod_revision: revision,
    });
    cache.apply(&[Event {
        revision,
        key,
        entry,
        note: None,
    }]);
}
