//! Whether a pod fits a node, and why not.
//!
//! Pure. It answers two questions. The DaemonSet planner asks whether a daemon pod should run on a
//! node ([`daemon_fit`]: name, selector, affinity, taints). The scheduler asks whether a pod can
//! start there now ([`fit`]: the same, and resources and host ports).
//!
//! For explanations, [`mismatches`] and [`shortages`] return all reasons, with the pods that hold
//! what is short.
//!
//! Every refusal is a typed [`Reason`]. Its `Display` is the sentence in the planner's reasons;
//! [`Reason::scheduler_text`] is the phrase of upstream's scheduler in `FailedScheduling` events.

mod affinity;
mod explain;
mod needs;
mod reason;
mod taints;
mod usage;

pub use affinity::{NodeSelectorTerm, NodeTest, NodeTestOperator};
pub use explain::{mismatches, shortages};
pub use needs::PodNeeds;
pub use reason::{FailedTerm, Fit, Holder, Reason};
pub use taints::{
    Toleration, TolerationOperator, daemon_tolerations, tolerates_no_execute, untolerated,
};
pub use usage::{CompactUsage, Usage};

use pandaemon_types::NodeView;

/// Whether a daemon pod should run on a node, as upstream's `NodeShouldRunDaemonPod`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonFit {
    /// It should run there.
    Run,
    /// It should not be started there, but a running one may stay: only `NoSchedule` taints are not
    /// tolerated.
    Keep(Reason),
    /// It must not run there.
    No(Reason),
}

impl DaemonFit {
    /// Whether a daemon pod should be started on the node.
    #[must_use]
    pub const fn should_run(&self) -> bool {
        matches!(self, Self::Run)
    }
}

/// Decides whether a daemon pod should run on a node. `needs` must contain the automatic
/// tolerations, which [`PodNeeds::for_daemon`] adds.
#[must_use]
pub fn daemon_fit(needs: &PodNeeds, node: &NodeView) -> DaemonFit {
    if let Some(reason) = needs.node_mismatch(node) {
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

/// Decides whether a pod can start on a node beside the pods that `usage` counts. Returns every
/// reason against it.
#[must_use]
pub fn fit(needs: &PodNeeds, node: &NodeView, usage: &Usage) -> Fit {
    let mut reasons: Vec<Reason> = needs.node_mismatch(node).into_iter().collect();
    if node.unschedulable && !taints::tolerates_unschedulable(&needs.tolerations) {
        reasons.push(Reason::Unschedulable);
    }
    if let Some(taint) = untolerated(&needs.tolerations, &node.taints) {
        reasons.push(Reason::Taint(taint.clone()));
    }
    usage.shortages(node, &needs.resources, &mut reasons);
    if reasons.is_empty() {
        Fit::Yes
    } else {
        Fit::No(reasons)
    }
}

#[cfg(test)]
mod tests;
