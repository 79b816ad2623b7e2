//! The rolling update: deletes old pods and creates new ones within `maxUnavailable` and
//! `maxSurge`.

use pandaemon_types::Timestamp;

use crate::{
    action::{DeleteReason, Plan},
    ids::NodeId,
    node_state::{Mode, UpdateStep},
    planner::Planner,
    set::Set,
};

impl Planner {
    pub(super) fn plan_rollout(&mut self, set: &mut Set, now: Timestamp, plan: &mut Plan) {
        match set.mode() {
            Mode::OnDelete => {}
            Mode::Rolling => self.plan_rolling(set, now, plan),
            Mode::Surge => self.plan_surge(set, now, plan),
        }
    }

    /// Without surge: first the nodes that are down anyway, then as many as `maxUnavailable`
    /// allows.
    fn plan_rolling(&mut self, set: &mut Set, now: Timestamp, plan: &mut Plan) {
        while let Some(node) = set.queues.replace.next(&set.deletes, now) {
            self.delete_old(set, node, DeleteReason::OutdatedDown, now, plan);
        }
        let (limit, _) = set.budgets();
        while set.totals.down < limit
            && let Some(node) = set.queues.candidates.next(&set.deletes, now)
        {
            let reason = DeleteReason::Outdated {
                down: set.totals.down + 1,
                limit,
            };
            self.delete_old(set, node, reason, now, plan);
        }
    }

    /// With surge: deletes old pods whose replacement is available, and creates new ones as
    /// `maxSurge` allows.
    fn plan_surge(&mut self, set: &mut Set, now: Timestamp, plan: &mut Plan) {
        while let Some(node) = set.queues.retire.next(&set.deletes, now) {
            let reason = match self.misplaced(set, node) {
                Some(reason) => DeleteReason::Misplaced(reason),
                None if self.nodes.node(node).is_some() => DeleteReason::Replaced,
                None => DeleteReason::NoNode,
            };
            self.delete_old(set, node, reason, now, plan);
        }
        while set.totals.desired < set.totals.serves
            && let Some(node) = set.queues.retire_misplaced.next(&set.deletes, now)
        {
            let reason = self.misplaced(set, node);
            let reason = reason.map_or(DeleteReason::NoNode, DeleteReason::Misplaced);
            self.delete_old(set, node, reason, now, plan);
        }
        while let Some(node) = set.queues.surge_now.next(&set.creates, now) {
            self.create(set, node, now, plan);
        }
        let (_, limit) = set.budgets();
        while set.totals.surging < limit
            && let Some(node) = set.queues.surge_candidates.next(&set.creates, now)
        {
            self.create(set, node, now, plan);
        }
    }

    /// Deletes the old pod of a node whose update step is a deletion.
    fn delete_old(
        &mut self,
        set: &mut Set,
        node: NodeId,
        reason: DeleteReason,
        now: Timestamp,
        plan: &mut Plan,
    ) {
        let step = set.nodes.get(node).map(|state| state.due.step);
        if let Some(
            UpdateStep::Replace(pod)
            | UpdateStep::Candidate(pod)
            | UpdateStep::Retire(pod)
            | UpdateStep::RetireMisplaced(pod),
        ) = step
        {
            self.delete(set, node, pod, reason, now, plan);
        }
        self.refresh(set, node, now);
    }
}
