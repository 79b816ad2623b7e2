//! The status of a set on one node, as one word and one sentence.

use std::fmt;

use pandaemon_placement::Reason;
use pandaemon_types::{Name, Timestamp};

use crate::view::SetKey;

/// The status of a set on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeStatus {
    /// An available pod with the current template runs on the node.
    Runs,
    /// A pod with the current template is on the node, but not available yet.
    Starts,
    /// The creation of a pod is under way.
    Creates,
    /// A pod has to be created or deleted, but not yet.
    Waits(Wait),
    /// A pod runs that should not be started on the node, but may stay.
    Keeps(Reason),
    /// No pod must run on the node, and none does.
    Skips(Reason),
    /// The only pod of the node is being deleted.
    Ends,
    /// An outdated pod runs on the node.
    Outdated(BlockedBy),
}

/// What the next request for a node waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// Other creations of the set: the slow-start window is full.
    Turn,
    /// The end of the back-off after a failed creation.
    Until(Timestamp),
    /// The creation of the current revision.
    Revision,
    /// The end of the back-off before a failed pod is deleted.
    BackOff(Timestamp),
    /// The end of the back-off after a deletion failed; the pod must go before anything else.
    Deletion(Timestamp),
}

/// Why an outdated pod is not replaced yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockedBy {
    /// As many nodes as `maxUnavailable` allows are down.
    Budget {
        /// How many nodes are down.
        down: usize,
        /// How many may be.
        limit: usize,
    },
    /// As many nodes as `maxSurge` allows run an old and a new pod.
    Surge {
        /// How many nodes run both.
        surging: usize,
        /// How many may.
        limit: usize,
    },
    /// Its replacement is not available yet.
    Replacement,
    /// The strategy is `OnDelete`, and no client has deleted it.
    OnDelete,
    /// Its deletion failed, and is repeated at this time.
    Deletion(Timestamp),
}

impl NodeStatus {
    /// The status as one word.
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
            Self::Outdated(_) => "outdated",
        }
    }
}

impl fmt::Display for NodeStatus {
    /// Writes the details; nothing where the word says it all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runs | Self::Creates | Self::Ends => Ok(()),
            Self::Starts => f.write_str("not available yet"),
            Self::Waits(Wait::Turn) => f.write_str("only so many are created at once"),
            Self::Waits(Wait::Until(time)) => write!(f, "creation failed, again at {time}"),
            Self::Waits(Wait::Revision) => f.write_str("for the revision to be written"),
            Self::Waits(Wait::BackOff(time)) => write!(f, "failed pod stays until {time}"),
            Self::Waits(Wait::Deletion(time)) | Self::Outdated(BlockedBy::Deletion(time)) => {
                write!(f, "deletion failed, again at {time}")
            }
            Self::Keeps(reason) | Self::Skips(reason) => write!(f, "{reason}"),
            Self::Outdated(BlockedBy::Budget { down, limit }) => {
                write!(f, "{down} of {limit} down")
            }
            Self::Outdated(BlockedBy::Surge { surging, limit }) => {
                write!(f, "{surging} of {limit} surge")
            }
            Self::Outdated(BlockedBy::Replacement) => f.write_str("its replacement starts"),
            Self::Outdated(BlockedBy::OnDelete) => f.write_str("replaced when deleted"),
        }
    }
}

/// The status of a set on a node that a plan assessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The namespace and name of the set.
    pub set: SetKey,
    /// The name of the node.
    pub node: Name,
    /// The status of the set on the node.
    pub status: NodeStatus,
}
