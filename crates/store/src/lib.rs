//! The revisioned key-value store with watch. It knows no Kubernetes semantics.
//!
//! One trait, [`Store`], in the role that etcd has upstream, written so that a remote store can
//! serve it: every read and write may take time, and a write may get no answer. The backend
//! [`Embedded`] keeps the current state in memory in a persistent ordered map. Durable writes are
//! synced to disk in groups (group commit) before they are acknowledged. The backend
//! `double::Double` is for tests.
//!
//! `docs/design/store.md` has the guarantees.

use std::{any::Any, fmt::Debug, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;

mod disk;
#[cfg(feature = "double")]
pub mod double;
mod embedded;
pub mod encryption;
mod random;
mod transaction;
mod transform;

#[cfg(any(test, feature = "fuzzing"))]
pub use embedded::fuzzing;
pub use embedded::{
    BackupError, BackupReader, BackupStream, Contents, Counters, Damage, Embedded, FileReport,
    MANIFEST, Missing, OfflineStore, Options, Replaced, Report, StateSnapshot, check,
};
pub use transaction::{MAX_OPERATIONS, MAX_TRANSACTION_BYTES, Transaction};
pub use transform::{Transformed, Transformer};

/// A number of the one counter over all transactions (etcd's revision). It grows by one with each
/// transaction that changes something.
pub type Revision = u64;

/// A key, such as `/pods/default/web-x7f2p`. Shared by all entries and events of that key. Its
/// first segment, `pods` here, is its collection.
pub type Key = Arc<str>;

/// What a key begins with: all but its last two segments, such as `/apps/daemonsets/` of
/// `/apps/daemonsets/default/web`.
#[must_use]
pub fn prefix_of(key: &str) -> &str {
    let rest = key.rsplit_once('/').map_or("", |(rest, _)| rest);
    match rest.rfind('/') {
        Some(at) if at > 0 => key.get(..=at).unwrap_or(key),
        _ => key,
    }
}

/// What the writer of a value knows about it, for the readers in its process. A store may drop it.
pub type Note = Arc<dyn Any + Send + Sync>;

/// The current value of a key.
#[derive(Clone)]
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

/// Without the value: it may be a Secret.
impl Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("len", &self.value.len())
            .field("create_revision", &self.create_revision)
            .field("mod_revision", &self.mod_revision)
            .finish_non_exhaustive()
    }
}

/// The guard of a write: the state that the writer read. Any other state is a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key was last written at this revision.
    At(Revision),
}

impl Expect {
    /// Whether this is the state of the key.
    #[must_use]
    pub fn holds(self, current: Option<&Entry>) -> bool {
        match self {
            Self::Absent => current.is_none(),
            Self::At(revision) => current.is_some_and(|entry| entry.mod_revision == revision),
        }
    }
}

/// The operation of a write.
#[derive(Clone)]
pub enum Op {
    /// Create the key or replace its value with these bytes.
    Put(Bytes),
    /// Delete the key.
    Delete,
    /// Change nothing: the transaction depends on the state of the key.
    Check,
}

/// Without the value: it may be a Secret.
impl Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Put(value) => write!(f, "Put({} bytes)", value.len()),
            Self::Delete => f.write_str("Delete"),
            Self::Check => f.write_str("Check"),
        }
    }
}

/// Whether a transaction must survive a crash before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Synced to disk (fdatasync) before the acknowledgement.
    #[default]
    Durable,
    /// Kept in memory only and lost by a restart; used for node heartbeats (Leases). A volatile
    /// write to a durable key is durable.
    Volatile,
}

/// A guarded write of one key.
#[derive(Clone)]
pub struct Write {
    /// The key to write.
    pub key: Key,
    /// What must hold of the key for the transaction to happen.
    pub expect: Expect,
    /// What the write does to the key.
    pub op: Op,
    /// What the writer knows about the new value.
    pub note: Option<Note>,
}

impl Write {
    /// Whether its guard holds. What does not exist cannot be deleted.
    #[must_use]
    pub fn holds(&self, current: Option<&Entry>) -> bool {
        let is_void = self.expect == Expect::Absent && matches!(self.op, Op::Delete);
        !is_void && self.expect.holds(current)
    }
}

impl Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Write")
            .field("key", &self.key)
            .field("expect", &self.expect)
            .field("op", &self.op)
            .finish_non_exhaustive()
    }
}

/// A change of one key, as a [`Follower`] gets it.
#[derive(Clone)]
pub struct Event {
    /// Revision of the transaction that made this change.
    pub revision: Revision,
    /// The key that was changed.
    pub key: Key,
    /// The entry after the change; `None` for a deletion.
    pub entry: Option<Entry>,
    /// The note of the write, if the store handed it on.
    pub note: Option<Note>,
}

impl Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("revision", &self.revision)
            .field("key", &self.key)
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

/// Which entries to read.
#[derive(Debug, Clone, Default)]
pub struct Range {
    /// The keys begin with this text.
    pub prefix: String,
    /// Only keys after this one: the last of the page before.
    pub after: Option<Key>,
    /// The most entries of a page; 0 for all.
    pub limit: usize,
    /// The revision to read at; `None` for the latest.
    pub revision: Option<Revision>,
}

