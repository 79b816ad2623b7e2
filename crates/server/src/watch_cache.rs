//! The watch cache: the current objects, the recent history and the watchers of every kind.
//! Upstream: `k8s.io/apiserver/pkg/storage/cacher`.
//!
//! It is filled from the store's feed alone, so it contains committed writes only. A write is
//! answered after the cache has applied it, so that every read that begins after the answer sees
//! it.

mod event;
mod filter;
mod kind;
mod paged_lists;
mod reflector;
mod watcher;
mod watcher_index;

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use pandaemon_machinery::{Kind, scheme};
use pandaemon_store::{Entry, Event as StoreEvent, Revision, Snapshot};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

pub use self::{
    event::{ChangeKind, Event, write_line, write_wrapped},
    filter::{Filter, Scope},
    kind::{KindCache, Listing, Start, Started, range_from},
    paged_lists::{Objects, PagedLists},
    reflector::run_reflector,
    watcher::{Next, Watcher},
};

/// The current objects, the recent history and the watchers of all kinds.
#[derive(Debug)]
pub struct WatchCache {
    /// By storage name. Kinds come and go while the server runs.
    kinds: RwLock<BTreeMap<String, Arc<KindCache>>>,
    applied: AtomicU64,
    waiters: Mutex<BTreeMap<Revision, Vec<oneshot::Sender<()>>>>,
    closed: AtomicBool,
    /// The states of lists that clients are reading in pages.
    pub paged_lists: PagedLists,
}

/// The store's key of an object: `/STORAGE/NAMESPACE/NAME`, with an empty namespace if
/// cluster-scoped.
#[must_use]
pub fn key(kind: &Kind, namespace: &str, name: &str) -> pandaemon_store::Key {
    format!("/{}/{namespace}/{name}", kind.storage).into()
}

/// The storage name in a key.
fn storage(key: &str) -> Option<&str> {
    let (rest, _name) = key.rsplit_once('/')?;
    let (storage, _namespace) = rest.rsplit_once('/')?;
    storage.strip_prefix('/')
}

impl WatchCache {
    /// A cache with all objects of the snapshot. Its history starts at the snapshot's revision.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        let cache = Self {
            kinds: RwLock::default(),
            applied: AtomicU64::new(snapshot.revision),
            waiters: Mutex::default(),
            closed: AtomicBool::new(false),
            paged_lists: PagedLists::default(),
        };
        for kind in scheme::built_in().kinds() {
            cache.add_kind(kind, || snapshot.clone());
        }
        cache
    }

    /// Adds the cache of a kind, with the objects that the store has. Does nothing for a kind that
    /// is not stored, or whose objects another kind serves already.
    pub fn add_kind(&self, kind: &Kind, snapshot: impl FnOnce() -> Snapshot) {
        // A change that is applied before this lock is in the snapshot; a later one finds the kind.
        let mut kinds = self.kinds.write();
        if !kind.is_stored() || kinds.contains_key(&kind.storage) {
            return;
        }
        let snapshot = snapshot();
        let loaded = KindCache::new(snapshot.revision, kind.strategy.indexed_field());
        // '0' follows '/' in ASCII, so this is the first key after all keys with the prefix.
        let (first, end) = (format!("/{}/", kind.storage), format!("/{}0", kind.storage));
        let keys = (
            Bound::Included(first.as_str()),
            Bound::Excluded(end.as_str()),
        );
        for (_, entry) in snapshot.entries.range::<_, str>(keys) {
            loaded.load(entry);
        }
        kinds.insert(kind.storage.clone(), Arc::new(loaded));
    }

    /// Drops the cache of a kind and ends its watches. Its objects stay in the store.
    pub fn remove_kind(&self, kind: &Kind) {
        let removed = self.kinds.write().remove(&kind.storage);
        if let Some(removed) = removed {
            removed.close();
        }
    }

    fn of_key(&self, key: &str) -> Option<Arc<KindCache>> {
        self.kinds.read().get(storage(key)?).cloned()
    }

    /// The cache of a kind; `None` for kinds that are not stored.
    #[must_use]
    pub fn of(&self, kind: &Kind) -> Option<Arc<KindCache>> {
        self.kinds.read().get(kind.storage.as_str()).cloned()
    }

    /// The caches of all stored kinds, with their storage names.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Arc<KindCache>)> {
        let kinds = self.kinds.read();
        let all = kinds
            .iter()
            .map(|(name, kind)| (name.clone(), Arc::clone(kind)));
        all.collect()
    }

    /// The applied revision: all changes up to it are visible.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.applied.load(Ordering::Acquire)
    }

    /// Applies changes in revision order and offers them to the watchers.
    pub fn apply(&self, batch: &[StoreEvent]) {
        let Some(last) = batch.last() else { return };
        for event in batch {
            let entry = event.entry.as_ref().or(event.previous.as_ref());
            if let Some(kind) = entry.and_then(|entry| self.of_key(&entry.key)) {
                kind.apply(event);
            }
        }
        self.advance(last.revision);
    }

    /// Sets the applied revision and wakes its waiters.
    fn advance(&self, revision: Revision) {
        let mut waiters = self.waiters.lock();
        self.applied.store(revision, Ordering::Release);
        let later = waiters.split_off(&(revision + 1));
        let ready = std::mem::replace(&mut *waiters, later);
        drop(waiters);
        for waiter in ready.into_values().flatten() {
            // Fails if the waiting request was dropped.
            let _dropped = waiter.send(());
        }
    }

    /// Waits until the revision is applied. Returns `false` if the cache is closed first.
    pub async fn reached(&self, revision: Revision) -> bool {
        let waiter = {
            let mut waiters = self.waiters.lock();
            if self.revision() >= revision {
                return true;
            }
            if self.closed.load(Ordering::Acquire) {
                return false;
            }
            let (sender, receiver) = oneshot::channel();
            waiters.entry(revision).or_default().push(sender);
            receiver
        };
        waiter.await.is_ok()
    }

    /// The revision of the cached object under a key.
    fn revision_of(&self, key: &str) -> Option<Revision> {
        Some(self.of_key(key)?.get(key)?.revision)
    }

    /// All cached objects as entries of the store.
    fn entries(&self) -> impl Iterator<Item = Entry> {
        self.all()
            .into_iter()
            .flat_map(|(_, kind)| kind.every())
            .map(|object| Entry {
                key: Arc::clone(&object.key),
                value: object.bytes.clone(),
                create_revision: object.revision,
                mod_revision: object.revision,
            })
    }

    /// Drops the history. Watches from an older revision get 410 Expired.
    pub fn forget_history(&self) {
        for (_, kind) in self.all() {
            kind.forget_history(self.revision());
        }
    }

    /// Ends all watches and wakes all waiters.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waiters.lock().clear();
        for (_, kind) in self.all() {
            kind.close();
        }
    }

    /// Whether [`WatchCache::close`] has been called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Number of open watches.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.all().iter().map(|(_, kind)| kind.watchers()).sum()
    }
}

#[cfg(test)]
mod tests;
