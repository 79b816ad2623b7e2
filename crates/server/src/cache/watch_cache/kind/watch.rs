//! The start of watches of a kind.

use std::{future::poll_fn, ops::Deref, sync::Arc};

use pandaemon_store::Revision;

use super::KindCache;
use crate::cache::{
    object::Object,
    watch_cache::{Event, Filter, Next, Watcher},
};

/// Where a watch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the current objects as ADDED events.
    State,
    /// With the changes from now on.
    Now,
    /// With the changes after a revision.
    After(Revision),
}

/// A watch that has started.
#[derive(Debug)]
pub struct Started {
    /// The revision at which it started.
    pub revision: Revision,
    /// Objects to send first, as ADDED events.
    pub objects: Vec<Arc<Object>>,
    /// The queue of the later events, those of the history first.
    pub events: Subscription,
}

/// A registered watcher. It is removed from the index when this is dropped, whatever happens
/// between the start of a watch and its end.
#[derive(Debug)]
pub struct Subscription {
    objects: Arc<KindCache>,
    watcher: Arc<Watcher>,
}

impl Subscription {
    /// The next event, or the reason for the end.
    pub(crate) async fn next(&self) -> Next {
        poll_fn(|context| self.watcher.poll_next(context)).await
    }
}

impl Deref for Subscription {
    type Target = Watcher;

    fn deref(&self) -> &Watcher {
        &self.watcher
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.objects.unwatch(&self.watcher);
    }
}

impl KindCache {
    /// Starts a watch of the objects below the key `prefix` that `filter` selects.
    ///
    /// # Errors
    /// The oldest revision that a watch can start from, when that of [`Start::After`] is older.
    pub fn watch(
        self: &Arc<Self>,
        applied: Revision,
        prefix: &str,
        filter: Filter,
        start: Start,
    ) -> Result<Started, Revision> {
        let watcher = Arc::new(Watcher::new(filter.scope(), filter));
        let filter = &watcher.filter;
        let state = self.state.read();
        if let Start::After(revision) = start {
            if revision < state.history.floor() {
                return Err(state.history.floor());
            }
            // The history is smaller than a queue may be.
            for change in state.history.after(revision) {
                watcher.offer(&Arc::new(Event::new(change.clone(), &self.queued)));
            }
        }
        let candidates = (start == Start::State).then(|| state.contents.candidates(filter));
        let revision = state.last.max(applied);
        watcher.start_after(state.last);
        self.watchers.lock().add(Arc::clone(&watcher));
        // From here on it is removed from the index whatever happens.
        let events = Subscription {
            objects: Arc::clone(self),
            watcher: Arc::clone(&watcher),
        };
        drop(state);
        let objects = candidates
            .map(|c| c.select(prefix, filter))
            .unwrap_or_default();
        Ok(Started {
            revision,
            objects,
            events,
        })
    }

    /// Removes the watcher of a watch that has ended.
    fn unwatch(&self, watcher: &Arc<Watcher>) {
        self.watchers.lock().remove(watcher);
    }

    /// The watchers with events in their queues, and how many bytes these retain.
    pub(in crate::cache::watch_cache) fn queues(&self) -> Vec<(usize, Arc<Watcher>)> {
        self.watchers.lock().queues()
    }
}
