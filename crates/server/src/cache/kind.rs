//! The objects, the history and the watchers of one kind.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use imbl::OrdMap;
use pandaemon_store::{Entry, Event as StoreEvent, Key, Revision};
use parking_lot::RwLock;

use super::{
    event::{ChangeKind, Event},
    hub::{Filter, Hub, Scope},
    watcher::Watcher,
};
use crate::object::Object;

/// Bounds of the history of a kind.
const HISTORY_EVENTS: usize = 16_384;
const HISTORY_BYTES: usize = 16 << 20;

/// The history of a kind.
#[derive(Debug)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    weight: usize,
    /// All events after this revision are kept.
    floor: Revision,
}

impl Ring {
    fn push(&mut self, event: Arc<Event>) {
        self.weight += event.weight();
        self.events.push_back(event);
        while self.events.len() > HISTORY_EVENTS || self.weight > HISTORY_BYTES {
            let Some(old) = self.events.pop_front() else {
                break;
            };
            self.weight -= old.weight();
            self.floor = old.revision;
        }
    }

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
    /// Keys of the pods of each node.
    by_node: HashMap<Box<str>, BTreeSet<Key>>,
    last: Revision,
    ring: Ring,
    hub: Hub,
}

/// The objects of one kind.
#[derive(Debug)]
pub struct KindCache(RwLock<State>);

/// Objects as of a revision.
#[derive(Debug)]
pub struct Listing {
    /// The revision.
    pub revision: Revision,
    /// The objects in order of namespace and name.
    pub objects: Vec<Arc<Object>>,
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With all objects that are there.
    State,
    /// With what happens from now on.
    Now,
    /// With what happened after a revision.
    After(Revision),
}

/// A watch that has begun.
#[derive(Debug)]
pub struct Started {
    /// The revision of the state it began with.
    pub revision: Revision,
    /// Objects to send first.
    pub objects: Vec<Arc<Object>>,
    /// Changes to send then.
    pub backlog: VecDeque<(ChangeKind, Arc<Event>)>,
    /// Everything later.
    pub watcher: Arc<Watcher>,
}

impl KindCache {
    /// An empty cache whose history starts at `floor`.
    #[must_use]
    pub fn new(floor: Revision) -> Self {
        Self(RwLock::new(State {
            objects: OrdMap::new(),
            by_node: HashMap::new(),
            last: floor,
            ring: Ring {
                events: VecDeque::new(),
                weight: 0,
                floor,
            },
            hub: Hub::default(),
        }))
    }

    /// Takes an entry that was there before the history starts.
    pub fn load(&self, entry: &Entry) {
        if let Some(object) = read(entry) {
            self.0.write().put(object);
        }
    }

    /// Takes a change and tells those who follow.
    pub fn apply(&self, event: &StoreEvent) {
        // Reading the header is the expensive part and needs no lock.
        let now = event.entry.as_ref().and_then(read);
        let key = event
            .entry
            .as_ref()
            .or(event.previous.as_ref())
            .map(|entry| &entry.key);
        let Some(key) = key else { return };
        let mut state = self.0.write();
        let before = match now {
            Some(ref object) => state.put(Arc::clone(object)),
            None => state.remove(key),
        };
        state.last = event.revision;
        if now.is_none() && before.is_none() {
            return;
        }
        let event = Arc::new(Event::new(event.revision, now, before));
        // The history has an event of its own, so that encoded lines go when the last watch has sent them.
        state.ring.push(Arc::new(event.unread()));
        state.hub.publish(&event);
    }

