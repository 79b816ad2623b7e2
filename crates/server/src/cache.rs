//! The watch cache: the current objects of every kind, the recent history, and who follows them.
//!
//! Filled from the store's feed alone, so what it shows has been committed. A writer waits until the
//! cache has its revision, so everybody reads what has been acknowledged.

mod event;
mod follow;
mod hub;
mod kind;
mod walks;
mod watcher;

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
    follow::follow,
    hub::{Filter, Scope},
    kind::{KindCache, Listing, Start, Started, below_from},
    walks::{Objects, Walks},
    watcher::{Next, Watcher},
};

/// Current state and recent history of all kinds.
#[derive(Debug)]
pub struct Cache {
    kinds: BTreeMap<&'static str, KindCache>,
    applied: AtomicU64,
    waiters: Mutex<BTreeMap<Revision, Vec<oneshot::Sender<()>>>>,
    closed: AtomicBool,
    /// Lists that are being read in pages.
    pub walks: Walks,
}

/// The store's key of an object.
#[must_use]
pub fn key(kind: &Kind, namespace: &str, name: &str) -> pandaemon_store::Key {
    format!("/{}/{namespace}/{name}", kind.storage).into()
}

/// The storage part of a key: what is left of namespace and name.
fn storage(key: &str) -> Option<&str> {
    let (rest, _name) = key.rsplit_once('/')?;
    let (storage, _namespace) = rest.rsplit_once('/')?;
    storage.strip_prefix('/')
}

impl Cache {
    /// A cache of everything in the snapshot. Its history starts there.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        let stored = scheme::kinds()
            .iter()
            .filter(|kind| kind.verbs.contains(&"list"));
        let mut kinds: BTreeMap<&'static str, KindCache> = BTreeMap::new();
        for kind in stored {
            kinds
                .entry(kind.storage)
                .or_insert_with(|| KindCache::new(snapshot.revision));
        }
        let cache = Self {
            kinds,
            applied: AtomicU64::new(snapshot.revision),
            waiters: Mutex::default(),
            closed: AtomicBool::new(false),
            walks: Walks::default(),
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

    /// The objects of a kind; `None` for kinds that are not stored.
    #[must_use]
    pub fn of(&self, kind: &Kind) -> Option<&KindCache> {
        self.kinds.get(kind.storage)
    }

    /// All stored kinds.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &KindCache)> {
        self.kinds.iter().map(|(name, kind)| (*name, kind))
    }

    /// Everything up to this revision is visible.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.applied.load(Ordering::Acquire)
    }

    /// Takes over changes in revision order and tells those who follow.
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

    fn advance(&self, revision: Revision) {
        let mut waiters = self.waiters.lock();
        self.applied.store(revision, Ordering::Release);
        let later = waiters.split_off(&(revision + 1));
        let ready = std::mem::replace(&mut *waiters, later);
        drop(waiters);
        for waiter in ready.into_values().flatten() {
            // A waiter that went away does not care.
            let _gone = waiter.send(());
        }
    }

    /// Resolves when the revision is visible; `false` if the cache was closed first.
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

    /// Everything that is cached, as the store holds it.
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

    /// Forgets the history: watches that ask for something older get 410.
    pub fn forget_history(&self) {
        for kind in self.kinds.values() {
            kind.forget_history(self.revision());
        }
    }

    /// Ends all watches and all waiting.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waiters.lock().clear();
        for kind in self.kinds.values() {
            kind.close();
        }
    }

    /// Whether [`Cache::close`] has been called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// How many watches are open.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.kinds.values().map(KindCache::watchers).sum()
    }
}

/// Shared by everything that reads.
pub type SharedCache = Arc<Cache>;

#[cfg(test)]
mod tests;
