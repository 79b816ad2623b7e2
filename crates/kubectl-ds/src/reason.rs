//! Reasons: why a DaemonSet is, or is not, on a node, in one sentence each.

use serde::Serialize;

/// The kinds of reasons. Their names are part of the JSON output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Kind {
    /// The template names another node.
    NodeName,
    /// The node does not match the node selector.
    NodeSelector,
    /// The required node affinity does not hold.
    NodeAffinity,
    /// A taint is not tolerated.
    Taint,
    /// The node does not exist.
    NoNode,
    /// A resource is short.
    Resource,
    /// The node runs as many pods as it may.
    PodCount,
    /// A port of the node is taken.
    Port,
    /// The scheduler found no node, with its message.
    Unschedulable,
    /// The DaemonSet is being deleted.
    Deleting,
    /// The controller has not created the pod yet.
    NotCreated,
    /// Creating the pod failed, with the server's message.
    FailedCreate,
    /// A pod is being deleted; the next is created after it.
    Terminating,
    /// The pod is being started.
    Starting,
    /// A container waits or ended.
    Container,
    /// The pod failed or succeeded.
    PodEnded,
    /// The controller waits before it deletes the next failed pod.
    BackOff,
    /// The pod is not ready, or not ready for long enough.
    NotReady,
    /// The pod may stay although no new one would be created.
    Keeps,
    /// The pod is to be deleted: it must not run on this node.
    Evicted,
    /// The node has more than one pod.
    Duplicate,
    /// The pod is outdated and is replaced next.
    Replaced,
    /// The pod is outdated, and the budget is used up.
    Budget,
    /// The pod is outdated, and the surge limit is reached.
    Surge,
    /// The pod is outdated, and its replacement is not available yet.
    Replacement,
    /// The pod is outdated, and is replaced once it is deleted (OnDelete).
    OnDelete,
    /// The pod is outdated, and its revision is not written yet.
    Outdated,
    /// The node is cordoned.
    Cordoned,
    /// The node is not ready.
    NodeNotReady,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Its kind.
    pub reason: Kind,
    /// The sentence.
    pub message: String,
    /// The message without what differs from node to node: nodes with the same key share a line.
    #[serde(skip)]
    pub group_key: String,
}

impl Reason {
    pub(crate) fn new(reason: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            reason,
            group_key: message.clone(),
            message,
        }
    }

    /// The same reason with another group key.
    pub(crate) fn with_group_key(mut self, group_key: impl Into<String>) -> Self {
        self.group_key = group_key.into();
        self
    }
}

/// Joins at most `limit` names and says how many more there are.
pub(crate) fn join_limited<T: AsRef<str>>(names: &[T], limit: usize) -> String {
    let mut shown: Vec<String> = names
        .iter()
        .take(limit)
        .map(|name| name.as_ref().to_owned())
        .collect();
    if let Some(more) = names.len().checked_sub(limit).filter(|more| *more > 0) {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}
