//! Events that the planner observes: changes of objects, completed lists, and outcomes of its
//! actions.

use std::collections::BTreeSet;

use pandaemon_types::{Name, NodeView, PodView, Uid};

use crate::{
    action::Action,
    view::{DaemonSetView, RevisionView, SetKey},
};

/// An event for [`Planner::observe`](crate::Planner::observe).
#[derive(Debug)]
pub enum Event {
    /// A DaemonSet was created or changed.
    Set(Box<DaemonSetView>),
    /// A DaemonSet was deleted.
    SetGone {
        /// The key of the deleted set.
        key: SetKey,
        /// Its uid: a later set of the name stays.
        uid: Uid,
    },
    /// A node was created or changed.
    Node(NodeView),
    /// A node was deleted.
    NodeGone {
        /// The name of the deleted node.
        name: Name,
        /// Its uid: a later node of the name stays.
        uid: Uid,
    },
    /// A pod was created or changed.
    Pod(Box<PodView>),
    /// A pod was deleted.
    PodGone {
        /// The uid of the deleted pod.
        uid: Uid,
        /// The resource version of the deletion.
        resource_version: u64,
    },
    /// A revision was created or changed.
    Revision(Box<RevisionView>),
    /// A revision was deleted.
    RevisionGone {
        /// The namespace of the deleted revision.
        namespace: Name,
        /// The name of the deleted revision.
        name: Name,
        /// Its uid: a later revision of the name stays.
        uid: Uid,
    },
    /// A list is complete: known objects that it does not contain were deleted. Its objects are
    /// delivered as events of their own before this one.
    Listed(Listed),
    /// An action was carried out, or failed.
    Outcome {
        /// The action as the plan held it.
        action: Box<Action>,
        /// The reply of the API server, or the failure.
        result: Result<Reply, Failure>,
    },
}

/// The keys of all objects in a complete list.
#[derive(Debug)]
pub enum Listed {
    /// The keys of all DaemonSets.
    Sets(BTreeSet<SetKey>),
    /// The names of all nodes.
    Nodes(BTreeSet<Name>),
    /// The pods of all namespaces.
    Pods {
        /// The uids of the pods in the list.
        uids: BTreeSet<Uid>,
        /// The resource version of the list.
        resource_version: u64,
    },
    /// All revisions, by namespace and name.
    Revisions(BTreeSet<(Name, Name)>),
}

/// The reply of the API server to an action.
#[derive(Debug)]
pub enum Reply {
    /// Success, without an object.
    Done,
    /// The pod after the request.
    Pod(Box<PodView>),
    /// The name of the pod to be created is taken by this pod. The planner compares owner and node.
    ExistingPod(Box<PodView>),
    /// The revision after the request. For a creation whose name was taken, the revision with that
    /// name.
    Revision(Box<RevisionView>),
    /// The set after the request.
    Set(Box<DaemonSetView>),
}

/// Why an action failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// The message of the API server or the client.
    pub message: String,
    /// The `Retry-After` of the reply in milliseconds; 0 without one.
    pub retry_after: i64,
}

/// The kinds of failure that the planner distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The object does not exist. For a creation: its name belongs to another object, so nothing
    /// was created.
    NotFound,
    /// The namespace is being deleted.
    NamespaceTerminating,
    /// The server refused the request and changed nothing.
    Refused,
    /// No answer: the request may or may not have been carried out.
    Unclear,
}