    /// One object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.0.read().objects.get(key).cloned()
    }

    /// The selected objects, as of at least `applied`.
    #[must_use]
    pub fn list(&self, applied: Revision, prefix: &str, filter: &Filter) -> Listing {
        let (revision, objects) = {
            let state = self.0.read();
            (state.last.max(applied), state.candidates(filter))
        };
        let objects = objects.select(prefix, filter);
        Listing { revision, objects }
    }

    /// The whole kind as it was at `asked` (now, if that is `None`), for a walk in pages; `None` when
    /// the history does not reach back so far.
    #[must_use]
    pub fn as_of(
        &self,
        applied: Revision,
        asked: Option<Revision>,
    ) -> Option<(Revision, OrdMap<Key, Arc<Object>>)> {
        let state = self.0.read();
        let latest = state.last.max(applied);
        let Some(asked) = asked else {
            return Some((latest, state.objects.clone()));
        };
        if asked < state.ring.floor || asked > latest {
            return None;
        }
        let undo: Vec<_> = state.ring.after(asked).cloned().collect();
        let mut objects = state.objects.clone();
        drop(state);
        for event in undo.iter().rev() {
            let Some(object) = event.any() else { continue };
            match &event.before {
                Some(before) => objects.insert(Arc::clone(&before.key), Arc::clone(before)),
                None => objects.remove(&*object.key),
            };
        }
        Some((asked, objects))
    }

    /// All objects.
    pub fn every(&self) -> impl Iterator<Item = Arc<Object>> + use<> {
        let objects = self.0.read().objects.clone();
        objects.into_iter().map(|(_, object)| object)
    }

    /// Begins a watch.
    ///
    /// # Errors
    /// The oldest revision that can be asked for, when `Start::After` is older.
    pub fn watch(
        &self,
        applied: Revision,
        prefix: &str,
        filter: Filter,
        start: Start,
    ) -> Result<Started, Revision> {
        let watcher = Arc::new(Watcher::new(filter.scope(), filter));
        let filter = &watcher.filter;
        let mut state = self.0.write();
        let mut backlog = VecDeque::new();
        if let Start::After(revision) = start {
            if revision < state.ring.floor {
                return Err(state.ring.floor);
            }
            let changes = state.ring.after(revision);
            backlog.extend(changes.filter_map(|e| Some((filter.change(e)?, Arc::clone(e)))));
        }
        let candidates = (start == Start::State).then(|| state.candidates(filter));
        let revision = state.last.max(applied);
        state.hub.add(Arc::clone(&watcher));
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

    /// Ends a watch.
    pub fn unwatch(&self, watcher: &Arc<Watcher>) {
        self.0.write().hub.remove(watcher);
    }

    /// Forgets the history up to `revision`.
    pub fn forget_history(&self, revision: Revision) {
        let mut state = self.0.write();
        let floor = state.last.max(revision);
        state.ring = Ring {
            events: VecDeque::new(),
            weight: 0,
            floor,
        };
    }

    /// Ends all watches.
    pub fn close(&self) {
        self.0.write().hub.close();
    }

    /// When an object of this kind was made, changed or removed last.
    #[must_use]
    pub fn changed(&self) -> Revision {
        self.0.read().last
    }

    /// How many watches are open.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.0.read().hub.len()
    }

    /// How many objects there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.read().objects.len()
    }
}

fn read(entry: &Entry) -> Option<Arc<Object>> {
    match Object::read(entry) {
        Ok(object) => Some(Arc::new(object)),
        Err(error) => {
            tracing::error!(%error, "skipped");
            None
        }
    }
}

/// Objects that a filter may select, taken under the lock and looked through outside of it.
enum Candidates {
    Snapshot(OrdMap<Key, Arc<Object>>),
    Few(Vec<Arc<Object>>),
}

impl Candidates {
    fn select(&self, prefix: &str, filter: &Filter) -> Vec<Arc<Object>> {
        let wanted = |object: &&Arc<Object>| filter.matches(object);
        match self {
            Self::Few(objects) => objects.iter().filter(wanted).cloned().collect(),
            Self::Snapshot(objects) => below(objects, prefix)
                .map(|(_, object)| object)
                .filter(wanted)
                .cloned()
                .collect(),
        }
    }
}

/// All entries whose key starts with `prefix` (which ends in `/`).
fn below<'a>(
    objects: &'a OrdMap<Key, Arc<Object>>,
    prefix: &str,
) -> impl Iterator<Item = (&'a Key, &'a Arc<Object>)> {
    below_from(objects, prefix, prefix)
}

/// Those of them that do not come before `first`.
pub fn below_from<'a>(
    objects: &'a OrdMap<Key, Arc<Object>>,
    prefix: &str,
    first: &str,
) -> impl Iterator<Item = (&'a Key, &'a Arc<Object>)> {
    let mut end = prefix.to_owned();
    // '0' follows '/', so this is the first key behind all that start with the prefix.
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
        let node = object.node();
        if !node.is_empty() {
            let keys = self.by_node.entry(node.into()).or_default();
            keys.insert(Arc::clone(&object.key));
        }
        let before = self
            .objects
            .insert(Arc::clone(&object.key), Arc::clone(&object));
        if let Some(before) = before
            .as_ref()
            .filter(|before| before.node() != object.node())
        {
            self.leave_node(before);
        }
        before
    }

    fn remove(&mut self, key: &str) -> Option<Arc<Object>> {
        let before = self.objects.remove(key)?;
        self.leave_node(&before);
        Some(before)
    }

    fn leave_node(&mut self, object: &Object) {
        let Some(keys) = self.by_node.get_mut(object.node()) else {
            return;
        };
        keys.remove(&object.key);
        if keys.is_empty() {
            self.by_node.remove(object.node());
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
            Scope::Node(node) if !node.is_empty() => {
                few(&mut self.by_node.get(&node).into_iter().flatten())
            }
            _ => Candidates::Snapshot(self.objects.clone()),
        }
    }
}
