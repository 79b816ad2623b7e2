//! The revisioned key-value store with watch. It knows no Kubernetes semantics.
//!
//! One trait, [`Store`]; the embedded backend keeps the current state in memory in a persistent ordered
//! map, and every acknowledged write durable on disk, committed in groups.

use std::{fmt::Debug, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;

mod embedded;

pub use embedded::{Counters, Embedded, Options};

/// A single monotonic counter over all writes.
pub type Revision = u64;

/// A key such as `/pods/default/web-x7f2p`.
pub type Key = Arc<str>;

/// The current value of a key.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value as it was written.
    pub value: Bytes,
    /// Revision of the write that made the key.
    pub create_revision: Revision,
    /// Revision of the last write.
    pub mod_revision: Revision,
}

/// What the writer believes about the key; anything else is a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key was last written at this revision.
    At(Revision),
}

/// What to do with the key.
#[derive(Debug, Clone)]
pub enum Op {
    /// Write this value.
    Put(Bytes),
    /// Remove the key.
    Delete,
}

/// Whether a write must survive a crash before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On disk before the acknowledgement.
    Durable,
    /// Memory only (node heartbeats).
    Volatile,
}

/// One write.
#[derive(Debug, Clone)]
pub struct Write {
    /// Which key.
    pub key: Key,
    /// On which condition.
    pub expect: Expect,
    /// What.
    pub op: Op,
    /// How safe.
    pub durability: Durability,
}

/// A change, as watchers get it.
#[derive(Debug, Clone)]
pub struct Event {
    /// Revision of this change.
    pub revision: Revision,
    /// The new entry; `None` for a deletion.
    pub entry: Option<Entry>,
    /// The entry before; `None` for a creation.
    pub previous: Option<Entry>,
}

/// Everything at one revision. Cheap to clone, blocks nobody.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The revision.
    pub revision: Revision,
    /// All entries by key.
    pub entries: imbl::OrdMap<Key, Entry>,
}

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The condition does not hold; this is what the key holds now.
    #[error("the key has been changed")]
    Conflict(Option<Entry>),
    /// A revision that is no longer kept.
    #[error("revision {asked} has been compacted; the oldest kept is {oldest}")]
    Compacted {
        /// What was asked for.
        asked: Revision,
        /// What is still there.
        oldest: Revision,
    },
    /// A reader that was too slow.
    #[error("the reader fell too far behind")]
    Lagged,
    /// The disk refused. Nothing of the write is visible.
    #[error("storage failed: {0}")]
    Storage(String),
    /// Another process uses the data directory.
    #[error("{0}")]
    Locked(String),
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

/// Result of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A batch of changes in revision order, shared by all readers.
pub type Batch = Arc<[Event]>;

/// An ordered, gap-free feed of changes.
pub trait Feed: Send {
    /// The next batch. `Err(Lagged)` ends the feed.
    fn next(&mut self) -> BoxFuture<'_, Result<Batch>>;
}

/// The store.
pub trait Store: Send + Sync + Debug {
    /// Commits one write; resolves when it is durable (if asked) and visible in [`Store::snapshot`].
    fn commit(&self, write: Write) -> BoxFuture<'_, Result<Revision>>;
    /// The current state.
    fn snapshot(&self) -> Snapshot;
    /// All changes after `from`; used once by the watch cache of the server.
    ///
    /// # Errors
    /// [`Error::Compacted`] if the history since `from` is gone.
    fn follow(&self, from: Revision) -> Result<Box<dyn Feed>>;
    /// Stops taking writes and waits for those under way.
    fn close(&self) -> BoxFuture<'_, ()>;
}
