//! What passes between a controller and the cluster, in the simulator's own types: deliveries of
//! watches and outcomes, and requests. `planner_types.rs` translates them to and from those of the
//! planner.

use std::rc::Rc;

use pandaemon_planner::Action;
use serde_json::Value;

use crate::{
    api::{Kind, PatchForm, Stored},
    value::{Key, Text},
};

/// A request of the controller.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    CreatePod {
        set: Key,
        set_uid: Text,
        node: Text,
        name: Text,
        bind: bool,
        body: Value,
    },
    DeletePod {
        set: Key,
        set_uid: Text,
        node: Text,
        name: Text,
        uid: Text,
        reason: Reason,
    },
    PatchPod {
        set: Key,
        set_uid: Text,
        name: Text,
        uid: Text,
        purpose: Purpose,
        form: PatchForm,
        body: Value,
    },
    CreateRevision {
        set: Key,
        set_uid: Text,
        body: Value,
    },
    PatchRevision {
        set: Key,
        set_uid: Text,
        name: Text,
        purpose: Purpose,
        form: PatchForm,
        body: Value,
    },
    DeleteRevision {
        set: Key,
        set_uid: Text,
        name: Text,
        uid: Text,
    },
    WriteStatus {
        set: Key,
        set_uid: Text,
        /// The merge patch.
        body: Value,
    },
    Event {
        set: Key,
        warning: bool,
        reason: Text,
        message: String,
    },
}

/// The reason that a planner gives for a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    Misplaced,
    NoNode,
    Failed,
    Succeeded,
    Duplicate,
    OutdatedDown,
    Outdated,
    Replaced,
}

/// What a patch of a pod or a revision is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Adopt,
    Release,
    Relabel,
    Renumber,
}

impl Request {
    pub(crate) const fn set(&self) -> &Key {
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

    /// The uid of the set that becomes the owner of an object. The shell reads the set again before
    /// it sends that.
    pub(crate) fn adopter(&self) -> Option<&Text> {
        match self {
            Self::PatchPod {
                set_uid, purpose, ..
            }
            | Self::PatchRevision {
                set_uid, purpose, ..
            } if *purpose == Purpose::Adopt => Some(set_uid),
            _ => None,
        }
    }
}

/// How a request failed, as the shell reports it to the planner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
    /// Milliseconds that the server asks to wait.
    pub(crate) retry_after: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    NotFound,
    NamespaceTerminating,
    Refused,
    /// The request was not answered, or with a server error.
    Unclear,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: &str) -> Self {
        Self {
            kind,
            message: message.to_owned(),
            retry_after: 0,
        }
    }
}

/// The outcome of a request.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// What the planner asked for; `None` for a request of a mutant.
    pub(crate) action: Option<Action>,
    /// The same as a request.
    pub(crate) request: Request,
    pub(crate) result: OutcomeResult,
}

pub(crate) type OutcomeResult = Result<Answer, Failure>;

/// The answer to a request that succeeded.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Done,
    /// The object after the request.
    Object(Rc<Stored>),
    /// The name of the pod to be created is taken by this pod.
    Existing(Rc<Stored>),
}

impl Answer {
    pub(crate) const fn object(&self) -> Option<&Rc<Stored>> {
        match self {
            Self::Done => None,
            Self::Object(stored) | Self::Existing(stored) => Some(stored),
        }
    }
}

/// What a controller is told.
#[derive(Debug, Clone)]
pub(crate) enum Delivery {
    Changed(Rc<Stored>),
    Gone {
        /// The last version of the object.
        last: Rc<Stored>,
        /// The version of the removal.
        version: u64,
    },
    /// A list is complete; its objects were delivered before.
    Listed {
        kind: Kind,
        /// Keys and uids of its objects.
        members: Vec<(Key, Text)>,
        version: u64,
    },
    Outcome(Box<Outcome>),
    /// What a watch sends again, and a feed should have dropped.
    Old(Box<Self>),
}

/// A broken invariant: its kind, which shrinking keeps, and a sentence.
pub(crate) type Violation = (&'static str, String);

macro_rules! ensure {
    ($condition:expr, $kind:expr, $($text:tt)*) => {
        if !$condition {
            return Err(($kind, format!($($text)*)));
        }
    };
}
pub(crate) use ensure;
