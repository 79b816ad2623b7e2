//! The watch cache: the current objects, the recent history and the watchers of every kind.
//! Upstream: `k8s.io/apiserver/pkg/storage/cacher`.
//!
//! It is filled with the changes of the store alone, so it contains committed writes only. A write
//! is answered after the cache has applied it, so that every read that begins after the answer sees
//! it.

mod budget;
mod event;
mod filter;
mod history;
mod kind;
mod load;
mod paged_lists;
mod reflector;
mod subscription;
mod watcher;
mod watcher_index;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use pandaemon_machinery::{Kind, scheme};
use pandaemon_store::{Event as StoreEvent, Revision};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use self::budget::Budgets;

pub use self::{
    event::{Change, ChangeKind, Event, write_line, write_wrapped},
    filter::{Filter, Scope},
    kind::{KindCache, Listing, Start, Started, Subscription, range_from},
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
    failure: OnceLock<String>,
    budgets: Budgets,
    /// The states of lists that clients are reading in pages.
    pub paged_lists: PagedLists,
}

/// The store's key of an object: `/STORAGE/NAMESPACE/NAME`, with an empty namespace if
/// cluster-scoped.
#[must_use]
pub fn key(kind: &Kind, namespace: &str, name: &str) -> pandaemon_store::Key {
    format!("/{}/{namespace}/{name}", kind.storage).into()
}

/// How many bytes a history shrinks beyond what it must.
const SHRINK_STEP: usize = 256 << 10;

/// The storage name in a key.
fn storage(key: &str) -> Option<&str> {
    let (rest, _name) = key.rsplit_once('/')?;
    let (storage, _namespace) = rest.rsplit_once('/')?;
    storage.strip_prefix('/')
}

impl WatchCache {
    /// A cache without objects. Its history starts at a revision.
    #[must_use]
    pub fn new(revision: Revision) -> Self {
        Self::with_budgets(revision, Budgets::default())
    }

    fn with_budgets(revision: Revision, budgets: Budgets) -> Self {
        let mut kinds = BTreeMap::new();
        let all = scheme::built_in().kinds().iter();
        for kind in all.filter(|kind| kind.is_stored()) {
            kinds.entry(kind.storage.clone()).or_insert_with(|| {
                let index = kind.strategy.indexed_field();
                Arc::new(KindCache::new(revision, index, budgets.clone()))
            });
        }
        Self {
            kinds: RwLock::new(kinds),
            applied: AtomicU64::new(revision),
            waiters: Mutex::default(),
            closed: AtomicBool::new(false),
            failure: OnceLock::new(),
            budgets,
            paged_lists: PagedLists::default(),
        }
    }

    fn insert(&self, kind: &Kind, cache: Arc<KindCache>) {
        self.kinds.write().insert(kind.storage.clone(), cache);
    }

    /// Drops the cache of a kind and ends its watches. Its objects stay in the store.
    pub fn remove_kind(&self, kind: &Kind) {
        let removed = self.kinds.write().remove(&kind.storage);
        if let Some(removed) = removed {
            removed.close();
        }
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

    /// Applies changes in revision order and offers them to the watchers, those of a kind together.
    pub fn apply(&self, batch: &[StoreEvent]) {
        let Some(last) = batch.last() else { return };
        let mut by_kind: Vec<(&str, Vec<&StoreEvent>)> = Vec::new();
        for event in batch {
            let Some(kind) = storage(&event.key) else {
                continue;
            };
            match by_kind.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, events)) => events.push(event),
                None => by_kind.push((kind, vec![event])),
            }
        }
        for (kind, events) in by_kind {
            // The map is not locked meanwhile.
            let cache = self.kinds.read().get(kind).cloned();
            if let Some(cache) = cache {
                cache.apply(&events);
            }
        }
        self.shrink_histories();
        self.end_slowest_watches();
        self.advance(last.revision);
    }

    /// Keeps the histories of all kinds within their common budget: the largest ones shrink.
    fn shrink_histories(&self) {
        loop {
            let excess = self.budgets.history.excess();
            if excess == 0 {
                return;
            }
            let kinds = self.all().into_iter();
            let sizes = kinds.map(|(_, kind)| (kind.history_bytes(), kind));
            let Some((size, largest)) = sizes.max_by_key(|(size, _)| *size) else {
                return;
            };
            if size == 0 {
                return;
            }
            // A little more, so that not every batch does this.
            largest.shrink_history(size.saturating_sub(excess + SHRINK_STEP));
        }
    }

    /// Keeps the queues of all watchers within their common budget: the largest are dropped, and
    /// their clients list again.
    fn end_slowest_watches(&self) {
        let queued = &self.budgets.queued;
        if queued.excess() == 0 {
            return;
        }
        let kinds = self.all().into_iter();
        let mut queues: Vec<_> = kinds.flat_map(|(_, kind)| kind.queues()).collect();
        queues.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (bytes, watcher) in queues {
            if queued.excess() == 0 {
                return;
            }
            tracing::warn!(bytes, "the slowest watch is ended");
            watcher.lag();
        }
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
        let _forgotten = Forgotten(self, revision);
        waiter.await.is_ok()
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

    /// Closes the cache because it will not hear of later changes, or has applied some in part: no
    /// read may use it any more. Does nothing after a close, when the store ends, too.
    fn fail(&self, why: &str) {
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        self.failure.get_or_init(|| {
            tracing::error!(
                why,
                "reads and writes are answered with 500 from now on: restart the server"
            );
            why.to_owned()
        });
        self.close();
    }

    /// Why no read may use the cache; `None` if it may be used.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Number of open watches.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.all().iter().map(|(_, kind)| kind.watchers()).sum()
    }
}

/// Forgets the waiters for a revision that wait no more: a revision may be one that never comes.
struct Forgotten<'a>(&'a WatchCache, Revision);

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        let mut waiters = self.0.waiters.lock();
        if let Some(waiting) = waiters.get_mut(&self.1) {
            waiting.retain(|waiter| !waiter.is_closed());
            if waiting.is_empty() {
                waiters.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests;
