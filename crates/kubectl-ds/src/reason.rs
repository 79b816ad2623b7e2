//! One sentence each: why a DaemonSet is, or is not, on a node.

use serde::Serialize;

/// What kind of reason it is. The names are part of the JSON output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Kind {
    /// The template asks for another node by name.
    NodeName,
    /// A label is not what `nodeSelector` demands.
    NodeSelector,
    /// The required node affinity does not hold.
    NodeAffinity,
    /// A taint is not tolerated.
    Taint,
    /// The node is gone.
    NoNode,
    /// A resource is short.
    Resource,
    /// The node runs as many pods as it may.
    PodCount,
    /// A port of the node is taken.
    Port,
    /// The scheduler has not found a place, in its own words.
    Unschedulable,
    /// The DaemonSet is being deleted.
    Deleting,
    /// Nobody has made the pod yet.
    NotCreated,
    /// The pod could not be created, in the server's words.
    FailedCreate,
    /// A pod is going, and the next comes after it.
    Terminating,
    /// The pod is being started.
    Starting,
    /// A container waits or has ended.
    Container,
    /// The pod has failed, or ended.
    PodEnded,
    /// A failed pod is left alone for a while.
    BackOff,
    /// The pod is not ready, or not ready for long enough.
    NotReady,
    /// The pod may stay although no new one would be started.
    Keeps,
    /// The pod must go.
    Evicted,
    /// The pod is one too many.
    Duplicate,
    /// The pod is outdated and next in turn.
    Replaced,
    /// The pod is outdated, and the budget is used up.
    Budget,
    /// The pod is outdated, and as many nodes surge as may.
    Surge,
    /// The pod is outdated, and its replacement is not available yet.
    Replacement,
    /// The pod is outdated, and is replaced when somebody deletes it.
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
    /// The sentence without what differs from node to node: reasons with the same one are told together.
    #[serde(skip)]
    pub gist: String,
}

impl Reason {
    pub(crate) fn new(reason: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            reason,
            gist: message.clone(),
            message,
        }
    }

    /// The same, with the part that nodes have in common.
    pub(crate) fn with_gist(mut self, gist: impl Into<String>) -> Self {
        self.gist = gist.into();
        self
    }
}

/// Names, at most `limit` of them, and how many more there are.
pub(crate) fn listed<T: AsRef<str>>(names: &[T], limit: usize) -> String {
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
