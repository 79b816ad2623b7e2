//! Reasons: why a DaemonSet is, or is not, on a node, in one sentence each.

use pandaemon_placement::{self as placement, PodNeeds};
use serde::Serialize;

/// The kinds of reasons. Their names are part of the JSON output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum ReasonKind {
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

/// One reason why a node has, lacks or keeps a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The kind of reason: a word for programs.
    pub reason: ReasonKind,
    /// One sentence for people.
    pub message: String,
    /// The message without what differs from node to node: nodes with the same key share a line.
    #[serde(skip)]
    pub group_key: String,
}

impl Reason {
    pub(crate) fn new(reason: ReasonKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            reason,
            group_key: message.clone(),
            message,
        }
    }

    /// The reason why a node does not fit, or what a pod lacks there, in the words of `placement`.
    pub(crate) fn from_placement(reason: &placement::Reason, needs: &PodNeeds) -> Self {
        use placement::Reason as Placement;
        let kind = match reason {
            Placement::OtherNode { .. } => ReasonKind::NodeName,
            Placement::NodeSelector { .. } => ReasonKind::NodeSelector,
            Placement::Affinity { .. } | Placement::EmptyAffinity => ReasonKind::NodeAffinity,
            Placement::Taint(_) => ReasonKind::Taint,
            Placement::Unschedulable => ReasonKind::Unschedulable,
            Placement::Resource { .. } | Placement::NoSuchResource { .. } => ReasonKind::Resource,
            Placement::PodCount { .. } => ReasonKind::PodCount,
            Placement::Port { .. } => ReasonKind::Port,
        };
        Self::new(kind, reason.to_string()).with_group_key(needs.summary(reason))
    }

    /// The same reason with another group key.
    pub(crate) fn with_group_key(mut self, group_key: impl Into<String>) -> Self {
        self.group_key = group_key.into();
        self
    }
}
