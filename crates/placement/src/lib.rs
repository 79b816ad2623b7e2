//! Does this pod fit this node, and if not, why? Every "no" is a typed [`Reason`] that prints as one
//! sentence, so that an event, a log line and `explain` say the same words.
//!
//! Pure. Two callers with two questions: the DaemonSet planner asks where a daemon belongs
//! ([`daemon_fit`]: name, selector, affinity, taints), the binder asks where a pod can start now
//! ([`fit`]: the same, and resources and host ports).

mod affinity;
mod needs;
mod reason;
mod taints;
mod usage;

pub use affinity::{NodeSelectorTerm, NodeTest, NodeTestOperator};
pub use needs::PodNeeds;
pub use reason::{Fit, Reason};
pub use taints::{
    Toleration, TolerationOperator, daemon_tolerations, tolerates_no_execute, untolerated,
};
pub use usage::{Load, Usage};

use pandaemon_types::NodeView;

/// Where a daemon belongs, as upstream's `NodeShouldRunDaemonPod`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonFit {
    /// It should run here.
    Run,
    /// It should not be started here, but may go on: only a `NoSchedule` taint is in the way.
    Keep(Reason),
    /// It must not run here.
    No(Reason),
}

impl DaemonFit {
    /// Whether a daemon should be started here.
    #[must_use]
    pub const fn should_run(&self) -> bool {
        matches!(self, Self::Run)
    }

    /// Whether a daemon that is here may stay.
    #[must_use]
    pub const fn should_continue(&self) -> bool {
        matches!(self, Self::Run | Self::Keep(_))
    }
}

/// Decides whether a daemon belongs on a node. `needs` must hold the automatic tolerations already
/// ([`PodNeeds::for_daemon`] adds them).
#[must_use]
pub fn daemon_fit(needs: &PodNeeds, node: &NodeView) -> DaemonFit {
    if let Some(reason) = needs.wrong_node(node) {
        return DaemonFit::No(reason);
    }
    let Some(taint) = untolerated(&needs.tolerations, &node.taints) else {
        return DaemonFit::Run;
    };
    let reason = Reason::Taint(taint.clone());
    if tolerates_no_execute(&needs.tolerations, &node.taints) {
        DaemonFit::Keep(reason)
    } else {
        DaemonFit::No(reason)
    }
}

/// Decides whether a pod can start on a node now, next to what runs there. All reasons are told.
#[must_use]
pub fn fit(needs: &PodNeeds, node: &NodeView, usage: &Usage) -> Fit {
    let mut reasons: Vec<Reason> = needs.wrong_node(node).into_iter().collect();
    if node.unschedulable && !taints::tolerates_unschedulable(&needs.tolerations) {
        reasons.push(Reason::Unschedulable);
    }
    if let Some(taint) = untolerated(&needs.tolerations, &node.taints) {
        reasons.push(Reason::Taint(taint.clone()));
    }
    usage.shortages(node, &needs.claims, &mut reasons);
    if reasons.is_empty() {
        Fit::Yes
    } else {
        Fit::No(reasons)
    }
}

#[cfg(test)]
mod tests;
