//! Reading the objects of the store into the watch cache: at the start, when a kind is added, and
//! when changes were missed.

use std::{collections::BTreeMap, sync::Arc};

use pandaemon_machinery::Kind;
use pandaemon_store::{Entry, Error, Event, Key, Range, Result, Revision, Store};

use super::{KindCache, WatchCache};

/// How many entries are read at once.
const PAGE: usize = 1000;
/// How often a read is begun anew when the store no longer keeps the revision that it is at.
const TRIES: usize = 8;

/// Reads all entries with a prefix, at a revision, or else at the latest one; returns which.
async fn read(
    store: &dyn Store,
    prefix: String,
    revision: Option<Revision>,
    mut each: impl FnMut(&Entry),
) -> Result<Revision> {
    let mut range = Range {
        prefix,
        limit: PAGE,
        revision,
        after: None,
    };
    loop {
        let page = store.range(range.clone()).await?;
        page.entries.iter().for_each(&mut each);
        if !page.has_more {
            return Ok(page.revision);
        }
        range.after = page.entries.last().map(|entry| Key::clone(&entry.key));
        range.revision = Some(page.revision);
    }
}

fn prefix(storage: &str) -> String {
    format!("/{storage}/")
}

impl WatchCache {
    /// A cache with all objects of the store at its latest revision, which it returns.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(store: &dyn Store) -> Result<(Self, Revision)> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::load_at(store, store.latest().await?).await {
                Err(Error::Compacted { .. }) if tries < TRIES => {}
                loaded => return loaded,
            }
        }
    }

    async fn load_at(store: &dyn Store, revision: Revision) -> Result<(Self, Revision)> {
        let cache = Self::new(revision);
        for (storage, kind) in cache.all() {
            let each = |entry: &Entry| kind.load(entry);
            read(store, prefix(&storage), Some(revision), each).await?;
        }
        Ok((cache, revision))
    }

    /// Adds the cache of a kind, with the objects that the store has. Does nothing for a kind that
    /// is not stored, or whose objects another kind serves already.
    ///
    /// # Errors
    /// When the store cannot be read. The kind then has no cache.
    pub async fn add_kind(&self, kind: &Kind, store: &dyn Store) -> Result<()> {
        if !kind.is_stored() || self.of(kind).is_some() {
            return Ok(());
        }
        // Changes that are made while the objects are read are not missed.
        let loading = Arc::new(KindCache::loading(
            kind.strategy.indexed_field(),
            self.budgets.clone(),
        ));
        self.insert(kind, Arc::clone(&loading));
        let each = |entry: &Entry| loading.load(entry);
        match read(store, prefix(&kind.storage), None, each).await {
            Ok(revision) => {
                // What was read may be newer than what was applied.
                self.reached(revision).await;
                loading.end_loading(revision);
                Ok(())
            }
            Err(error) => {
                self.remove_kind(kind);
                Err(error)
            }
        }
    }

    /// Reads the store again and applies the differences as changes; returns the revision of the
    /// store that it shows then.
    pub(super) async fn reload(&self, store: &dyn Store) -> Result<Revision> {
        let revision = store.latest().await?;
        let mut changes = Vec::new();
        for (storage, kind) in self.all() {
            let known = kind.every();
            let mut gone: BTreeMap<Key, Revision> = known
                .map(|object| (Key::clone(&object.key), object.revision))
                .collect();
            // Whatever they are now is news.
            gone.extend(kind.all_unreadable().into_iter().map(|key| (key, 0)));
            let each = |entry: &Entry| {
                if gone.remove(&entry.key) != Some(entry.mod_revision) {
                    changes.push(Event {
                        revision: entry.mod_revision,
                        key: Key::clone(&entry.key),
                        entry: Some(entry.clone()),
                        note: None,
                    });
                }
            };
            read(store, prefix(&storage), Some(revision), each).await?;
            changes.extend(gone.into_keys().map(|key| Event {
                revision,
                key,
                entry: None,
                note: None,
            }));
        }
        changes.sort_by_key(|event| event.revision);
        self.apply(&changes);
        self.advance(revision);
        Ok(revision)
    }
}
