//! Planning: assesses what events touched and returns the requests that are due.

mod clock;
mod ownership;
mod rollout;

use std::{collections::BTreeSet, sync::Arc};

use pandaemon_types::{Name, Timestamp};

use crate::{
    action::{Action, DeleteReason, Plan, PodRef, Severity},
    assess::{assess, earliest},
    canonical::{five_letters, fnv64},
    ids::{NodeId, PodId},
    node_state::{Creating, DeleteCause},
    node_status::Explanation,
    planner::Planner,
    pod_state::Deletion,
    set::Set,
    view::SetKey,
};

/// Debug builds compare the totals of sets with at most this many nodes with a recount in every plan.
const RECOUNT_MAX_NODES: usize = 256;

impl Planner {
    /// Returns the requests that are due now.
    pub fn plan(&mut self, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        self.handle_clock_step(now);
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
        plan.actions.append(&mut set.pending_events);
        if set.view.deleting {
            return;
        }
        if set.view.selects_all() {
            warn_of_selector(set, plan);
            return;
        }
        self.plan_ownership(set, now, plan);
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
        self.plan_nodes(set, &touched, now, plan);
        if set.current.is_some() {
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

    /// Assesses nodes again and deletes the pods that have to go regardless of the update budget.
    fn plan_nodes(
        &mut self,
        set: &mut Set,
        touched: &[(Name, NodeId)],
        now: Timestamp,
        plan: &mut Plan,
    ) {
        for (name, node) in touched {
            let node = *node;
            self.retry_failed_deletes(set, node, now);
            let deletes = self.refresh(set, node, now);
            let has_deletes = !deletes.is_empty();
            for (pod, cause) in deletes {
                if !set.requests.may_delete() {
                    set.touch(node);
                    break;
                }
                self.record_delete(set, node, pod, cause, now);
                let reason = cause.reason(|| self.misplaced(set, node));
                self.delete(set, node, pod, reason, plan);
            }
            if has_deletes {
                self.refresh(set, node, now);
            }
            self.retry_creation(set, name, node, now, plan);
        }
    }

    /// Allows failed deletions to be requested again after their back-off.
    fn retry_failed_deletes(&mut self, set: &Set, node: NodeId, now: Timestamp) {
        let pods = set.nodes.get(node).map(|state| state.pods.as_slice());
        for number in pods.unwrap_or_default() {
            if let Some(pod) = self.pods.get_mut(*number)
                && matches!(pod.deletion, Deletion::Failed(until) if until <= now)
            {
                pod.deletion = Deletion::NotRequested;
            }
        }
    }

    /// Assesses a node; returns the pods to delete.
    fn refresh(&self, set: &mut Set, node: NodeId, now: Timestamp) -> Vec<(PodId, DeleteCause)> {
        let Some(state) = set.nodes.get(node) else {
            return Vec::new();
        };
        let mut assessment = assess(state, &self.pods_of(state), &set.facts(now));
        if let Some(creating) = state
            .creating
            .as_ref()
            .filter(|creating| !creating.sent && now < creating.retry_at)
        {
            assessment.wake = earliest(assessment.wake, Some(creating.retry_at));
        }
        let wake = assessment.wake.filter(|at| now < *at);
        set.set_assessment(node, &self.nodes, &assessment, wake);
        assessment.deletes
    }

    fn record_delete(
        &self,
        set: &mut Set,
        node: NodeId,
        pod: PodId,
        cause: DeleteCause,
        now: Timestamp,
    ) {
        let Some(pod) = self.pods.get(pod) else {
            return;
        };
        let name = || format!("{}/{}", pod.namespace, pod.name);
        match cause {
            DeleteCause::Failed => {
                Self::back_off(set, node, now);
                let (name, node) = (name(), self.nodes.name(node));
                let message =
                    format!("Found failed daemon pod {name} on node {node}, will try to kill it");
                set.record_event(Severity::Warning, "FailedDaemonPod", message);
            }
            DeleteCause::Succeeded => {
                let (name, node) = (name(), self.nodes.name(node));
                let message = format!(
                    "Found succeeded daemon pod {name} on node {node}, will try to delete it"
                );
                set.record_event(Severity::Normal, "SucceededDaemonPod", message);
            }
            DeleteCause::Misplaced
            | DeleteCause::NoNode
            | DeleteCause::Duplicate
            | DeleteCause::Replaced => {}
        }
    }

    fn delete(
        &mut self,
        set: &mut Set,
        node: NodeId,
        pod: PodId,
        reason: DeleteReason,
        plan: &mut Plan,
    ) {
        let Some(pod) = self.pods.get_mut(pod).filter(|pod| !pod.leaving()) else {
            return;
        };
        pod.deletion = Deletion::Requested;
        set.requests.deleting += 1;
        plan.actions.push(Action::DeletePod {
            set: set.view.key.clone(),
            node: self.nodes.name(node),
            pod: PodRef {
                name: Name::clone(&pod.name),
                uid: pod.uid.clone(),
            },
            reason,
        });
    }

    // === creations ===

    fn plan_creations(&mut self, set: &mut Set, now: Timestamp, plan: &mut Plan) {
        while set.requests.may_create(now) {
            let Some((_, node)) = set.queues.missing.first_key_value() else {
                break;
            };
            self.create(set, *node, now, plan);
        }
    }

    pub(crate) fn create(&mut self, set: &mut Set, node: NodeId, now: Timestamp, plan: &mut Plan) {
        let Some(template) = set
            .current
            .as_ref()
            .map(|current| Arc::clone(&current.template))
        else {
            return;
        };
        set.serial += 1;
        let node_name = self.nodes.name(node);
        let seed = fnv64([
            set.uid.as_bytes(),
            node_name.as_bytes(),
            &now.0.to_le_bytes(),
            &set.serial.to_le_bytes(),
        ]);
        let name: Name = format!("{}{}", template.name_prefix(), five_letters(seed)).into();
        let bind = self.options.bind && self.has_room(set, node);
        let reserved = bind.then(|| Arc::clone(&set.needs.resources));
        if let Some(usage) = self.nodes.usage_mut(node).filter(|_| bind) {
            usage.add(&set.needs.resources);
        }
        if let Some(state) = set.nodes.get_mut(node) {
            let name = Name::clone(&name);
            let creating = Creating {
                name,
                sent: true,
                unclear: false,
                reserved,
                retry_at: now,
            };
            state.creating = Some(Box::new(creating));
        }
        set.requests.creating += 1;
        self.refresh(set, node, now);
        plan.actions.push(Action::CreatePod {
            set: set.view.key.clone(),
            uid: set.view.uid.clone(),
            node: node_name,
            name,
            bind,
            template,
        });
    }

    /// Whether one more pod of the set can start on the node now.
    fn has_room(&self, set: &Set, node: NodeId) -> bool {
        let (view, usage) = (self.nodes.node(node), self.nodes.usage(node));
        view.zip(usage)
            .is_some_and(|(view, usage)| usage.has_room(view, &set.needs.resources))
    }

    /// Repeats a creation that got no assessment, under the same name.
    fn retry_creation(
        &self,
        set: &mut Set,
        name: &Name,
        node: NodeId,
        now: Timestamp,
        plan: &mut Plan,
    ) {
        let Some(current) = set.current.as_ref() else {
            return;
        };
        let creating = set
            .nodes
            .get_mut(node)
            .and_then(|state| state.creating.as_mut());
        let Some(creating) = creating.filter(|c| !c.sent && c.retry_at <= now) else {
            return;
        };
        creating.sent = true;
        set.requests.creating += 1;
        let template = Arc::clone(&current.template);
        plan.actions.push(Action::CreatePod {
            set: set.view.key.clone(),
            uid: set.view.uid.clone(),
            node: Name::clone(name),
            name: Name::clone(&creating.name),
            bind: creating.reserved.is_some(),
            template,
        });
    }
}

fn warn_of_selector(set: &mut Set, plan: &mut Plan) {
    if set.warned_generation == Some(set.view.generation) {
        return;
    }
    set.warned_generation = Some(set.view.generation);
    let message = "This daemon set is selecting all pods. A non-empty selector is required.";
    set.record_event(Severity::Warning, "SelectingAll", message.to_owned());
    plan.actions.append(&mut set.pending_events);
}

/// Writes the status if it differs from the last known one.
fn plan_status(set: &mut Set, now: Timestamp, plan: &mut Plan) {
    let may = set.writing.is_none() && set.write_after.is_none_or(|at| at <= now);
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
