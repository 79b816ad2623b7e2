//! Fills the watch cache from the store's feed. Upstream: the reflector of the cacher.

use std::{sync::Arc, time::Duration};

use pandaemon_store::{Error, Event, Feed, Store};

use super::WatchCache;

/// Applies the feed to the cache until the store closes, then closes the cache. After
/// [`Error::Lagged`] it takes a new snapshot and applies the differences.
pub async fn run_reflector(cache: Arc<WatchCache>, store: Arc<dyn Store>, mut feed: Box<dyn Feed>) {
    // Closed after a panic as well, so that no request waits for a revision that is never applied.
    let _closes = CloseOnDrop(Arc::clone(&cache));
    loop {
        match feed.next().await {
            Ok(batch) => cache.apply(&batch),
            Err(Error::Closed) => break,
            Err(error) => {
                tracing::warn!(%error, "the watch cache lost the store's feed and resumes from a snapshot");
                match resync(&cache, &*store) {
                    Ok(new) => feed = new,
                    Err(Error::Closed) => break,
                    Err(error) => {
                        tracing::error!(%error, "the watch cache cannot follow the store; retrying");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                }
            }
        }
    }
}

/// Closes the cache when dropped.
struct CloseOnDrop(Arc<WatchCache>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Takes a new snapshot, applies its differences to the cache as changes, and follows from there.
fn resync(cache: &WatchCache, store: &dyn Store) -> Result<Box<dyn Feed>, Error> {
    let snapshot = store.snapshot();
    let feed = store.follow(snapshot.revision)?;
    let mut changes: Vec<Event> = snapshot
        .entries
        .values()
        .filter(|entry| cache.revision_of(&entry.key) != Some(entry.mod_revision))
        .map(|entry| Event {
            revision: entry.mod_revision,
            entry: Some(entry.clone()),
            previous: None,
        })
        .collect();
    changes.sort_by_key(|event| event.revision);
    for entry in cache.entries() {
        if !snapshot.entries.contains_key(&entry.key) {
            let revision = snapshot.revision;
            changes.push(Event {
                revision,
                entry: None,
                previous: Some(entry),
            });
        }
    }
    cache.apply(&changes);
    cache.advance(snapshot.revision);
    Ok(feed)
}
