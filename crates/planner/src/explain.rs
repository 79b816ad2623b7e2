//! Explanations: the status of a set on each node, and the totals counted from scratch.

use pandaemon_placement::DaemonFit;
use pandaemon_types::{Name, NodeView, Phase, Timestamp};

use crate::{
    assess::assess,
    ids::{NodeId, PodId},
    node_state::{Mode, NodeState, Placement, UpdateStep},
    node_status::{BlockedBy, Explanation, NodeStatus, Wait},
    planner::Planner,
    pod_state::PodState,
    set::Set,
    totals::Totals,
    view::SetKey,
};

impl Planner {
    /// The status of a set on every node, in the order of the node names.
    #[must_use]
    pub fn explain(&self, key: &SetKey, now: Timestamp) -> Vec<Explanation> {
        let Some(set) = self.sets.get(key) else {
            return Vec::new();
        };
        let explanation = |(id, node): (NodeId, &NodeView)| {
            let status = self.node_status(set, id, now)?;
            Some(Explanation {
                set: key.clone(),
                node: Name::clone(&node.name),
                status,
            })
        };
        self.nodes.iter().filter_map(explanation).collect()
    }

    /// The status of a set on a node; `None` if neither the node nor a pod on it exists.
    pub(crate) fn node_status(
        &self,
        set: &Set,
        node: NodeId,
        now: Timestamp,
    ) -> Option<NodeStatus> {
        let fit = self.placement(set, node);
        let state = set.nodes.get(node);
        let reason = match fit {
            Some(DaemonFit::Keep(reason) | DaemonFit::No(reason)) => Some(reason),
            Some(DaemonFit::Run) | None => None,
        };
        let Some(state) = state else {
            return reason.map(NodeStatus::Skips);
        };
        let pods: Vec<&PodState> = state
            .pods
            .iter()
            .filter_map(|id| self.pods.get(*id))
            .collect();
        let active: Vec<&PodState> = pods
            .iter()
            .copied()
            .filter(|pod| !pod.leaving(now))
            .collect();
        if state
            .creating
            .as_ref()
            .is_some_and(|creating| creating.sent)
        {
            return Some(NodeStatus::Creates);
        }
        if active.is_empty() {
            let is_empty = pods.is_empty();
            return Self::status_without_pod(set, (node, state), reason, is_empty, now);
        }
        if let Some(wait) = state.back_off.as_deref().map(|wait| wait.until())
            && now < wait
            && active.iter().all(|pod| pod.phase == Phase::Failed)
        {
            return Some(NodeStatus::Waits(Wait::BackOff(wait)));
        }
        let deletion = set.deletes.wait_end(node, now);
        if let Some(until) = deletion.filter(|_| state.due.delete) {
            return Some(NodeStatus::Waits(Wait::Deletion(until)));
        }
        if let (Some(reason), Placement::Keep) = (&reason, state.placement) {
            return Some(NodeStatus::Keeps(reason.clone()));
        }
        let facts = set.facts(now);
        let mut active = active;
        if active.iter().any(|pod| !pod.phase.is_terminal()) {
            active.retain(|pod| !pod.phase.is_terminal());
        }
        if let Some(new) = active.iter().find(|pod| facts.is_updated(pod))
            && active.len() == 1
        {
            let available = facts.is_available(new);
            return Some(if available {
                NodeStatus::Runs
            } else {
                NodeStatus::Starts
            });
        }
        let step = state.due.step;
        Some(NodeStatus::Outdated(match (step, deletion) {
            (UpdateStep::Retire(_) | UpdateStep::Candidate(_), Some(until)) => {
                BlockedBy::Deletion(until)
            }
            _ => blocked_by(set, step),
        }))
    }

    fn status_without_pod(
        set: &Set,
        (node, state): (NodeId, &NodeState),
        reason: Option<pandaemon_placement::Reason>,
        is_empty: bool,
        now: Timestamp,
    ) -> Option<NodeStatus> {
        let until = set.creates.wait_end(node, now);
        if state.creating.is_some() {
            // The last request got no answer.
            return Some(NodeStatus::Waits(until.map_or(Wait::Turn, Wait::Until)));
        }
        if !is_empty {
            return Some(NodeStatus::Ends);
        }
        if let Some(reason) = reason {
            return Some(NodeStatus::Skips(reason));
        }
        if state.placement == Placement::NoNode {
            return None;
        }
        Some(NodeStatus::Waits(match until {
            _ if set.current.is_none() => Wait::Revision,
            Some(until) => Wait::Until(until),
            None => Wait::Turn,
        }))
    }

    /// The pods of a node state with their ids.
    pub(crate) fn pods_of(&self, state: &NodeState) -> Vec<(PodId, &PodState)> {
        let numbers = state.pods.iter();
        numbers
            .filter_map(|id| Some((*id, self.pods.get(*id)?)))
            .collect()
    }

    /// The totals counted from scratch: the incremental ones must be equal.
    pub(crate) fn recount(&self, set: &Set, now: Timestamp) -> Totals {
        let mut totals = Totals::default();
        for (node, state) in set.nodes.iter::<NodeId>() {
            if set.touched.contains(&node) {
                totals.add(state.counts, state.due.step);
                continue;
            }
            let answer = assess(state, &self.pods_of(state), &set.facts(now));
            totals.add(answer.counts, answer.due.step);
        }
        totals
    }

    /// Compares the totals of every set with a recount. Returns the sets whose totals differ.
    #[must_use]
    pub fn miscounted(&self, now: Timestamp) -> Vec<SetKey> {
        let differs = |set: &Set| {
            set.touched.is_empty() && !set.view.deleting && set.totals != self.recount(set, now)
        };
        self.sets
            .iter()
            .filter(|(_, set)| differs(set))
            .map(|(key, _)| key.clone())
            .collect()
    }
}

fn blocked_by(set: &Set, step: UpdateStep) -> BlockedBy {
    let (down, surge) = set.budgets();
    match set.mode() {
        Mode::OnDelete => BlockedBy::OnDelete,
        Mode::Rolling => BlockedBy::Budget {
            down: set.totals.down,
            limit: down,
        },
        Mode::Surge if step == UpdateStep::Surging => BlockedBy::Replacement,
        Mode::Surge => BlockedBy::Surge {
            surging: set.totals.surging,
            limit: surge,
        },
    }
}
