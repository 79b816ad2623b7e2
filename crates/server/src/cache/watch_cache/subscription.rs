//! Watches of the server's own.

use std::sync::Arc;

use pandaemon_machinery::KindRef;
use pandaemon_types::{FieldSelector, LabelSelector};

use super::{Filter, Next, Start, Subscription, WatchCache, key};
use crate::cache::object::Object;

impl WatchCache {
    /// Watches the objects of a kind that have this value in a field; all, if none is named.
    /// Returns those that exist. `None` if the kind is not served.
    pub(crate) fn subscribe(
        &self,
        kind: &KindRef,
        namespace: Option<&str>,
        field: Option<(&str, &str)>,
    ) -> Option<(Vec<Arc<Object>>, Subscription)> {
        let objects = self.of(kind)?;
        let text = field.map(|(name, value)| format!("{name}={value}"));
        let filter = Filter {
            kind: Arc::clone(kind),
            namespace: namespace.map(Into::into),
            labels: LabelSelector::everything(),
            fields: FieldSelector::parse(&text.unwrap_or_default()).ok()?,
        };
        let prefix = match namespace {
            Some(namespace) => format!("/{}/{namespace}/", kind.storage),
            None => format!("/{}/", kind.storage),
        };
        let started = objects.watch(self.revision(), &prefix, filter, Start::State);
        let started = started.ok()?;
        Some((started.objects, started.events))
    }

    /// The object of a namespaced kind with this name, once it exists. `None` if the kind is not
    /// served, or the cache is closed.
    pub(crate) async fn wait_for(
        &self,
        kind: &KindRef,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Object>> {
        let existing = self.of(kind)?.get(&key(kind, namespace, name));
        if existing.is_some() {
            return existing;
        }
        let field = Some(("metadata.name", name));
        let mut watch = self.subscribe(kind, Some(namespace), field)?;
        loop {
            if let Some(found) = watch.0.pop() {
                return Some(found);
            }
            match watch.1.next().await {
                Next::Change(_, event) => watch.0.extend(event.change.now.clone()),
                Next::Lagged | Next::Missed => {
                    watch = self.subscribe(kind, Some(namespace), field)?;
                }
                Next::Closed => return None,
            }
        }
    }
}
