//! Planning: assesses what events touched and returns the requests that are due.

mod clock;
mod creations;
mod deletions;
mod ownership;
mod rollout;

use std::collections::BTreeSet;

use pandaemon_types::{Name, Timestamp};

use crate::{
    action::{Action, Plan, Severity},
    assess::assess,
    ids::{NodeId, PodId},
    node_state::{Creating, DeleteCause},
    node_status::Explanation,
    planner::Planner,
    set::Set,
    view::SetKey,
};

/// Debug builds compare the totals of sets with at most this many nodes with a recount in every
/// plan.
const RECOUNT_MAX_NODES: usize = 256;

impl Planner {
    /// Returns the requests that are due now. Before every kind was listed, there are none: a plan
    /// would create pods that exist already.
    pub fn plan(&mut self, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        self.handle_clock_step(now);
        if self.listed != [true; 4] {
            return plan;
        }
        while let Some((at, key)) = self.wakes.first().cloned() {
            if now < at {
                break;
            }
            self.wakes.pop_first();
            if let Some(set) = self.sets.get_mut(&key) {
                set.wake = None;
                self.dirty.insert(key);
            }
        }
        let mut due: Vec<(u8, SetKey)> = std::mem::take(&mut self.dirty)
            .into_iter()
            .filter_map(|key| Some((self.sets.get(&key)?.rank, key)))
            .collect();
        due.sort();
        for (_, key) in due {
            let Some(mut set) = self.sets.remove(&key) else {
                continue;
            };
            self.plan_set(&mut set, now, &mut plan);
            let wake = set.wake_at(now);
            if wake != set.wake {
                if let Some(old) = set.wake.take() {
                    self.wakes.remove(&(old, key.clone()));
                }
                self.wakes.extend(wake.map(|at| (at, key.clone())));
                set.wake = wake;
            }
            self.sets.insert(key, set);
        }
        plan.wake_at = self.wakes.first().map(|(at, _)| *at);
        plan
    }

    fn plan_set(&mut self, set: &mut Set, now: Timestamp, plan: &mut Plan) {
        if !set.is_planned() {
            warn_of_selector(set);
            plan.actions.append(&mut set.pending_events);
            return;
        }
        plan.actions.append(&mut set.pending_events);
        self.plan_revisions(set, now, plan);
        while let Some((at, node)) = set.timers.first().copied() {
            if now < at {
                break;
            }
            set.timers.pop_first();
            if let Some(state) = set.nodes.get_mut(node) {
                state.wake = None;
            }
            set.touched.insert(node);
        }
        let touched = self.by_name(std::mem::take(&mut set.touched));
        for (_, node) in &touched {
            self.refresh(set, *node, now);
        }
        // Until the current revision exists, nothing else is done, as upstream.
        if set.current.is_some() {
            self.plan_patches(set, now, plan);
            self.plan_deletions(set, now, plan);
            self.plan_creations(set, now, plan);
            self.plan_rollout(set, now, plan);
        }
        plan_status(set, now, plan);
        plan.actions.append(&mut set.pending_events);
        if self.options.explain {
            for (node, number) in touched {
                let status = self.node_status(set, number, now);
                let set = set.view.key.clone();
                plan.explanations
                    .extend(status.map(|status| Explanation { set, node, status }));
            }
        }
        if cfg!(debug_assertions) && set.nodes.len() <= RECOUNT_MAX_NODES {
            debug_assert_eq!(
                set.totals,
                self.recount(set, now),
                "totals of {}",
                set.view.key
            );
        }
    }

    // === nodes ===

    /// Node ids with their names, in the order of the names.
    fn by_name(&self, nodes: BTreeSet<NodeId>) -> Vec<(Name, NodeId)> {
        let named = nodes.into_iter().map(|node| (self.nodes.name(node), node));
        let mut named: Vec<_> = named.collect();
        named.sort_unstable();
        named
    }

    /// Assesses a node; returns the pods to delete.
    fn refresh(
        &mut self,
        set: &mut Set,
        node: NodeId,
        now: Timestamp,
    ) -> Vec<(PodId, DeleteCause)> {
        self.give_up_creation(set, node, now);
        let Some(state) = set.nodes.get(node) else {
            return Vec::new();
        };
        let assessment = assess(state, &self.pods_of(state), &set.facts(now));
        set.set_assessment(node, &self.nodes, &assessment);
        if set.nodes.get(node).is_none() {
            self.forget_if_unused(node);
        }
        assessment.deletes
    }
}

impl Planner {
    /// Forgets a creation that got no answer, once it can no longer take effect: it must not hold
    /// its place in an update for ever.
    fn give_up_creation(&mut self, set: &mut Set, node: NodeId, now: Timestamp) {
        let state = set.nodes.get_mut(node);
        let over = |creating: &mut Box<Creating>| {
            !creating.sent && creating.unclear_until.is_some_and(|until| until <= now)
        };
        let creating = state.and_then(|state| state.creating.take_if(over));
        if let Some(resources) = creating.and_then(|creating| creating.reserved)
            && let Some(usage) = self.nodes.usage_mut(node)
        {
            usage.remove(&resources);
        }
    }
}

/// Warns of a selector that selects everything or cannot be read, once per generation.
fn warn_of_selector(set: &mut Set) {
    let (reason, message) = match &set.view.selector {
        _ if set.view.deleting || set.warned_generation == Some(set.view.generation) => return,
        Ok(_) => (
            "SelectingAll",
            "This daemon set is selecting all pods. A non-empty selector is required.".to_owned(),
        ),
        Err(error) => (
            "InvalidSelector",
            format!("The selector cannot be read: {error}. Nothing is done until it is corrected."),
        ),
    };
    set.warned_generation = Some(set.view.generation);
    set.record_event(Severity::Warning, reason, message);
}

/// Writes the status if it differs from the last known one.
fn plan_status(set: &mut Set, now: Timestamp, plan: &mut Plan) {
    let may = set.writing.is_none() && set.write_retry.is_over(now);
    let status = set.status();
    if !may || set.current.is_none() || status == set.view.status {
        return;
    }
    set.writing = Some(status.clone());
    let (key, uid) = (set.view.key.clone(), set.view.uid.clone());
    plan.actions.push(Action::WriteStatus {
        set: key,
        uid,
        status,
    });
}
