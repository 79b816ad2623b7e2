//! What a plan is made of: actions for the shell, and verdicts for people.

use std::{fmt, sync::Arc};

use pandaemon_placement::Reason;
use pandaemon_types::{Name, Timestamp, Uid};
use serde_json::Value;

use crate::{
    mould::Mould,
    view::{SetKey, Status},
};

/// A pod, as far as a request needs to name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRef {
    /// Its name; its namespace is that of the set.
    pub name: Name,
    /// Its identity: the request fails if the name belongs to another pod by now.
    pub uid: Uid,
}

/// The body of a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patch {
    /// A merge patch.
    Merge(Value),
    /// A strategic merge patch.
    Strategic(Value),
}

/// Whether an event says that all is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing to worry about.
    Normal,
    /// Somebody may want to look.
    Warning,
}

/// One thing for the shell to do. No choices are left in it; the shell reports what came of it, except
/// for events.
#[derive(Debug, Clone)]
pub enum Action {
    /// Create a pod for a node.
    CreatePod {
        /// For which set.
        set: SetKey,
        /// The set's identity.
        uid: Uid,
        /// On which node.
        node: Name,
        /// Under which name: chosen here, so that a lost reply cannot make a second pod.
        name: Name,
        /// Whether the pod is bound to the node at once.
        bind: bool,
        /// What the pod looks like.
        mould: Arc<Mould>,
    },
    /// Delete a pod.
    DeletePod {
        /// Whose pod.
        set: SetKey,
        /// Where it is.
        node: Name,
        /// Which pod.
        pod: PodRef,
        /// Why.
        why: Why,
    },
    /// Change a pod: adopt it, release it or relabel it.
    PatchPod {
        /// Whose pod it is, was or becomes.
        set: SetKey,
        /// Which pod.
        pod: PodRef,
        /// What for.
        purpose: Purpose,
        /// How.
        patch: Patch,
    },
    /// Create a revision.
    CreateRevision {
        /// For which set.
        set: SetKey,
        /// The whole object.
        object: Value,
    },
    /// Number, label, adopt or release a revision.
    PatchRevision {
        /// Whose revision.
        set: SetKey,
        /// Which one.
        name: Name,
        /// How.
        patch: Patch,
    },
    /// Delete a revision.
    DeleteRevision {
        /// Whose revision.
        set: SetKey,
        /// Which one.
        name: Name,
        /// Its identity.
        uid: Uid,
    },
    /// Write the status of a set.
    WriteStatus {
        /// Which set.
        set: SetKey,
        /// Its identity.
        uid: Uid,
        /// What it should say.
        status: Status,
    },
    /// Tell people.
    Event {
        /// About which set.
        set: SetKey,
        /// Its identity.
        uid: Uid,
        /// How bad it is.
        severity: Severity,
        /// One word.
        reason: &'static str,
        /// One sentence.
        message: String,
    },
}

/// What a change of a pod is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It becomes the set's.
    Adopt,
    /// It stops being the set's.
    Release,
    /// It gets the current hash.
    Relabel,
}

/// Why a pod is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It must not run on this node.
    Misplaced(Reason),
    /// Its node does not exist, so it can never be started.
    NoNode,
    /// It failed.
    Failed,
    /// It ended, which a daemon never should.
    Succeeded,
    /// Another one is older.
    Duplicate,
    /// It is outdated and not available anyway: replacing it costs nothing.
    OutdatedDown,
    /// It is outdated, and the budget allows one node more to be down.
    Outdated {
        /// How many nodes are down with it.
        down: usize,
        /// How many may be.
        limit: usize,
    },
    /// Its replacement runs beside it already.
    Replaced,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misplaced(reason) => write!(f, "must not run here: {reason}"),
            Self::NoNode => f.write_str("its node does not exist"),
            Self::Failed => f.write_str("failed"),
            Self::Succeeded => f.write_str("ended, which a daemon should not"),
            Self::Duplicate => f.write_str("another one is older"),
            Self::OutdatedDown => f.write_str("outdated, and down already: costs nothing"),
            Self::Outdated { down, limit } => write!(f, "outdated, {down} of {limit} down with it"),
            Self::Replaced => f.write_str("its replacement is here"),
        }
    }
}

/// How a set stands to a node, in one word and one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stance {
    /// It runs here, with the newest template, and is available.
    Runs,
    /// It is here, with the newest template, but not available yet.
    Starts,
    /// A pod is being created.
    Creates,
    /// A pod is due, but must wait.
    Waits(Wait),
    /// It is here and should not be started here, but may stay.
    Keeps(Reason),
    /// It must not run here, and does not.
    Skips(Reason),
    /// A pod is being deleted.
    Ends,
    /// It is outdated and stays for now.
    Holds(Hold),
}

/// What a due pod waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// For its turn: only so many are created at once.
    Turn,
    /// For a while after a failed creation.
    Until(Timestamp),
    /// For the revision to be written.
    Revision,
    /// A failed pod is left alone for a while.
    BackOff(Timestamp),
}

/// Why an outdated pod stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The budget is used up.
    Budget {
        /// How many nodes are down.
        down: usize,
        /// How many may be.
        limit: usize,
    },
    /// As many nodes as allowed run two daemons.
    Surge {
        /// How many nodes surge.
        surging: usize,
        /// How many may.
        limit: usize,
    },
    /// Its replacement is not available yet.
    Replacement,
    /// Nobody has deleted it.
    OnDelete,
}

impl Stance {
    /// The word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Starts => "starts",
            Self::Creates => "creates",
            Self::Waits(_) => "waits",
            Self::Keeps(_) => "keeps",
            Self::Skips(_) => "skips",
            Self::Ends => "ends",
            Self::Holds(_) => "holds",
        }
    }
}

impl fmt::Display for Stance {
    /// The sentence; empty where the word says it all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runs | Self::Creates | Self::Ends => Ok(()),
            Self::Starts => f.write_str("not available yet"),
            Self::Waits(Wait::Turn) => f.write_str("only so many are created at once"),
            Self::Waits(Wait::Until(time)) => write!(f, "creation failed, again at {time}"),
            Self::Waits(Wait::Revision) => f.write_str("for the revision to be written"),
            Self::Waits(Wait::BackOff(time)) => write!(f, "failed pod stays until {time}"),
            Self::Keeps(reason) | Self::Skips(reason) => write!(f, "{reason}"),
            Self::Holds(Hold::Budget { down, limit }) => {
                write!(f, "outdated, {down} of {limit} down")
            }
            Self::Holds(Hold::Surge { surging, limit }) => {
                write!(f, "outdated, {surging} of {limit} surge")
            }
            Self::Holds(Hold::Replacement) => f.write_str("outdated, its replacement starts"),
            Self::Holds(Hold::OnDelete) => f.write_str("outdated, replaced when deleted"),
        }
    }
}

/// How a set stands to a node that this plan looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The set.
    pub set: SetKey,
    /// The node.
    pub node: Name,
    /// How they stand.
    pub stance: Stance,
}

/// What to do next.
#[derive(Debug, Default)]
pub struct Plan {
    /// What to do, in this order.
    pub actions: Vec<Action>,
    /// When to plan again, if nothing happens before.
    pub wake_at: Option<Timestamp>,
    /// What was decided for each node that was looked at.
    pub verdicts: Vec<Verdict>,
}
