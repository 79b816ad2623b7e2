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
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use pandaemon_machinery::{Kind, scheme};
use pandaemon_store::{Entry, Event as StoreEvent, Revision, Snapshot};
use parking_lot::Mutex;
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
    kinds: BTreeMap<String, KindCache>,
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
        let kinds = scheme::built_in().kinds().iter();
        let stored = kinds.filter(|kind| kind.is_stored());
        let mut kinds: BTreeMap<String, KindCache> = BTreeMap::new();
        for kind in stored {
            kinds.entry(kind.storage.clone()).or_insert_with(|| {
                KindCache::new(snapshot.revision, kind.strategy.indexed_field())
            });
        }
        let cache = Self {
            kinds,
            applied: AtomicU64::new(snapshot.revision),
            waiters: Mutex::default(),
            closed: AtomicBool::new(false),
            paged_lists: PagedLists::default(),
        };
        for entry in snapshot.entries.values() {
            if let Some(kind) = cache.of_key(&entry.key) {
                kind.load(entry);
            }
        }
        cache
    }

    fn of_key(&self, key: &str) -> Option<&KindCache> {
        self.kinds.get(storage(key)?)
    }

    /// The cache of a kind; `None` for kinds that are not stored.
    #[must_use]
    pub fn of(&self, kind: &Kind) -> Option<&KindCache> {
        self.kinds.get(kind.storage.as_str())
    }

    /// The caches of all stored kinds, with their storage names.
    pub fn all(&self) -> impl Iterator<Item = (&str, &KindCache)> {
        self.kinds.iter().map(|(name, kind)| (name.as_str(), kind))
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
        self.kinds
            .values()
            .flat_map(KindCache::every)
            .map(|object| Entry {
                key: Arc::clone(&object.key),
                value: object.bytes.clone(),
                create_revision: object.revision,
                mod_revision: object.revision,
            })
    }

    /// Drops the history. Watches from an older revision get 410 Expired.
    pub fn forget_history(&self) {
        for kind in self.kinds.values() {
            kind.forget_history(self.revision());
        }
    }

    /// Ends all watches and wakes all waiters.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waiters.lock().clear();
        for kind in self.kinds.values() {
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
        self.kinds.values().map(KindCache::watchers).sum()
    }
}

#[cfg(test)]
mod tests;
