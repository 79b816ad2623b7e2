//! The watch cache of one kind: its objects, history and watchers.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use imbl::OrdMap;
use pandaemon_machinery::kind::IndexedField;
use pandaemon_store::{Entry, Event as StoreEvent, Key, Revision};
use parking_lot::RwLock;

use super::{
    event::{ChangeKind, Event},
    filter::{Filter, Scope},
    watcher::Watcher,
    watcher_index::WatcherIndex,
};
use crate::object::Object;

/// Bounds of the history of a kind: events, and bytes that they retain.
const HISTORY_EVENTS: usize = 16_384;
const HISTORY_BYTES: usize = 4 << 20;

/// The recent events of a kind.
#[derive(Debug)]
struct History {
    events: VecDeque<Arc<Event>>,
    /// Bytes that the events retain.
    bytes: usize,
    /// All events after this revision are kept.
    floor: Revision,
}

impl History {
    fn new(floor: Revision) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            floor,
        }
    }

    fn push(&mut self, event: Arc<Event>) {
        self.bytes += event.retained_bytes();
        self.events.push_back(event);
        while self.events.len() > HISTORY_EVENTS || self.bytes > HISTORY_BYTES {
            let Some(old) = self.events.pop_front() else {
                break;
            };
            self.bytes -= old.retained_bytes();
            self.floor = old.revision;
        }
    }

    /// The events after a revision.
    fn after(&self, revision: Revision) -> impl Iterator<Item = &Arc<Event>> {
        let start = self
            .events
            .partition_point(|event| event.revision <= revision);
        self.events.range(start..)
    }
}

#[derive(Debug)]
struct State {
    objects: OrdMap<Key, Arc<Object>>,
    /// Keys by the value of the indexed field: the pods of each node.
    by_value: HashMap<Box<str>, BTreeSet<Key>>,
    /// Revision of the last change of this kind.
    last: Revision,
    history: History,
    watchers: WatcherIndex,
}

/// The objects, history and watchers of one kind.
#[derive(Debug)]
pub struct KindCache {
    /// Changes up to this revision are in the objects that were loaded.
    loaded: Revision,
    index: Option<IndexedField>,
    state: RwLock<State>,
}

/// Objects at one revision.
#[derive(Debug)]
pub struct Listing {
    /// The revision at which the list is consistent.
    pub revision: Revision,
    /// The selected objects, ordered by namespace and name.
    pub objects: Vec<Arc<Object>>,
}

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
    /// Events of the history to send next.
    pub backlog: VecDeque<(ChangeKind, Arc<Event>)>,
    /// The queue of the later events.
    pub watcher: Arc<Watcher>,
}

impl KindCache {
    /// An empty cache of a kind with this index. Its history starts at `floor`.
    #[must_use]
    pub fn new(floor: Revision, index: Option<IndexedField>) -> Self {
        let state = State {
            objects: OrdMap::new(),
            by_value: HashMap::new(),
            last: floor,
            history: History::new(floor),
            watchers: WatcherIndex::new(index.is_some()),
        };
        let state = RwLock::new(state);
        Self {
            loaded: floor,
            index,
            state,
        }
    }

    fn read(&self, entry: &Entry) -> Option<Arc<Object>> {
        match Object::read(entry, self.index) {
            Ok(object) => Some(Arc::new(object)),
            Err(error) => {
                tracing::error!(%error, "the watch cache skips an unreadable object");
                None
            }
        }
    }

    /// Adds an object from before the start of the history.
    pub fn load(&self, entry: &Entry) {
        if let Some(object) = self.read(entry) {
            self.state.write().put(object);
        }
    }

    /// Applies a change and offers it to the watchers.
    pub fn apply(&self, event: &StoreEvent) {
        if event.revision <= self.loaded {
            return;
        }
        // Reading the header of the object is the expensive part and needs no lock.
        let now = event.entry.as_ref().and_then(|entry| self.read(entry));
        let key = event
            .entry
            .as_ref()
            .or(event.previous.as_ref())
            .map(|entry| &entry.key);
        let Some(key) = key else { return };
        let mut state = self.state.write();
        let before = match now {
            Some(ref object) => state.put(Arc::clone(object)),
            None => state.remove(key),
        };
        state.last = event.revision;
        if now.is_none() && before.is_none() {
            return;
        }
        let event = Arc::new(Event::new(event.revision, now, before));
        // The history keeps an event without lines, so that the encoded lines are freed when the
        // last watch has sent them.
        state.history.push(Arc::new(event.without_lines()));
        state.watchers.offer(&event);
    }

