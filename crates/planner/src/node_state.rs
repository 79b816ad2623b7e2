//! The state of one DaemonSet on one node: its pods, pending requests, and the last assessment.
//!
//! [`assess`](crate::assess::assess) is a function of the pods of one node. Budgets and limits of
//! the whole set are decided from the totals of the assessments.

use std::sync::Arc;

use pandaemon_placement::{DaemonFit, Reason};
use pandaemon_types::{Labels as _, Name, PodResources, Timestamp};

use crate::{
    action::DeleteReason, back_off::BackOff, canonical::GENERATION_LABEL, ids::PodId,
    pod_rules::available_at, pod_state::PodState,
};

/// Whether a set should run on a node: [`DaemonFit`] without its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    Run,
    Keep,
    No,
    /// There is no such node.
    NoNode,
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

/// A pod whose creation was requested and which was not observed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Creating {
    pub(crate) name: Name,
    /// The attempt number in the name; see [`pod_name`](crate::canonical::pod_name).
    pub(crate) attempt: u32,
    /// Whether a request is under way. If not, the last one got no answer and is repeated.
    pub(crate) sent: bool,
    /// Until when an earlier request that got no answer may take effect: the pod may exist although
    /// a later one was refused.
    pub(crate) unclear_until: Option<Timestamp>,
    /// The resources that are counted on the node for it.
    pub(crate) reserved: Option<Arc<PodResources>>,
}

/// The state of one set on one node.
#[derive(Debug, Clone)]
pub(crate) struct NodeState {
    pub(crate) placement: Placement,
    pub(crate) pods: Vec<PodId>,
    pub(crate) creating: Option<Box<Creating>>,
    pub(crate) back_off: Option<Box<BackOff>>,
    pub(crate) counts: Counts,
    /// The requests that are due, as last assessed.
    pub(crate) due: Due,
    pub(crate) wake: Option<Timestamp>,
}

impl NodeState {
    pub(crate) fn new(placement: Placement) -> Self {
        Self {
            placement,
            pods: Vec::new(),
            creating: None,
            back_off: None,
            counts: Counts::default(),
            due: Due::default(),
            wake: None,
        }
    }

    /// Whether the state holds nothing and can be dropped.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.placement, Placement::No | Placement::NoNode)
            && self.pods.is_empty()
            && self.creating.is_none()
    }
}

/// What a node adds to the totals of its set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) desired: bool,
    pub(crate) current: bool,
    pub(crate) misscheduled: bool,
    pub(crate) ready: bool,
    pub(crate) available: bool,
    pub(crate) updated: bool,
    /// A pod has to be created.
    pub(crate) missing: bool,
    /// It counts against `maxUnavailable`; only without surge.
    pub(crate) down: bool,
    /// Its old pod (or its new one, if there is no old) is available; only with surge.
    pub(crate) serves: bool,
}

/// The next step of a rolling update on a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum UpdateStep {
    /// No step is due.
    #[default]
    None,
    /// Delete the old pod at once: it is not available anyway.
    Replace(PodId),
    /// Delete the old pod if `maxUnavailable` allows.
    Candidate(PodId),
    /// With surge: old and new pod run, and the new one is not available yet.
    Surging,
    /// With surge: create the new pod at once, the old one is not available.
    SurgeNow,
    /// With surge: create the new pod if `maxSurge` allows.
    SurgeCandidate,
    /// With surge: delete the old pod, as the new one is available or the old one is not.
    Retire(PodId),
    /// With surge: delete the misplaced old pod once enough other nodes have an available pod.
    RetireMisplaced(PodId),
}

/// The requests that a node waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// A pod has to be created, or a creation that got no answer has to be repeated.
    pub(crate) create: bool,
    /// Pods have to be deleted regardless of the update budget.
    pub(crate) delete: bool,
    /// The next step of a rolling update.
    pub(crate) step: UpdateStep,
}

/// How a set replaces outdated pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    OnDelete,
    Rolling,
    Surge,
}

/// The fields of the set that [`assess`](crate::assess::assess) depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SetFacts<'a> {
    pub(crate) hash: Option<&'a str>,
    pub(crate) aliases: &'a [Name],
    pub(crate) template_generation: Option<i64>,
    pub(crate) generation: i64,
    pub(crate) min_ready_seconds: i64,
    pub(crate) mode: Mode,
    pub(crate) now: Timestamp,
}

impl SetFacts<'_> {
    /// Whether the pod has the current template.
    pub(crate) fn is_updated(&self, pod: &PodState) -> bool {
        let hash = pod.hash();
        let generation = || pod.labels.label(GENERATION_LABEL)?.parse().ok();
        (hash.is_some() && hash.map(|hash| &**hash) == self.hash)
            || self.aliases.iter().any(|alias| hash == Some(alias))
            || (self.template_generation.is_some() && generation() == self.template_generation)
    }

    /// When the pod becomes available if it stays ready; `None` if it is not ready.
    pub(crate) fn available_at(&self, pod: &PodState) -> Option<Timestamp> {
        available_at(pod.ready, pod.ready_since, self.min_ready_seconds)
    }

    pub(crate) fn is_available(&self, pod: &PodState) -> bool {
        self.available_at(pod).is_some_and(|at| at <= self.now)
    }
}

/// The result of [`assess`](crate::assess::assess).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Assessment {
    pub(crate) counts: Counts,
    pub(crate) due: Due,
    /// Pods to delete regardless of the update budget.
    pub(crate) deletes: Vec<(PodId, DeleteCause)>,
    /// When the result changes without an event.
    pub(crate) wake: Option<Timestamp>,
}

/// Why a pod is deleted; [`DeleteReason`] adds the details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeleteCause {
    Misplaced,
    NoNode,
    Failed,
    Succeeded,
    Duplicate,
    Replaced,
}

impl DeleteCause {
    pub(crate) fn reason(self, misplaced: impl FnOnce() -> Option<Reason>) -> DeleteReason {
        match self {
            Self::Misplaced => misplaced().map_or(DeleteReason::NoNode, DeleteReason::Misplaced),
            Self::NoNode => DeleteReason::NoNode,
            Self::Failed => DeleteReason::Failed,
            Self::Succeeded => DeleteReason::Succeeded,
            Self::Duplicate => DeleteReason::Duplicate,
            Self::Replaced => DeleteReason::Replaced,
        }
    }
}
