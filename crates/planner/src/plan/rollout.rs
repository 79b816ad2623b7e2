//! The rolling update: which old pods go and which new ones come, within the limits.

use std::collections::BTreeMap;

use pandaemon_types::{Name, Timestamp};

use crate::{
    action::{Plan, Why},
    cell::{Class, Mode},
    index::{NodeId, Planner},
    set::Set,
};

impl Planner {
    pub(super) fn plan_rollout(&mut self, set: &mut Set, now: Timestamp, plan: &mut Plan) {
        match set.mode() {
            Mode::OnDelete => {}
            Mode::Rolling => self.roll(set, now, plan),
            Mode::Surge => self.surge(set, now, plan),
        }
    }

    /// Without surge: first what is down anyway, then as many more as the budget allows.
    fn roll(&mut self, set: &mut Set, now: Timestamp, plan: &mut Plan) {
        while let Some(node) = first(&set.classes.replace) {
            if !self.end_old(set, node, Why::OutdatedDown, now, plan) {
                return;
            }
        }
        let (limit, _) = set.limits();
        while set.tally.down < limit {
            let Some(node) = first(&set.classes.candidates) else {
                break;
            };
            let why = Why::Outdated {
                down: set.tally.down + 1,
                limit,
            };
            if !self.end_old(set, node, why, now, plan) {
                return;
            }
        }
    }

    /// With surge: old pods go when their replacement serves; new ones come as the limit allows.
    fn surge(&mut self, set: &mut Set, now: Timestamp, plan: &mut Plan) {
        while let Some(node) = first(&set.classes.retire) {
            let why = match self.misplaced(set, node) {
                Some(reason) => Why::Misplaced(reason),
                None if self.roster.node(node).is_some() => Why::Replaced,
                None => Why::NoNode,
            };
            if !self.end_old(set, node, why, now, plan) {
                break;
            }
        }
        while set.tally.desired < set.tally.serves {
            let Some(node) = first(&set.classes.sunset) else {
                break;
            };
            let why = self
                .misplaced(set, node)
                .map_or(Why::NoNode, Why::Misplaced);
            if !self.end_old(set, node, why, now, plan) {
                break;
            }
        }
        while let Some(node) = first(&set.classes.surge_now) {
            if !set.pace.may_create(now) {
                return;
            }
            self.create(set, node, now, plan);
        }
        let (_, limit) = set.limits();
        while set.tally.surging < limit && set.pace.may_create(now) {
            let Some(node) = first(&set.classes.surge_candidates) else {
                break;
            };
            self.create(set, node, now, plan);
        }
    }

    /// Deletes the old pod of a node; false if no more deletions may be under way.
    fn end_old(
        &mut self,
        set: &mut Set,
        node: NodeId,
        why: Why,
        now: Timestamp,
        plan: &mut Plan,
    ) -> bool {
        if !set.pace.may_delete() {
            return false;
        }
        let pod = set.cells.get(node).and_then(|cell| match cell.class {
            Class::Replace(number)
            | Class::Candidate(number)
            | Class::Retire(number)
            | Class::Sunset(number) => Some(number),
            Class::None | Class::Surging | Class::SurgeNow | Class::SurgeCandidate => None,
        });
        let Some(pod) = pod else { return false };
        self.delete(set, node, pod, why, plan);
        self.refresh(set, node, now);
        true
    }
}

fn first(nodes: &BTreeMap<Name, NodeId>) -> Option<NodeId> {
    nodes.first_key_value().map(|(_, node)| *node)
}
