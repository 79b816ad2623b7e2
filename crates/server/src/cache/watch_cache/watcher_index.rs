//! The index of watchers by scope, so that an event is offered only to watchers that may select it.

use std::{collections::HashMap, sync::Arc};

use super::{event::Event, filter::Scope, watcher::Watcher};
use crate::cache::object::Object;

/// The watchers of one kind, by scope. An event is offered only to the scopes that it touches.
#[derive(Debug, Default)]
pub(super) struct WatcherIndex {
    by_scope: HashMap<Scope, Vec<Arc<Watcher>>>,
    count: usize,
    closed: bool,
    /// Whether the kind has an indexed field.
    is_indexed: bool,
}

impl WatcherIndex {
    /// An index without watchers.
    pub(super) fn new(is_indexed: bool) -> Self {
        Self {
            is_indexed,
            ..Self::default()
        }
    }

    /// Adds a watcher. On a closed index the watch ends immediately.
    pub(super) fn add(&mut self, watcher: Arc<Watcher>) {
        if self.closed {
            return watcher.close();
        }
        self.count += 1;
        self.by_scope
            .entry(watcher.scope.clone())
            .or_default()
            .push(watcher);
    }

    /// Removes a watcher, if it is still there.
    pub(super) fn remove(&mut self, watcher: &Arc<Watcher>) {
        let Some(watchers) = self.by_scope.get_mut(&watcher.scope) else {
            return;
        };
        if let Some(at) = watchers
            .iter()
            .position(|other| Arc::ptr_eq(other, watcher))
        {
            watchers.swap_remove(at);
            self.count -= 1;
        }
        if watchers.is_empty() {
            self.by_scope.remove(&watcher.scope);
        }
    }

    /// Offers an event to the watchers whose scope contains its object.
    pub(super) fn offer(&mut self, event: &Arc<Event>) {
        if self.by_scope.is_empty() {
            return;
        }
        let Some(object) = event.change.object() else {
            return;
        };
        let (namespace, name) = (object.namespace(), object.name());
        self.offer_to(&Scope::All, event);
        if !namespace.is_empty() {
            self.offer_to(&Scope::Namespace(namespace.into()), event);
        }
        self.offer_to(&Scope::Object(format!("{namespace}/{name}").into()), event);
        if self.is_indexed {
            self.offer_by_index(event);
        }
    }

    /// Offers an event to the watchers of the indexed value, and of the previous value if that
    /// differs.
    fn offer_by_index(&mut self, event: &Arc<Event>) {
        let value = |object: &Option<Arc<Object>>| {
            let value = object.as_ref().map(|object| object.indexed_value());
            value.map(|value| Scope::Indexed(value.into()))
        };
        let (now, before) = (value(&event.change.now), value(&event.change.before));
        let before = before.filter(|before| Some(before) != now.as_ref());
        for scope in now.into_iter().chain(before) {
            self.offer_to(&scope, event);
        }
    }

    /// Offers an event to the watchers of a scope and removes those that cannot take it.
    fn offer_to(&mut self, scope: &Scope, event: &Arc<Event>) {
        let Some(watchers) = self.by_scope.get_mut(scope) else {
            return;
        };
        let before = watchers.len();
        watchers.retain(|watcher| watcher.offer(event));
        self.count -= before - watchers.len();
        if watchers.is_empty() {
            self.by_scope.remove(scope);
        }
    }

    /// The watchers with queued events, and how many bytes these retain.
    pub(super) fn queues(&self) -> Vec<(usize, Arc<Watcher>)> {
        let all = self.by_scope.values().flatten();
        let sizes = all.map(|watcher| (watcher.queued_bytes(), watcher));
        let used = sizes.filter(|(bytes, _)| *bytes > 0);
        used.map(|(bytes, watcher)| (bytes, Arc::clone(watcher)))
            .collect()
    }

    /// Ends all watches, and those that are added later.
    pub(super) fn close(&mut self) {
        self.end_all(Watcher::close);
        self.closed = true;
    }

    /// Ends all watches: there are changes that are not known.
    pub(super) fn miss(&mut self) {
        self.end_all(Watcher::miss);
    }

    fn end_all(&mut self, end: impl Fn(&Watcher)) {
        for watcher in self.by_scope.values().flatten() {
            end(watcher);
        }
        self.by_scope.clear();
        self.count = 0;
    }

    /// Number of open watches.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.count
    }
}
