//! Fills the cache from the store's feed, and finds the way back when the feed was too fast.

use std::{sync::Arc, time::Duration};

use pandaemon_store::{Error, Event, Feed, Store};

use super::Cache;

/// Follows the store until it closes.
pub async fn follow(cache: Arc<Cache>, store: Arc<dyn Store>, mut feed: Box<dyn Feed>) {
    loop {
        match feed.next().await {
            Ok(batch) => cache.apply(&batch),
            Err(Error::Closed) => break,
            Err(error) => {
                tracing::warn!(%error, "the watch cache reads the store anew");
                match restart(&cache, &*store) {
                    Ok(new) => feed = new,
                    Err(Error::Closed) => break,
                    Err(error) => {
                        tracing::error!(%error, "the store cannot be followed");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                }
            }
        }
    }
    cache.close();
}

/// Takes a new snapshot and tells the differences as changes.
fn restart(cache: &Cache, store: &dyn Store) -> Result<Box<dyn Feed>, Error> {
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
