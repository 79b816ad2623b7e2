//! What was recorded: operations with the times of their call and their answer, and watches.

use std::collections::BTreeMap;

/// The state of an object that exists. Every write has a value of its own, so a value names the
/// write that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// What the object holds.
    pub value: u64,
    /// The resource version.
    pub revision: u64,
}

/// All objects, by name.
pub type Contents = BTreeMap<String, Version>;

/// A list and the revision at which it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The resource version of the list.
    pub revision: u64,
    /// What it showed.
    pub contents: Contents,
}

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// An object that must not exist yet.
    Create(u64),
    /// PUT with the resource version that was read: compare and swap.
    Replace {
        /// The version that the client has read.
        from: Version,
        /// The new value.
        value: u64,
    },
    /// PATCH without a resource version.
    Patch(u64),
    /// DELETE, with the resource version that was read as a precondition, or without one.
    Delete(Option<Version>),
    /// GET of the newest state.
    Get,
    /// A list of the newest state, maybe in pages.
    List,
    /// A list that may show an older state (`resourceVersion=0`).
    ListAny,
}

impl Request {
    /// The value that it writes.
    #[must_use]
    pub const fn value(&self) -> Option<u64> {
        match self {
            Self::Create(value) | Self::Patch(value) | Self::Replace { value, .. } => Some(*value),
            Self::Delete(_) | Self::Get | Self::List | Self::ListAny => None,
        }
    }
}

/// What the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Written, at a revision.
    Written(u64),
    /// Deleted. Such an answer names no revision.
    Deleted,
    /// What a GET found.
    Found(Option<Version>),
    /// What a list found.
    Listed(Snapshot),
    /// 409 `AlreadyExists`.
    Exists,
    /// 404 of a write.
    NotFound,
    /// 409 `Conflict`.
    Conflict,
    /// An error that says that nothing was written.
    Refused,
    /// No answer, or one that says that the fate is not known.
    Unknown,
}

impl Answer {
    /// Whether the write did not happen, and never will.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Exists | Self::NotFound | Self::Conflict | Self::Refused
        )
    }
}

/// A request and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The number of the client that asked.
    pub client: u32,
    /// The name of the object; empty for lists.
    pub key: String,
    /// When the request was sent, in nanoseconds of a monotonic clock.
    pub called: u64,
    /// When the answer had arrived. For [`Answer::Unknown`], since when the request can have no
    /// effect any more: the server process has ended; `None` if it still may.
    pub ended: Option<u64>,
    /// What was asked.
    pub request: Request,
    /// What was answered.
    pub answer: Answer,
}

/// Which objects a watch selects, by a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// It has no selector.
    All,
    /// Those with an even value.
    Even,
}

impl Selector {
    /// Whether an object with this value is selected.
    #[must_use]
    pub const fn matches(self, value: u64) -> bool {
        match self {
            Self::All => true,
            Self::Even => value.is_multiple_of(2),
        }
    }
}

/// The type of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// `ADDED`.
    Added,
    /// `MODIFIED`.
    Modified,
    /// `DELETED`.
    Deleted,
}

/// What a watching client saw, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// It listed, because it had to, and watches from there.
    Listed(Snapshot),
    /// It watches again from the last revision that it has seen.
    Resumed(u64),
    /// What happened to an object.
    Event {
        /// As what it was delivered.
        change: Change,
        /// The name of the object.
        key: String,
        /// The state of the object, or the last one before it was deleted.
        version: Version,
    },
    /// Every change up to this revision has been delivered.
    Bookmark(u64),
}

/// One watching client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchLog {
    /// Who it is.
    pub name: String,
    /// What it selects.
    pub selector: Selector,
    /// What it saw.
    pub entries: Vec<Entry>,
}

/// Everything that was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// The operations, in any order.
    pub operations: Vec<Operation>,
    /// The watching clients.
    pub watches: Vec<WatchLog>,
}
