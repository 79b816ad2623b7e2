//! Planning: from what the events touched to what must be done.

mod clock;
mod ownership;
mod rollout;

use std::{collections::BTreeSet, sync::Arc};

use pandaemon_types::{Name, Timestamp};

use crate::{
    action::{Action, Plan, PodRef, Severity, Verdict, Why},
    cell::{Creating, Doom, Doomed, assess},
    index::{NodeId, Planner, PodId},
    outcome::note,
    revision::{five_letters, fnv64},
    set::Set,
    view::SetKey,
};

/// Debug builds recount the sums of sets with no more nodes than this at every plan.
const RECOUNTED: usize = 256;

impl Planner {
    /// Says what to do now.
    pub fn plan(&mut self, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        self.mind_clock(now);
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
        plan.actions.append(&mut set.notes);
        if set.view.deleting {
            return;
        }
        if set.view.selects_all() {
            warn_of_selector(set, plan);
            return;
        }
        self.plan_claims(set, now, plan);
        self.plan_revisions(set, now, plan);
        while let Some((at, node)) = set.timers.first().copied() {
            if now < at {
                break;
            }
            set.timers.pop_first();
            if let Some(cell) = set.cells.get_mut(node) {
                cell.wake = None;
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
        plan.actions.append(&mut set.notes);
        if self.options.verdicts {
            for (node, number) in touched {
                let stance = self.stance(set, number, now);
                let set = set.view.key.clone();
                plan.verdicts
                    .extend(stance.map(|stance| Verdict { set, node, stance }));
            }
        }
        if cfg!(debug_assertions) && set.cells.len() <= RECOUNTED {
            debug_assert_eq!(
                set.tally,
                self.recount(set, now),
                "sums of {}",
                set.view.key
            );
        }
    }

    // === nodes ===

    /// Nodes with their names, in the order of these.
    fn by_name(&self, nodes: BTreeSet<NodeId>) -> Vec<(Name, NodeId)> {
        let named = nodes.into_iter().map(|node| (self.roster.name(node), node));
        let mut named: Vec<_> = named.collect();
        named.sort_unstable();
        named
    }

    /// Looks at nodes again and deletes what must go whatever the budget says.
    fn plan_nodes(
        &mut self,
        set: &mut Set,
        touched: &[(Name, NodeId)],
        now: Timestamp,
        plan: &mut Plan,
    ) {
        for (name, node) in touched {
            let node = *node;
            self.forgive(set, node, now);
            let deletes = self.refresh(set, node, now);
            let ends = !deletes.is_empty();
            for (pod, doom) in deletes {
                if !set.pace.may_delete() {
                    set.touch(node);
                    break;
                }
                self.tell_doom(set, node, pod, doom, now);
                let why = doom.why(|| self.misplaced(set, node));
                self.delete(set, node, pod, why, plan);
            }
            if ends {
                self.refresh(set, node, now);
            }
            self.ask_again(set, name, node, now, plan);
        }
    }

    /// Pods whose deletion failed a while ago may be deleted again.
    fn forgive(&mut self, set: &Set, node: NodeId, now: Timestamp) {
        let pods = set.cells.get(node).map(|cell| cell.pods.as_slice());
        for number in pods.unwrap_or_default() {
            if let Some(pod) = self.pods.get_mut(*number)
                && matches!(pod.doomed, Doomed::Failed(until) if until <= now)
            {
                pod.doomed = Doomed::No;
            }
        }
    }

    /// Files a node under what it is now; returns the pods that must go.
    fn refresh(&self, set: &mut Set, node: NodeId, now: Timestamp) -> Vec<(PodId, Doom)> {
        let Some(cell) = set.cells.get(node) else {
            return Vec::new();
        };
        let mut answer = assess(cell, &self.pods_of(cell), &set.facts(now));
        if let Some(creating) = cell
            .creating
            .as_ref()
            .filter(|creating| !creating.sent && now < creating.retry_at)
        {
            answer.wake = crate::cell::earliest(answer.wake, Some(creating.retry_at));
        }
        let wake = answer.wake.filter(|at| now < *at);
        set.file(node, &self.roster, &answer, wake);
        answer.deletes
    }

    fn tell_doom(&self, set: &mut Set, node: NodeId, pod: PodId, doom: Doom, now: Timestamp) {
        let Some(pod) = self.pods.get(pod) else {
            return;
        };
        let name = || format!("{}/{}", pod.namespace, pod.name);
        match doom {
            Doom::Failed => {
                Self::back_off(set, node, now);
                let (name, node) = (name(), self.roster.name(node));
                let message =
                    format!("Found failed daemon pod {name} on node {node}, will try to kill it");
                note(set, Severity::Warning, "FailedDaemonPod", message);
            }
            Doom::Succeeded => {
                let (name, node) = (name(), self.roster.name(node));
                let message = format!(
                    "Found succeeded daemon pod {name} on node {node}, will try to delete it"
                );
                note(set, Severity::Normal, "SucceededDaemonPod", message);
            }
            Doom::Misplaced | Doom::NoNode | Doom::Duplicate | Doom::Replaced => {}
        }
    }

    fn delete(&mut self, set: &mut Set, node: NodeId, pod: PodId, why: Why, plan: &mut Plan) {
        let Some(pod) = self.pods.get_mut(pod).filter(|pod| !pod.leaving()) else {
            return;
        };
        pod.doomed = Doomed::Sent;
        set.pace.deleting += 1;
        plan.actions.push(Action::DeletePod {
            set: set.view.key.clone(),
            node: self.roster.name(node),
            pod: PodRef {
                name: Name::clone(&pod.name),
                uid: pod.uid.clone(),
            },
            why,
        });
    }

    // === creations ===

    fn plan_creations(&mut self, set: &mut Set, now: Timestamp, plan: &mut Plan) {
        while set.pace.may_create(now) {
            let Some((_, node)) = set.classes.missing.first_key_value() else {
                break;
            };
            self.create(set, *node, now, plan);
        }
    }

    pub(crate) fn create(&mut self, set: &mut Set, node: NodeId, now: Timestamp, plan: &mut Plan) {
        let Some(mould) = set
            .current
            .as_ref()
            .map(|current| Arc::clone(&current.mould))
        else {
            return;
        };
        set.serial += 1;
        let place = self.roster.name(node);
        let seed = fnv64([
            set.uid.as_bytes(),
            place.as_bytes(),
            &now.0.to_le_bytes(),
            &set.serial.to_le_bytes(),
        ]);
        let name: Name = format!("{}{}", mould.name_prefix(), five_letters(seed)).into();
        let bind = self.options.bind && self.has_room(set, node);
        let reserved = bind.then(|| Arc::clone(&set.needs.resources));
        if let Some(load) = self.roster.load_mut(node).filter(|_| bind) {
            load.add(&set.needs.resources);
        }
        if let Some(cell) = set.cells.get_mut(node) {
            let name = Name::clone(&name);
            let creating = Creating {
                name,
                sent: true,
                unclear: false,
                reserved,
                retry_at: now,
            };
            cell.creating = Some(Box::new(creating));
        }
        set.pace.creating += 1;
        self.refresh(set, node, now);
        plan.actions.push(Action::CreatePod {
            set: set.view.key.clone(),
            uid: set.view.uid.clone(),
            node: place,
            name,
            bind,
            mould,
        });
    }

    /// Whether a further pod of the set can start on the node now.
    fn has_room(&self, set: &Set, node: NodeId) -> bool {
        let (view, load) = (self.roster.node(node), self.roster.load(node));
        view.zip(load)
            .is_some_and(|(view, load)| load.has_room(view, &set.needs.resources))
    }

    /// Asks again for a pod whose creation nobody answered, under the same name.
    fn ask_again(&self, set: &mut Set, name: &Name, node: NodeId, now: Timestamp, plan: &mut Plan) {
        let Some(current) = set.current.as_ref() else {
            return;
        };
        let creating = set
            .cells
            .get_mut(node)
            .and_then(|cell| cell.creating.as_mut());
        let Some(creating) = creating.filter(|c| !c.sent && c.retry_at <= now) else {
            return;
        };
        creating.sent = true;
        set.pace.creating += 1;
        let mould = Arc::clone(&current.mould);
        plan.actions.push(Action::CreatePod {
            set: set.view.key.clone(),
            uid: set.view.uid.clone(),
            node: Name::clone(name),
            name: Name::clone(&creating.name),
            bind: creating.reserved.is_some(),
            mould,
        });
    }
}

fn warn_of_selector(set: &mut Set, plan: &mut Plan) {
    if set.warned == Some(set.view.generation) {
        return;
    }
    set.warned = Some(set.view.generation);
    let message = "This daemon set is selecting all pods. A non-empty selector is required.";
    note(set, Severity::Warning, "SelectingAll", message.to_owned());
    plan.actions.append(&mut set.notes);
}

/// Writes the status when it says something else than the object does.
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
