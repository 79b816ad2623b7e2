//! Reading the objects of the store into the watch cache: at the start, when a kind is added, and
//! when changes were missed.

use std::sync::Arc;

use pandaemon_machinery::Kind;
use pandaemon_store::{Error, Key, Range, Result, Revision, Store};

use super::{KindCache, WatchCache, kind::Contents};

/// How many entries are read at once.
const PAGE: usize = 1000;
/// How often a read is begun anew when the store no longer keeps the revision that it is at.
const TRIES: usize = 8;

/// Reads all objects of a kind, at a revision, or else at the latest one; returns which.
async fn read(
    store: &dyn Store,
    (storage, kind): (&str, &KindCache),
    revision: Option<Revision>,
) -> Result<(Contents, Revision)> {
    let mut contents = Contents::default();
    let mut range = Range {
        prefix: format!("/{storage}/"),
        limit: PAGE,
        revision,
        after: None,
    };
    loop {
        let page = store.range(range.clone()).await?;
        let entries = page.entries.iter();
        entries.for_each(|entry| kind.read(entry, &mut contents));
        if !page.has_more {
            return Ok((contents, page.revision));
        }
        range.after = page.entries.last().map(|entry| Key::clone(&entry.key));
        range.revision = Some(page.revision);
    }
}

impl WatchCache {
    /// A cache with all objects of the store at its latest revision.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(store: &dyn Store) -> Result<Self> {
        Self::new(0).loaded(store).await
    }

    /// This cache with all objects of the store.
    pub(super) async fn loaded(self, store: &dyn Store) -> Result<Self> {
        let mut tries = 1;
        loop {
            match self.reload(store).await {
                Err(Error::Compacted { .. }) if tries < TRIES => tries += 1,
                loaded => return loaded.map(|()| self),
            }
        }
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
        let loaded = async {
            let (contents, revision) = read(store, (&kind.storage, &loading), None).await?;
            // What was read may be newer than what was applied.
            if !self.reached(revision).await {
                return Err(Error::Closed);
            }
            loading.end_loading(contents, revision);
            Ok(())
        };
        let loaded = loaded.await;
        if loaded.is_err() {
            self.remove_kind(kind);
        }
        loaded
    }

    /// Shows the store as it is now instead of what was shown: changes since may not be known.
    /// Everything is read first. Then each kind is replaced at one moment, and the applied revision
    /// is raised after all. A reader that has seen a state of a kind never sees an older one.
    ///
    /// # Errors
    /// When the store cannot be read, or is behind what is shown. Nothing has changed then.
    pub(super) async fn reload(&self, store: &dyn Store) -> Result<()> {
        let (revision, shown) = (store.latest().await?, self.revision());
        if revision < shown {
            return Err(Error::Broken(format!(
                "the store is at revision {revision}, and changes up to {shown} were read from it \
                 before"
            )));
        }
        let kinds = self.all();
        let mut read_kinds = Vec::with_capacity(kinds.len());
        for (storage, kind) in &kinds {
            let (contents, _) = read(store, (storage, kind), Some(revision)).await?;
            read_kinds.push((kind, contents));
        }
        for (kind, contents) in read_kinds {
            kind.replace(contents, revision);
        }
        self.advance(revision);
        Ok(())
    }
}
