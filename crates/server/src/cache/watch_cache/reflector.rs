//! Fills the watch cache with the changes of the store. Upstream: the reflector of the cacher.

use std::{sync::Arc, time::Duration};

use pandaemon_store::{Error, Event, Follower, Revision, Store};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::WatchCache;

/// How long the reflector waits before it tries again what has failed; twice as long each time.
const FIRST_RETRY: Duration = Duration::from_millis(10);
const LAST_RETRY: Duration = Duration::from_secs(1);

/// Hands the changes of a store to the watch cache. The embedded store calls it from its writer,
/// so that a write is answered once it is visible.
struct CacheFollower {
    cache: Arc<WatchCache>,
    ended: Mutex<Option<oneshot::Sender<Error>>>,
}

impl Follower for CacheFollower {
    fn apply(&self, batch: &[Event]) {
        self.cache.apply(batch);
    }

    fn end(&self, why: Error) {
        if is_final(&why) {
            // At once: a batch may have been applied in part.
            self.cache.fail(&why.to_string());
        }
        if let Some(ended) = self.ended.lock().take() {
            // Fails after the reflector has ended.
            drop(ended.send(why));
        }
    }
}

/// Whether no change comes after this, or can be applied, until the process is started again.
const fn is_final(why: &Error) -> bool {
    matches!(why, Error::Closed | Error::WriterPanicked | Error::Panicked)
}

/// Hands the changes after a revision to the cache; returns why no more come.
async fn follow(cache: &Arc<WatchCache>, store: &dyn Store, revision: Revision) -> Error {
    let (ended, end) = oneshot::channel();
    let follower = CacheFollower {
        cache: Arc::clone(cache),
        ended: Mutex::new(Some(ended)),
    };
    match store.follow(revision, Arc::new(follower)).await {
        Ok(()) => end.await.unwrap_or(Error::Closed),
        Err(why) => why,
    }
}

/// Keeps the cache up to date, until the store closes, its writer dies, or a change could not be
/// applied because of a bug. The cache fails then. Changes that broke off go on where they were.
/// If the store does not keep them any more, it is read again.
pub async fn run_reflector(cache: Arc<WatchCache>, store: Arc<dyn Store>) {
    // Also after a panic, so that no request waits for a revision that is never applied.
    let _fails = FailOnDrop(Arc::clone(&cache));
    let mut retry = FIRST_RETRY;
    loop {
        let shown = cache.revision();
        let mut why = follow(&cache, &*store, shown).await;
        if matches!(why, Error::Compacted { .. }) {
            tracing::warn!(%why, "changes of the store were missed: it is read again, and all watches end");
            match cache.reload(&*store).await {
                Ok(()) => continue,
                Err(error) => why = error,
            }
        }
        if is_final(&why) {
            return cache.fail(&why.to_string());
        }
        tracing::warn!(%why, "the changes of the store broke off; trying again");
        if cache.revision() > shown {
            retry = FIRST_RETRY;
        }
        tokio::time::sleep(retry).await;
        retry = LAST_RETRY.min(retry * 2);
    }
}

/// Lets the cache fail when dropped.
struct FailOnDrop(Arc<WatchCache>);

impl Drop for FailOnDrop {
    fn drop(&mut self) {
        self.0
            .fail("the task that applies the changes of the store has ended");
    }
}
