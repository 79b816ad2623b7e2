//! The rolling update: deletes old pods and creates new ones within `maxUnavailable` and `maxSurge`.

use std::collections::BTreeMap;

use pandaemon_types::{Name, Timestamp};

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

    /// Without surge: first the nodes that are down anyway, then as many as `maxUnavailable` allows.
    fn plan_rolling(&mut self, set: &mut Set, now: Timestamp, plan: &mut Plan) {
        while let Some(node) = first(&set.queues.replace) {
            if !self.delete_old(set, node, DeleteReason::OutdatedDown, now, plan) {
                return;
            }
        }
        let (limit, _) = set.budgets();
        while set.totals.down < limit {
            let Some(node) = first(&set.queues.candidates) else {
                break;
            };
            let reason = DeleteReason::Outdated {
                down: set.totals.down + 1,
                limit,
            };
            if !self.delete_old(set, node, reason, now, plan) {
                return;
            }
        }
    }

    /// With surge: deletes old pods whose replacement is available, and creates new ones as `maxSurge`
    /// allows.
    fn plan_surge(&mut self, set: &mut Set, now: Timestamp, plan: &mut Plan) {
        while let Some(node) = first(&set.queues.retire) {
            let reason = match self.misplaced(set, node) {
                Some(reason) => DeleteReason::Misplaced(reason),
                None if self.nodes.node(node).is_some() => DeleteReason::Replaced,
                None => DeleteReason::NoNode,
            };
            if !self.delete_old(set, node, reason, now, plan) {
                break;
            }
        }
        while set.totals.desired < set.totals.serves {
            let Some(node) = first(&set.queues.retire_misplaced) else {
                break;
            };
            let reason = self
                .misplaced(set, node)
                .map_or(DeleteReason::NoNode, DeleteReason::Misplaced);
            if !self.delete_old(set, node, reason, now, plan) {
                break;
            }
        }
        while let Some(node) = first(&set.queues.surge_now) {
            if !set.requests.may_create(now) {
                return;
            }
            self.create(set, node, now, plan);
        }
        let (_, limit) = set.budgets();
        while set.totals.surging < limit && set.requests.may_create(now) {
            let Some(node) = first(&set.queues.surge_candidates) else {
                break;
            };
            self.create(set, node, now, plan);
        }
    }

    /// Deletes the old pod of a node. Returns false if no more deletions may be under way.
    fn delete_old(
        &mut self,
        set: &mut Set,
        node: NodeId,
        reason: DeleteReason,
        now: Timestamp,
        plan: &mut Plan,
    ) -> bool {
        if !set.requests.may_delete() {
            return false;
        }
        let pod = set.nodes.get(node).and_then(|state| match state.step {
            UpdateStep::Replace(id)
            | UpdateStep::Candidate(id)
            | UpdateStep::Retire(id)
            | UpdateStep::RetireMisplaced(id) => Some(id),
            UpdateStep::None
            | UpdateStep::Surging
            | UpdateStep::SurgeNow
            | UpdateStep::SurgeCandidate => None,
        });
        let Some(pod) = pod else { return false };
        self.delete(set, node, pod, reason, plan);
        self.refresh(set, node, now);
        true
    }
}

fn first(nodes: &BTreeMap<Name, NodeId>) -> Option<NodeId> {
    nodes.first_key_value().map(|(_, node)| *node)
}
