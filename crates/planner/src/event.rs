//! What the planner is told: changes of objects, and what came of its actions.

use std::collections::BTreeSet;

use pandaemon_types::{Name, NodeView, PodView, Uid};

use crate::{
    action::Action,
    view::{DaemonSetView, RevisionView, SetKey},
};

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A DaemonSet appeared or changed.
    Set(Box<DaemonSetView>),
    /// A DaemonSet is gone.
    SetGone(SetKey),
    /// A node appeared or changed.
    Node(NodeView),
    /// A node is gone.
    NodeGone(Name),
    /// A pod appeared or changed.
    Pod(Box<PodView>),
    /// A pod is gone.
    PodGone {
        /// Its identity.
        uid: Uid,
        /// The version of its removal.
        resource_version: u64,
    },
    /// A revision appeared or changed.
    Revision(Box<RevisionView>),
    /// A revision is gone.
    RevisionGone {
        /// Its namespace.
        namespace: Name,
        /// Its name.
        name: Name,
    },
    /// A whole collection was read; what is not in it is gone. Its members follow or came before as
    /// events of their own.
    Listed(Listed),
    /// An action was carried out.
    Outcome {
        /// The action.
        action: Box<Action>,
        /// What came of it.
        result: Result<Reply, Failure>,
    },
}

/// The members of a collection.
#[derive(Debug)]
pub enum Listed {
    /// All DaemonSets.
    Sets(BTreeSet<SetKey>),
    /// All nodes.
    Nodes(BTreeSet<Name>),
    /// All pods.
    Pods {
        /// Their identities.
        uids: BTreeSet<Uid>,
        /// The version of the list.
        resource_version: u64,
    },
    /// All revisions, by namespace and name.
    Revisions(BTreeSet<(Name, Name)>),
}

/// What the API server answered.
#[derive(Debug)]
pub enum Reply {
    /// Nothing that matters.
    Done,
    /// The pod as it is now. For a creation whose name was taken by the very pod that was asked for
    /// (a lost reply), that pod.
    Pod(Box<PodView>),
    /// The revision as it is now. For a creation whose name was taken, the revision that has it.
    Revision(Box<RevisionView>),
    /// The set as it is now.
    Set(Box<DaemonSetView>),
}

/// How an action failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure it was.
    pub kind: FailureKind,
    /// The server's words.
    pub message: String,
    /// How long the server asks to wait, in milliseconds; zero if it does not.
    pub retry_after: i64,
}

/// The kinds of failure that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The object is not there (any more). For a creation: its name belongs to another's object, so none
    /// was made under it.
    NotFound,
    /// The namespace is being deleted.
    NamespaceTerminating,
    /// The server refused; nothing was done.
    Refused,
    /// Nobody knows whether it was done.
    Unclear,
}
