//! One node as one DaemonSet sees it: what runs there, what it counts for, and what is due.
//!
//! [`assess`] is the heart: a function of the node's pods alone. Everything about the whole set
//! (budgets, limits) is decided from the sums of these answers.

use std::sync::Arc;

use pandaemon_placement::{DaemonFit, Reason};
use pandaemon_types::{LabelSet, Labels as _, Name, Owner, Phase, PodResources, Timestamp, Uid};

mod assess;

pub(crate) use self::assess::{assess, earliest};

use crate::{
    action::Why,
    index::{NodeId, PodId},
    revision::{GENERATION_LABEL, HASH_LABEL},
    view::SetKey,
};

/// How a pod came to belong to a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It names the set as its owner.
    Owned,
    /// It matches the selector and has no owner; a request to adopt it is due, or under way.
    Adopting {
        /// Whether the request was handed out.
        sent: bool,
    },
}

/// Whether a pod's deletion was handed out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Doomed {
    #[default]
    No,
    /// It was.
    Sent,
    /// It was, and failed: the pod is left alone for a while.
    Failed(Timestamp),
}

/// A pod in the index: what of [`PodView`] matters here, with everything shared that can be.
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
    /// The node it is bound to, or meant for.
    pub(crate) place: Option<NodeId>,
    pub(crate) bound: bool,
    pub(crate) phase: Phase,
    pub(crate) ready: bool,
    pub(crate) deleting: bool,
    /// Whether a release or relabelling was handed out.
    pub(crate) patching: bool,
    /// Whether its resources are counted on its node.
    pub(crate) counted: bool,
    /// The set it belongs to.
    pub(crate) set: Option<(Arc<SetKey>, Claim)>,
    /// Whether a deletion was handed out.
    pub(crate) doomed: Doomed,
}

impl PodState {
    /// Whether it is on its way out, as far as is known or was asked for.
    pub(crate) fn leaving(&self) -> bool {
        self.deleting || self.doomed != Doomed::No
    }

    /// Whether it names the set as its owner; if not, its adoption may be refused yet.
    pub(crate) const fn is_owned(&self) -> bool {
        !matches!(self.set, Some((_, Claim::Adopting { .. })))
    }

    /// Whether its deletion was asked for and has not been seen to begin.
    fn unsettled(&self) -> bool {
        self.doomed != Doomed::No && !self.deleting
    }

    /// Whether it still takes its node's place: not if it ended and is being deleted.
    fn present(&self) -> bool {
        !(self.deleting && self.phase.is_terminal())
    }

    fn age(&self) -> (bool, Timestamp, &Name) {
        (!self.bound, self.created, &self.name)
    }

    /// The hash of its revision.
    pub(crate) fn hash(&self) -> Option<&Name> {
        self.labels.name(HASH_LABEL)
    }
}

/// Whether a set wants to run on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    Run,
    Keep,
    No,
    /// The node does not exist.
    Gone,
}

impl From<&DaemonFit> for Placement {
    fn from(fit: &DaemonFit) -> Self {
        match fit {
            DaemonFit::Run => Self::Run,
            DaemonFit::Keep(_) => Self::Keep,
            DaemonFit::No(_) => Self::No,
        }
    }
}

/// A pod that was asked for and has not been seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Creating {
    pub(crate) name: Name,
    /// Whether the request is under way; if not, its fate is unknown and it is asked again.
    pub(crate) sent: bool,
    /// Whether an earlier request was never answered: a refusal of a later one does not say that there
    /// is no pod.
    pub(crate) unclear: bool,
    /// What is on the node's account for it.
    pub(crate) reserved: Option<Arc<PodResources>>,
    /// When to ask again.
    pub(crate) retry_at: Timestamp,
}

/// How long failed pods of one node are left alone: one second at first, doubled each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BackOff {
    pub(crate) generation: i64,
    pub(crate) seconds: i64,
    pub(crate) since: Timestamp,
}

const BACK_OFF_MAX: i64 = 15 * 60;

impl BackOff {
    /// The back-off after one more failed pod was deleted.
    pub(crate) fn next(last: Option<Self>, generation: i64, now: Timestamp) -> Self {
        let fresh = Self {
            generation,
            seconds: 1,
            since: now,
        };
        match last {
            Some(last)
                if last.generation == generation
                    && now.millis_since(last.since) <= 2 * BACK_OFF_MAX * 1000 =>
            {
                Self {
                    seconds: (last.seconds * 2).min(BACK_OFF_MAX),
                    ..fresh
                }
            }
            _ => fresh,
        }
    }