impl Range {
    /// The entries whose key begins with a text, at the latest revision.
    #[must_use]
    pub fn of(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            ..Self::default()
        }
    }

    /// The same entries at a revision.
    #[must_use]
    pub fn at(self, revision: Revision) -> Self {
        let revision = Some(revision);
        Self { revision, ..self }
    }
}

/// Entries that were read at one revision.
#[derive(Debug, Clone)]
pub struct Page {
    /// The revision at which they were read.
    pub revision: Revision,
    /// The entries, ordered by key.
    pub entries: Vec<Entry>,
    /// Whether more follow.
    pub has_more: bool,
}

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A guard does not hold. Nothing was written.
    #[error("the key has been changed")]
    Conflict {
        /// Which write of the transaction has the guard.
        at: usize,
        /// The current entry, if the key exists.
        current: Option<Entry>,
    },
    /// The fate of the transaction is open: it may have happened, may happen yet, or never.
    #[error("no answer of the store: {0}")]
    Unknown(String),
    /// The history since a revision is no longer kept.
    #[error("revision {requested} has been compacted; the oldest kept is {oldest}")]
    Compacted {
        /// The requested revision.
        requested: Revision,
        /// The oldest revision that can be read or followed.
        oldest: Revision,
    },
    /// The transaction is larger than the store takes. Nothing was written.
    #[error("{0}")]
    TooLarge(String),
    /// The changes that a follower gets have broken off, for this reason. It may follow again from
    /// the last revision that it got.
    #[error("the changes of the store broke off: {0}")]
    Broken(String),
    /// The follower panicked and gets no more changes.
    #[error("the follower panicked")]
    Panicked,
    /// The disk failed. No part of the transaction was stored, and none will be.
    #[error("storage failed: {0}")]
    Storage(String),
    /// A file is damaged, so acknowledged writes cannot be read.
    #[error("{0}")]
    Damaged(Damage),
    /// A later version wrote a file.
    #[error(
        "{path} has the format {version}, and this version of pandaemon knows the formats 1 and 2: start the \
         version that wrote it"
    )]
    Version {
        /// The path of the file.
        path: String,
        /// The version of its format.
        version: u32,
    },
    /// Another process has the data directory open.
    #[error("{0}")]
    Locked(String),
    /// The store is closed or closing.
    #[error("the store is closed")]
    Closed,
    /// The writer of the store has panicked, because of a bug: nothing is written or changes any
    /// more. What was read before is still true.
    #[error("the writer of the store panicked")]
    WriterPanicked,
}

/// A result whose error is the store's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Gets the changes of a store: all of them, in the order of their revisions, each once.
///
/// The embedded store calls it from its writer, before it answers the writes: it must be quick.
pub trait Follower: Send + Sync {
    /// Takes the next changes. A batch never ends within a revision.
    fn apply(&self, batch: &[Event]);
    /// No more changes come, for this reason: [`Error::Closed`] when the store has closed,
    /// [`Error::WriterPanicked`] when it has died, [`Error::Panicked`] when [`Follower::apply`]
    /// panicked, [`Error::Broken`] when there may be later ones.
    fn end(&self, why: Error);
}

/// A revisioned key-value store.
pub trait Store: Send + Sync + Debug {
    /// The current entry of a key: no older than any write that was acknowledged before the call.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>>>;

    /// A page of entries. All pages at one revision show one state.
    ///
    /// # Errors
    /// [`Error::Compacted`] if the state at the revision is no longer kept.
    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page>>;

    /// The latest revision, confirmed now: no older than any write that was acknowledged before the
    /// call, also by other processes.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn latest(&self) -> BoxFuture<'_, Result<Revision>>;

    /// Commits a transaction as a whole, at one revision. Resolves when it is durable (if
    /// requested) and visible to [`Store::get`] and [`Store::range`]. Followers may get it before
    /// or after. A transaction that only checks has the latest revision.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a guard does not hold, [`Error::TooLarge`] beyond the bounds of a
    /// [`Transaction`], [`Error::Storage`] when the disk fails, [`Error::Closed`] after
    /// [`Store::close`], [`Error::WriterPanicked`], [`Error::Unknown`] when it is not known what
    /// became of it.
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision>>;

    /// Hands all changes after revision `from` to a follower, until [`Follower::end`].
    ///
    /// # Errors
    /// [`Error::Compacted`] if the history since `from` is no longer kept.
    fn follow(&self, from: Revision, follower: Arc<dyn Follower>) -> BoxFuture<'_, Result<()>>;

    /// Removes from the files what is not current: values that were replaced or deleted. A store
    /// whose files are not its own does nothing.
    ///
    /// # Errors
    /// When the disk fails.
    fn compact(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The durable entries at one revision, for a backup: with all writes that were acknowledged
    /// before the call, and with values as they are stored. `None` for a store that is backed up by
    /// means of its own.
    ///
    /// # Errors
    /// When the store is closed.
    fn snapshot(&self) -> BoxFuture<'_, Result<Option<StateSnapshot>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Refuses new transactions and waits until the accepted ones are done.
    fn close(&self) -> BoxFuture<'_, ()>;
}
