//! The watch cache of one kind: its objects, history and watchers.

mod contents;
mod unreadable;
mod watch;

use std::{collections::BTreeSet, ops::Bound, sync::Arc};

use imbl::OrdMap;
use pandaemon_machinery::kind::IndexedField;
use pandaemon_store::{Entry, Event as StoreEvent, Key, Revision};
use parking_lot::{Mutex, RwLock};

pub(super) use self::contents::Contents;
use self::contents::Unreadable;
pub use self::watch::{Start, Started, Subscription};
use super::{
    budget::{Budget, Budgets},
    event::{Change, Event},
    filter::Filter,
    history::History,
    watcher_index::WatcherIndex,
};
use crate::cache::object::{Encoded, Head, Object};

#[derive(Debug)]
struct State {
    contents: Contents,
    /// Revision of the last change of this kind.
    last: Revision,
    history: History,
    /// While the objects are being read: the keys that have changed since.
    changed_meanwhile: Option<BTreeSet<Key>>,
}

/// The objects, history and watchers of one kind.
#[derive(Debug)]
pub struct KindCache {
    index: Option<IndexedField>,
    state: RwLock<State>,
    /// Has its own lock, so that readers of objects do not wait for the watchers. Taken after
    /// `state`, if both are.
    watchers: Mutex<WatcherIndex>,
    /// Counts the bytes that the queues of all watchers retain.
    queued: Budget,
}

/// The key of the object with this name, which has the namespace.
fn object_key(filter: &Filter, name: &str) -> Key {
    format!("/{}/{name}", filter.kind.storage).into()
}

/// Objects at one revision.
#[derive(Debug)]
pub struct Listing {
    /// The revision at which the list is consistent.
    pub revision: Revision,
    /// The selected objects, ordered by namespace and name.
    pub objects: Vec<Arc<Object>>,
}

impl KindCache {
    /// An empty cache of a kind with this index. Its history starts at `floor`. What it retains
    /// counts in the budgets.
    pub(super) fn new(floor: Revision, index: Option<IndexedField>, budgets: Budgets) -> Self {
        let state = State {
            contents: Contents::default(),
            last: floor,
            history: History::new(floor, budgets.history),
            changed_meanwhile: None,
        };
        Self {
            index,
            state: RwLock::new(state),
            watchers: Mutex::new(WatcherIndex::new(index.is_some())),
            queued: budgets.queued,
        }
    }

    /// An empty cache that takes changes while its objects are being read.
    pub(super) fn loading(index: Option<IndexedField>, budgets: Budgets) -> Self {
        let cache = Self::new(0, index, budgets);
        cache.state.write().changed_meanwhile = Some(BTreeSet::new());
        cache
    }

    /// Adds a stored entry to what is read. What has not changed is shared.
    pub(super) fn read(&self, entry: &Entry, into: &mut Contents) {
        let known = self.get(&entry.key);
        match known.filter(|known| known.revision == entry.mod_revision) {
            Some(known) => drop(into.put(known)),
            None => into.load(entry, self.index),
        }
    }

    /// All objects were read, at a revision. The history starts there.
    pub(super) fn end_loading(&self, read: Contents, revision: Revision) {
        let mut state = self.state.write();
        let Some(changed) = state.changed_meanwhile.take() else {
            // Replaced meanwhile by what the store had then, and changed since.
            return;
        };
        state.contents.add_unchanged(read, &changed);
        state.last = state.last.max(revision);
        let mut history = state.history.restarted(revision);
        let later = state.history.after(revision).cloned();
        later.for_each(|change| history.push(change));
        state.history = history;
    }

    /// Replaces all objects by those of the store at a later revision. Changes in between are not
    /// known: the history starts anew, and all watches end.
    pub(super) fn replace(&self, read: Contents, revision: Revision) {
        let mut state = self.state.write();
        let old = std::mem::replace(&mut state.contents, read);
        state.changed_meanwhile = None;
        state.last = revision;
        state.history = state.history.restarted(revision);
        // Under the lock of the state: no watch of the old objects starts after this.
        self.watchers.lock().miss();
        drop(state);
        // May be much to free.
        drop(old);
    }

    /// The object of a change, from what its writer knows about it or else from its bytes.
    /// `None` for a deletion.
    fn object_of(&self, event: &StoreEvent) -> Result<Option<Arc<Object>>, Unreadable> {
        let Some(entry) = &event.entry else {
            return Ok(None);
        };
        let note = event.note.as_ref();
        let Some(head) = note.and_then(|note| note.downcast_ref::<Head>()) else {
            return contents::read(entry, self.index).map(Some);
        };
        let encoded = Encoded {
            bytes: entry.value.clone(),
            head: *head,
        };
        let key = Arc::clone(&entry.key);
        Ok(Some(Arc::new(Object::new(
            key,
            encoded,
            entry.mod_revision,
        ))))
    }

    /// Applies changes and offers them to the watchers.
    pub(super) fn apply(&self, events: &[&StoreEvent]) {
        let changes = self.apply_to_objects(events);
        self.offer(changes);
    }

    /// Applies changes to the objects and the history.
    pub(super) fn apply_to_objects(&self, events: &[&StoreEvent]) -> Vec<Change> {
        // Reading the head of an object is the expensive part and needs no lock.
        let read = events.iter().map(|event| (*event, self.object_of(event)));
        let read: Vec<_> = read.collect();
        let mut changes = Vec::with_capacity(read.len());
        let mut state = self.state.write();
        for (event, now) in read {
            if let Some(changed) = &mut state.changed_meanwhile {
                changed.insert(Key::clone(&event.key));
            }
            let now = match now {
                Ok(now) => now,
                // No watcher hears of it: the object is not gone. The next read fails.
                Err(Unreadable(revision)) => {
                    state
                        .contents
                        .unreadable
                        .insert(Key::clone(&event.key), revision);
                    state.last = event.revision;
                    continue;
                }
            };
            state.contents.unreadable.remove(&event.key);
            let before = match &now {
                Some(object) => state.contents.put(Arc::clone(object)),
                None => state.contents.remove(&event.key),
            };
            state.last = event.revision;
            if now.is_none() && before.is_none() {
                continue;
            }
            let change = Change {
                revision: event.revision,
                now,
                before,
            };
            state.history.push(change.clone());
            changes.push(change);
        }
        changes
    }

