//! The revisioned key-value store with watch. It knows no Kubernetes semantics.
//!
//! One trait, [`Store`], in the role that etcd has upstream. The backend [`Embedded`] keeps the
//! current state in memory in a persistent ordered map. Durable writes are synced to disk in groups
//! (group commit) before they are acknowledged.

use std::{fmt::Debug, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;

mod embedded;

pub use embedded::{Counters, Embedded, Options};

/// A number of the one counter over all writes (etcd's revision). It grows by one per write that
/// holds.
pub type Revision = u64;

/// A key, such as `/pods/default/web-x7f2p`. Shared by all entries and events of that key.
pub type Key = Arc<str>;

/// The current value of a key.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key that is written or was changed.
    pub key: Key,
    /// The value as it was written.
    pub value: Bytes,
    /// Revision of the write that created the key.
    pub create_revision: Revision,
    /// Revision of the last write to the key.
    pub mod_revision: Revision,
}

/// The precondition of a write: the state that the writer read. Any other state is a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key was last written at this revision.
    At(Revision),
}

/// The operation of a write.
#[derive(Debug, Clone)]
pub enum Op {
    /// Create the key or replace its value with these bytes.
    Put(Bytes),
    /// Delete the key.
    Delete,
}

/// Whether a write must survive a crash before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Synced to disk (fdatasync) before the acknowledgement.
    Durable,
    /// Kept in memory only and lost by a restart; used for node heartbeats (Leases).
    Volatile,
}

/// A conditional write of one key.
#[derive(Debug, Clone)]
pub struct Write {
    /// The key to write.
    pub key: Key,
    /// What must hold of the key for the write to happen.
    pub expect: Expect,
    /// What the write does to the key.
    pub op: Op,
    /// Whether the write must survive a crash.
    pub durability: Durability,
}

/// A change of one key, as a [`Feed`] delivers it.
#[derive(Debug, Clone)]
pub struct Event {
    /// Revision of the write that made this change.
    pub revision: Revision,
    /// The entry after the change; `None` for a deletion.
    pub entry: Option<Entry>,
    /// The entry before the change; `None` for a creation.
    pub previous: Option<Entry>,
}

/// All entries at one revision. A clone costs constant time and shares the values.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The revision of the last write that the snapshot contains.
    pub revision: Revision,
    /// All entries, ordered by key.
    pub entries: imbl::OrdMap<Key, Entry>,
}

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The precondition does not hold. Contains the current entry, if the key exists.
    #[error("the key has been changed")]
    Conflict(Option<Entry>),
    /// The history since a revision is no longer kept.
    #[error("revision {requested} has been compacted; the oldest kept is {oldest}")]
    Compacted {
        /// The requested revision.
        requested: Revision,
        /// The oldest revision that can be followed.
        oldest: Revision,
    },
    /// The reader of a feed fell further behind than the bounds allow; it must start from a new
    /// snapshot.
    #[error("the reader fell too far behind")]
    Lagged,
    /// The disk failed. No part of the write is visible.
    #[error("storage failed: {0}")]
    Storage(String),
    /// Another process has the data directory open.
    #[error("{0}")]
    Locked(String),
    /// The store is closed or closing.
    #[error("the store is closed")]
    Closed,
}

/// A result whose error is the store's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A batch of changes in revision order, shared by all readers.
pub type Batch = Arc<[Event]>;

/// A feed of all changes: in revision order, without gaps.
pub trait Feed: Send {
    /// Waits for the next batch.
    ///
    /// # Errors
    /// [`Error::Lagged`] when the reader was too slow, [`Error::Closed`] when the store has closed.
    /// Both end the feed.
    fn next(&mut self) -> BoxFuture<'_, Result<Batch>>;
}

/// A revisioned key-value store.
pub trait Store: Send + Sync + Debug {
    /// Commits one write. Resolves when it is durable (if requested) and visible in
    /// [`Store::snapshot`].
    ///
    /// # Errors
    /// [`Error::Conflict`] when the precondition does not hold, [`Error::Storage`] when the disk
    /// fails, [`Error::Closed`] after [`Store::close`].
    fn commit(&self, write: Write) -> BoxFuture<'_, Result<Revision>>;
    /// The current state: all acknowledged writes.
    fn snapshot(&self) -> Snapshot;
    /// A feed of all changes after revision `from`.
    ///
    /// # Errors
    /// [`Error::Compacted`] if the history since `from` is no longer kept.
    fn follow(&self, from: Revision) -> Result<Box<dyn Feed>>;
    /// Refuses new writes and waits until the accepted ones are done.
    fn close(&self) -> BoxFuture<'_, ()>;
}
