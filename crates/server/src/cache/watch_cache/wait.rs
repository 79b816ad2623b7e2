//! Waiting for an object to exist.

use std::{future::poll_fn, sync::Arc};

use pandaemon_machinery::{Kind, KindRef};
use pandaemon_types::{FieldSelector, LabelSelector};

use super::{Filter, KindCache, Next, Start, WatchCache, Watcher, key};
use crate::cache::object::Object;

/// A watch that ends when it is dropped.
struct Watching(Arc<KindCache>, Arc<Watcher>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.unwatch(&self.1);
    }
}

impl WatchCache {
    /// The object of a namespaced kind with this name, once it exists. `None` if the kind is not
    /// served, or the cache is closed.
    pub(crate) async fn wait_for(
        &self,
        kind: &KindRef,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Object>> {
        let objects = self.of(kind)?;
        let existing = || objects.get(&key(kind, namespace, name));
        if let Some(found) = existing() {
            return Some(found);
        }
        let filter = Filter {
            kind: Arc::clone(kind),
            namespace: Some(namespace.into()),
            labels: LabelSelector::everything(),
            fields: FieldSelector::parse(&format!("metadata.name={name}")).ok()?,
        };
        let prefix = prefix(kind, namespace);
        let started = objects.watch(self.revision(), &prefix, filter, Start::Now);
        let watching = Watching(Arc::clone(&objects), started.ok()?.watcher);
        loop {
            // Also what was created between the first look and the start of the watch.
            if let Some(found) = existing() {
                return Some(found);
            }
            match poll_fn(|context| watching.1.poll_next(context)).await {
                Next::Change(..) => {}
                Next::Closed | Next::Lagged => return None,
            }
        }
    }
}

/// What the keys of a namespace begin with.
fn prefix(kind: &Kind, namespace: &str) -> String {
    format!("/{}/{namespace}/", kind.storage)
}