    /// Offers changes that are applied to the watchers.
    pub(super) fn offer(&self, changes: Vec<Change>) {
        // Batches come one after the other, and a watch that has started meanwhile ignores changes
        // from before.
        let mut watchers = self.watchers.lock();
        for change in changes {
            watchers.offer(&Arc::new(Event::new(change, &self.queued)));
        }
    }

    /// Bytes that the history retains.
    pub(super) fn history_bytes(&self) -> usize {
        self.state.read().history.bytes()
    }

    /// Drops the oldest part of the history, so that it retains at most so many bytes.
    pub(super) fn shrink_history(&self, bytes: usize) {
        self.state.write().history.shrink_to(bytes);
    }

    /// The object under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.state.read().contents.objects.get(key).cloned()
    }

    /// The objects below the key `prefix` that have this value in the indexed field: the pods of a
    /// node.
    #[must_use]
    pub fn indexed(&self, prefix: &str, value: &str) -> Vec<Arc<Object>> {
        let state = self.state.read();
        let keys = state
            .contents
            .by_value
            .get(value)
            .into_iter()
            .flat_map(|keys| {
                let from = keys.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
                from.take_while(|key| key.starts_with(prefix))
            });
        keys.filter_map(|key| state.contents.objects.get(key).cloned())
            .collect()
    }

    /// The selected objects below the key `prefix`, at revision `applied` or later.
    #[must_use]
    pub fn list(&self, applied: Revision, prefix: &str, filter: &Filter) -> Listing {
        let (revision, objects) = {
            let state = self.state.read();
            (state.last.max(applied), state.contents.candidates(filter))
        };
        let objects = objects.select(prefix, filter);
        Listing { revision, objects }
    }

    /// All objects at revision `requested` (`None`: now), for a list in pages. Returns `None` when
    /// the history does not reach back to that revision.
    #[must_use]
    pub fn as_of(
        &self,
        applied: Revision,
        requested: Option<Revision>,
    ) -> Option<(Revision, OrdMap<Key, Arc<Object>>)> {
        let state = self.state.read();
        let latest = state.last.max(applied);
        let Some(requested) = requested else {
            return Some((latest, state.contents.objects.clone()));
        };
        if requested < state.history.floor() || requested > latest {
            return None;
        }
        let undo: Vec<_> = state.history.after(requested).cloned().collect();
        let mut objects = state.contents.objects.clone();
        drop(state);
        for change in undo.iter().rev() {
            let Some(object) = change.object() else {
                continue;
            };
            match &change.before {
                Some(before) => objects.insert(Arc::clone(&before.key), Arc::clone(before)),
                None => objects.remove(&*object.key),
            };
        }
        Some((requested, objects))
    }

    /// All current objects, ordered by key, and the revision of the last change.
    #[must_use]
    pub fn snapshot(&self) -> (Revision, OrdMap<Key, Arc<Object>>) {
        let state = self.state.read();
        (state.last, state.contents.objects.clone())
    }

    /// The changes after a revision, and the revision of the last change. Returns `None` when the
    /// history does not reach back to that revision.
    #[must_use]
    pub fn changes_after(&self, revision: Revision) -> Option<(Revision, Vec<Change>)> {
        let state = self.state.read();
        let is_known = revision >= state.history.floor();
        is_known.then(|| (state.last, state.history.after(revision).cloned().collect()))
    }

    /// All current objects, ordered by key.
    pub fn every(&self) -> impl Iterator<Item = Arc<Object>> + use<> {
        let objects = self.state.read().contents.objects.clone();
        objects.into_iter().map(|(_, object)| object)
    }

    /// Drops the history up to `revision`.
    pub(super) fn forget_history(&self, revision: Revision) {
        let mut state = self.state.write();
        let floor = state.last.max(revision);
        state.history = state.history.restarted(floor);
    }

    /// Ends all watches, and those that start later.
    pub fn close(&self) {
        self.watchers.lock().close();
    }

    /// Revision of the last change of an object of this kind.
    #[must_use]
    pub fn last_changed(&self) -> Revision {
        self.state.read().last
    }

    /// Number of open watches.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.watchers.lock().len()
    }

    /// Number of current objects.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state.read().contents.objects.len()
    }
}

/// The objects whose key starts with `prefix`, which ends in `/`.
fn range<'a>(
    objects: &'a OrdMap<Key, Arc<Object>>,
    prefix: &str,
) -> impl Iterator<Item = (&'a Key, &'a Arc<Object>)> {
    range_from(objects, prefix, prefix)
}

/// The objects whose key starts with `prefix`, which ends in `/`, and is not less than `first`.
pub fn range_from<'a>(
    objects: &'a OrdMap<Key, Arc<Object>>,
    prefix: &str,
    first: &str,
) -> impl Iterator<Item = (&'a Key, &'a Arc<Object>)> {
    let mut end = prefix.to_owned();
    // '0' follows '/' in ASCII, so this is the first key after all keys with the prefix.
    end.pop();
    end.push('0');
    let bounds = (
        Bound::Included(first.max(prefix)),
        Bound::Excluded(end.as_str()),
    );
    objects.range::<_, str>(bounds)
}