    /// The object under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.state.read().objects.get(key).cloned()
    }

    /// The selected objects below the key `prefix`, at revision `applied` or later.
    #[must_use]
    pub fn list(&self, applied: Revision, prefix: &str, filter: &Filter) -> Listing {
        let (revision, objects) = {
            let state = self.state.read();
            (state.last.max(applied), state.candidates(filter))
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
            return Some((latest, state.objects.clone()));
        };
        if requested < state.history.floor || requested > latest {
            return None;
        }
        let undo: Vec<_> = state.history.after(requested).cloned().collect();
        let mut objects = state.objects.clone();
        drop(state);
        for event in undo.iter().rev() {
            let Some(object) = event.object() else {
                continue;
            };
            match &event.before {
                Some(before) => objects.insert(Arc::clone(&before.key), Arc::clone(before)),
                None => objects.remove(&*object.key),
            };
        }
        Some((requested, objects))
    }

    /// All current objects, ordered by key.
    pub fn every(&self) -> impl Iterator<Item = Arc<Object>> + use<> {
        let objects = self.state.read().objects.clone();
        objects.into_iter().map(|(_, object)| object)
    }

    /// Starts a watch of the objects below the key `prefix` that `filter` selects.
    ///
    /// # Errors
    /// The oldest revision that a watch can start from, when that of [`Start::After`] is older.
    pub fn watch(
        &self,
        applied: Revision,
        prefix: &str,
        filter: Filter,
        start: Start,
    ) -> Result<Started, Revision> {
        let watcher = Arc::new(Watcher::new(filter.scope(), filter));
        let filter = &watcher.filter;
        let mut state = self.state.write();
        let mut backlog = VecDeque::new();
        if let Start::After(revision) = start {
            if revision < state.history.floor {
                return Err(state.history.floor);
            }
            let changes = state.history.after(revision);
            backlog.extend(changes.filter_map(|e| Some((filter.change_kind(e)?, Arc::clone(e)))));
        }
        let candidates = (start == Start::State).then(|| state.candidates(filter));
        let revision = state.last.max(applied);
        state.watchers.add(Arc::clone(&watcher));
        drop(state);
        let objects = candidates
            .map(|c| c.select(prefix, filter))
            .unwrap_or_default();
        Ok(Started {
            revision,
            objects,
            backlog,
            watcher,
        })
    }

    /// Removes the watcher of a watch that the client has ended.
    pub fn unwatch(&self, watcher: &Arc<Watcher>) {
        self.state.write().watchers.remove(watcher);
    }

    /// Drops the history up to `revision`.
    pub fn forget_history(&self, revision: Revision) {
        let mut state = self.state.write();
        let floor = state.last.max(revision);
        state.history = History::new(floor);
    }

    /// Ends all watches, and those that start later.
    pub fn close(&self) {
        self.state.write().watchers.close();
    }

    /// Revision of the last change of an object of this kind.
    #[must_use]
    pub fn last_changed(&self) -> Revision {
        self.state.read().last
    }

    /// Number of open watches.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.state.read().watchers.len()
    }

    /// Number of current objects.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state.read().objects.len()
    }
}

/// Objects that a filter may select. Taken under the lock, filtered outside of it.
enum Candidates {
    Snapshot(OrdMap<Key, Arc<Object>>),
    Few(Vec<Arc<Object>>),
}

impl Candidates {
    fn select(&self, prefix: &str, filter: &Filter) -> Vec<Arc<Object>> {
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

impl State {
    fn put(&mut self, object: Arc<Object>) -> Option<Arc<Object>> {
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

    fn remove(&mut self, key: &str) -> Option<Arc<Object>> {
        let before = self.objects.remove(key)?;
        self.leave_index(&before);
        Some(before)
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

    fn candidates(&self, filter: &Filter) -> Candidates {
        let few = |keys: &mut dyn Iterator<Item = &Key>| {
            Candidates::Few(
                keys.filter_map(|key| self.objects.get(key).cloned())
                    .collect(),
            )
        };
        match filter.scope() {
            Scope::Object(name) => few(&mut std::iter::once(&Key::from(format!(
                "/{}/{name}",
                filter.kind.storage
            )))),
            Scope::Indexed(value) if !value.is_empty() => {
                few(&mut self.by_value.get(&value).into_iter().flatten())
            }
            _ => Candidates::Snapshot(self.objects.clone()),
        }
    }
}
