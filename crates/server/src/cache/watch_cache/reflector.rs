//! Fills the watch cache with the changes of the store. Upstream: the reflector of the cacher.

use std::{sync::Arc, time::Duration};

use pandaemon_store::{Error, Event, Follower, Revision, Store};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::WatchCache;

/// How long the reflector waits before it reads the store again after a failure.
const RETRY: Duration = Duration::from_millis(200);

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
        if let Some(ended) = self.ended.lock().take() {
            // Fails after the reflector has ended.
            drop(ended.send(why));
        }
    }
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

/// Keeps the cache, which shows the store at `revision`, up to date, until the store closes or a
/// change could not be applied because of a bug. Closes the cache then. When changes may have been
/// missed, it reads the store again and applies the differences.
pub async fn run_reflector(cache: Arc<WatchCache>, store: Arc<dyn Store>, mut revision: Revision) {
    // Closed after a panic as well, so that no request waits for a revision that is never applied.
    let _closes = CloseOnDrop(Arc::clone(&cache));
    loop {
        let mut why = follow(&cache, &*store, revision).await;
        revision = loop {
            match why {
                Error::Closed => return,
                Error::Panicked => {
                    tracing::error!("a change of the store could not be applied");
                    return;
                }
                why => tracing::warn!(%why, "the watch cache reads the store again"),
            }
            match cache.reload(&*store).await {
                Ok(revision) => break revision,
                Err(error) => why = error,
            }
            tokio::time::sleep(RETRY).await;
        };
    }
}

/// Closes the cache when dropped.
struct CloseOnDrop(Arc<WatchCache>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
