//! The state of one pod.

use std::sync::Arc;

use pandaemon_types::{LabelSet, Name, Owner, Phase, PodResources, Timestamp, Uid};

use crate::{canonical::HASH_LABEL, ids::NodeId, pod_rules::pod_age, view::SetKey};

/// How a pod belongs to a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// The set is its managing owner.
    Owned,
    /// It matches the selector and has no owner: an adoption is due or was requested.
    Adopting {
        /// Whether the adoption was requested.
        requested: bool,
    },
}

/// Whether the planner requested the deletion of a pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Deletion {
    #[default]
    NotRequested,
    /// A request is under way, or succeeded and the watch has not shown it.
    Requested,
    /// The request was refused: the pod goes on as before.
    Refused,
    /// The request got no answer. Until this time, the pod counts as being deleted.
    Unanswered(Timestamp),
}

/// A known pod: the fields of [`PodView`](pandaemon_types::PodView) that planning needs, interned.
#[derive(Debug, Clone)]
pub(crate) struct PodState {
    pub(crate) uid: Uid,
    pub(crate) namespace: Name,
    pub(crate) name: Name,
    pub(crate) labels: LabelSet,
    pub(crate) resources: Arc<PodResources>,
    pub(crate) owner: Option<Arc<Owner>>,
    pub(crate) resource_version: u64,
    pub(crate) created: Timestamp,
    pub(crate) ready_since: Option<Timestamp>,
    /// The node it is bound or pinned to.
    pub(crate) place: Option<NodeId>,
    pub(crate) bound: bool,
    pub(crate) phase: Phase,
    pub(crate) ready: bool,
    pub(crate) deleting: bool,
    /// Whether a patch of the pod is under way.
    pub(crate) patching: bool,
    /// Whether it waits for a patch in the queue of a set.
    pub(crate) patch_queued: bool,
    /// Whether its resources are counted on its node.
    pub(crate) counted: bool,
    /// The set it belongs to, and how.
    pub(crate) set: Option<(Arc<SetKey>, Ownership)>,
    /// Whether its deletion was requested.
    pub(crate) deletion: Deletion,
}

impl PodState {
    /// Whether it is being deleted, or may be because of a request.
    pub(crate) fn leaving(&self, now: Timestamp) -> bool {
        self.deleting || self.deletion_unconfirmed(now)
    }

    /// Whether the set owns it. The adoption of any other pod may still be refused.
    pub(crate) const fn is_owned(&self) -> bool {
        !matches!(self.set, Some((_, Ownership::Adopting { .. })))
    }

    /// Whether its deletion was requested, and the API server has neither confirmed nor refused it.
    pub(crate) fn deletion_unconfirmed(&self, now: Timestamp) -> bool {
        !self.deleting
            && match self.deletion {
                Deletion::NotRequested | Deletion::Refused => false,
                Deletion::Requested => true,
                Deletion::Unanswered(until) => now < until,
            }
    }

    /// Whether it keeps another pod from being created on the node: a pod that ended and is being
    /// deleted does not.
    pub(crate) fn present(&self) -> bool {
        !(self.deleting && self.phase.is_terminal())
    }

    pub(crate) fn age(&self) -> (bool, Timestamp, &Name) {
        pod_age(self.bound, self.created, &self.name)
    }

    /// The value of its `controller-revision-hash` label.
    pub(crate) fn hash(&self) -> Option<&Name> {
        self.labels.name(HASH_LABEL)
    }
}