    pub(crate) const fn until(self) -> Timestamp {
        self.since.plus_seconds(self.seconds)
    }
}

/// What is kept per node and set.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) placement: Placement,
    pub(crate) pods: Vec<PodId>,
    pub(crate) creating: Option<Box<Creating>>,
    pub(crate) back_off: Option<Box<BackOff>>,
    pub(crate) counts: Counts,
    pub(crate) class: Class,
    pub(crate) wake: Option<Timestamp>,
}

impl Cell {
    pub(crate) fn new(placement: Placement) -> Self {
        Self {
            placement,
            pods: Vec::new(),
            creating: None,
            back_off: None,
            counts: Counts::default(),
            class: Class::None,
            wake: None,
        }
    }

    /// Whether nothing needs to be remembered.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.placement, Placement::No | Placement::Gone)
            && self.pods.is_empty()
            && self.creating.is_none()
    }
}

/// What a node adds to the sums of its set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) desired: bool,
    pub(crate) current: bool,
    pub(crate) misscheduled: bool,
    pub(crate) ready: bool,
    pub(crate) available: bool,
    pub(crate) updated: bool,
    /// A pod is due.
    pub(crate) missing: bool,
    /// It counts against the budget of a rolling update without surge.
    pub(crate) down: bool,
    /// Its old or, failing that, new pod is available (only counted with surge).
    pub(crate) serves: bool,
}

/// What a rolling update can do with a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nothing.
    #[default]
    None,
    /// Delete the old pod at once: it is down anyway.
    Replace(PodId),
    /// Delete the old pod if the budget allows.
    Candidate(PodId),
    /// With surge: two pods, the new one not available yet.
    Surging,
    /// With surge: start the new pod at once, the old one is down.
    SurgeNow,
    /// With surge: start the new pod if the limit allows.
    SurgeCandidate,
    /// With surge: delete the old pod, the new one is available or the old one down.
    Retire(PodId),
    /// With surge: delete the old pod once enough others serve; it should not be here.
    Sunset(PodId),
}

/// How a set replaces its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    OnDelete,
    Rolling,
    Surge,
}

/// What [`assess`] needs to know of the set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) hash: Option<&'a str>,
    pub(crate) aliases: &'a [Name],
    pub(crate) template_generation: Option<i64>,
    pub(crate) generation: i64,
    pub(crate) min_ready_seconds: i64,
    pub(crate) mode: Mode,
    pub(crate) now: Timestamp,
}

impl Facts<'_> {
    /// Whether the pod has the newest template.
    pub(crate) fn is_updated(&self, pod: &PodState) -> bool {
        let hash = pod.hash();
        let generation = || pod.labels.label(GENERATION_LABEL)?.parse().ok();
        (hash.is_some() && hash.map(|hash| &**hash) == self.hash)
            || self.aliases.iter().any(|alias| hash == Some(alias))
            || (self.template_generation.is_some() && generation() == self.template_generation)
    }

    /// When the pod counts as available, if it stays ready.
    pub(crate) fn available_at(&self, pod: &PodState) -> Option<Timestamp> {
        if !pod.ready {
            None
        } else if self.min_ready_seconds == 0 {
            Some(Timestamp(i64::MIN))
        } else {
            pod.ready_since
                .map(|since| since.plus_seconds(self.min_ready_seconds).plus_millis(1))
        }
    }

    pub(crate) fn is_available(&self, pod: &PodState) -> bool {
        self.available_at(pod).is_some_and(|at| at <= self.now)
    }
}

/// What a node counts for and needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Assessment {
    pub(crate) counts: Counts,
    pub(crate) class: Class,
    /// Pods to delete, whatever the budget says.
    pub(crate) deletes: Vec<(PodId, Doom)>,
    /// When time alone changes the answer.
    pub(crate) wake: Option<Timestamp>,
}

/// Why a pod must go, before the reason is put into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doom {
    Misplaced,
    NoNode,
    Failed,
    Succeeded,
    Duplicate,
    Replaced,
}

impl Doom {
    pub(crate) fn why(self, misplaced: impl FnOnce() -> Option<Reason>) -> Why {
        match self {
            Self::Misplaced => misplaced().map_or(Why::NoNode, Why::Misplaced),
            Self::NoNode => Why::NoNode,
            Self::Failed => Why::Failed,
            Self::Succeeded => Why::Succeeded,
            Self::Duplicate => Why::Duplicate,
            Self::Replaced => Why::Replaced,
        }
    }
}
