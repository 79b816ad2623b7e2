//! Plans: the actions that the shell carries out.

use std::{fmt, sync::Arc};

use pandaemon_placement::Reason;
use pandaemon_types::{Name, Timestamp, Uid};
use serde_json::Value;

use crate::{
    node_status::Explanation,
    pod_template::PodTemplate,
    view::{SetKey, Status},
};

/// The name and uid of a pod, for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRef {
    /// The name; the namespace is that of the set.
    pub name: Name,
    /// The uid, a precondition: the request fails if another pod has the name by then.
    pub uid: Uid,
}

/// The body of a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patch {
    /// A JSON merge patch.
    Merge(Value),
    /// A strategic merge patch.
    Strategic(Value),
}

/// The type of a recorded event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// `Normal`.
    Normal,
    /// `Warning`.
    Warning,
}

/// A request for the shell to carry out. The shell reports its outcome with
/// [`Event::Outcome`](crate::Event::Outcome), except for [`Action::Event`].
#[derive(Debug, Clone)]
pub enum Action {
    /// Create a pod on a node.
    CreatePod {
        /// The set whose request this is.
        set: SetKey,
        /// The uid of the set.
        uid: Uid,
        /// The name of the node.
        node: Name,
        /// The name of the pod. The planner chooses it, so that repeating a request after a lost
        /// reply cannot create a second pod.
        name: Name,
        /// Whether the pod is created with `spec.nodeName`.
        bind: bool,
        /// The pod to render for name and node.
        template: Arc<PodTemplate>,
    },
    /// Delete a pod.
    DeletePod {
        /// The set that owns the pod.
        set: SetKey,
        /// The uid of the set.
        owner: Uid,
        /// The name of its node.
        node: Name,
        /// The name and the uid of the pod; the uid is a precondition.
        pod: PodRef,
        /// Why it is deleted.
        reason: DeleteReason,
    },
    /// Adopt, release or relabel a pod.
    PatchPod {
        /// The set that owns, adopts or releases it.
        set: SetKey,
        /// The uid of the set.
        owner: Uid,
        /// The name and the uid of the pod; the uid is a precondition.
        pod: PodRef,
        /// The purpose of the patch.
        purpose: Purpose,
        /// The body of the request.
        patch: Patch,
    },
    /// Create a ControllerRevision.
    CreateRevision {
        /// The set whose request this is.
        set: SetKey,
        /// The uid of the set.
        owner: Uid,
        /// The ControllerRevision to create.
        object: Value,
    },
    /// Number, label, adopt or release a ControllerRevision.
    PatchRevision {
        /// The set that owns or adopts it.
        set: SetKey,
        /// The uid of the set.
        owner: Uid,
        /// The name of the revision.
        name: Name,
        /// The purpose of the patch.
        purpose: Purpose,
        /// The body of the request.
        patch: Patch,
    },
    /// Delete a ControllerRevision.
    DeleteRevision {
        /// The set that owns or adopts it.
        set: SetKey,
        /// The uid of the set.
        owner: Uid,
        /// The name of the revision.
        name: Name,
        /// The uid of the revision, a precondition.
        uid: Uid,
    },
    /// Write the status of a set.
    WriteStatus {
        /// The set whose request this is.
        set: SetKey,
        /// The uid, a precondition.
        uid: Uid,
        /// The new status.
        status: Status,
    },
    /// Record an event.
    Event {
        /// The set that it is about.
        set: SetKey,
        /// The uid, a precondition.
        uid: Uid,
        /// Whether it is a `Normal` or a `Warning` event.
        severity: Severity,
        /// The reason, in CamelCase.
        reason: &'static str,
        /// The text of the event.
        message: String,
    },
}

impl Action {
    /// The set that the action is for.
    #[must_use]
    pub const fn set(&self) -> &SetKey {
        match self {
            Self::CreatePod { set, .. }
            | Self::DeletePod { set, .. }
            | Self::PatchPod { set, .. }
            | Self::CreateRevision { set, .. }
            | Self::PatchRevision { set, .. }
            | Self::DeleteRevision { set, .. }
            | Self::WriteStatus { set, .. }
            | Self::Event { set, .. } => set,
        }
    }

    /// The uid of the set that the action is for. Another set may have its name by the time of the
    /// outcome.
    #[must_use]
    pub const fn set_uid(&self) -> &Uid {
        match self {
            Self::CreatePod { uid, .. }
            | Self::WriteStatus { uid, .. }
            | Self::Event { uid, .. } => uid,
            Self::DeletePod { owner, .. }
            | Self::PatchPod { owner, .. }
            | Self::CreateRevision { owner, .. }
            | Self::PatchRevision { owner, .. }
            | Self::DeleteRevision { owner, .. } => owner,
        }
    }
}

/// The purpose of a patch of a pod or a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The set becomes its managing owner.
    Adopt,
    /// The set is removed from its owners.
    Release,
    /// It gets another hash label.
    Relabel,
    /// A revision gets another number.
    Renumber,
}

/// Why a pod is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeleteReason {
    /// It must not run on its node.
    Misplaced(Reason),
    /// Its node does not exist, so it can never start.
    NoNode,
    /// Its phase is `Failed`.
    Failed,
    /// It succeeded, although a daemon pod should not end.
    Succeeded,
    /// The set has an older pod on the node.
    Duplicate,
    /// It is outdated and not available, so that deleting it makes no more nodes unavailable.
    OutdatedDown,
    /// It is outdated, and `maxUnavailable` allows one more node to be down.
    Outdated {
        /// How many nodes are down, this one included.
        down: usize,
        /// How many may be.
        limit: usize,
    },
    /// Its replacement runs on the same node.
    Replaced,
}

impl fmt::Display for DeleteReason {
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

/// The actions that are due, and when to plan again.
#[derive(Debug, Default)]
pub struct Plan {
    /// The actions, in the order in which they are to be started.
    pub actions: Vec<Action>,
    /// When to plan again if no event is observed before.
    pub wake_at: Option<Timestamp>,
    /// The status of each assessed node; empty unless
    /// [`Options::explain`](crate::Options::explain).
    pub explanations: Vec<Explanation>,
}
