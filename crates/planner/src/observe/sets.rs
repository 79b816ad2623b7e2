//! DaemonSet events.

use std::sync::Arc;

use pandaemon_placement::daemon_fit;
use pandaemon_types::Name;

use crate::{
    ids::{NodeId, PodId},
    node_state::Placement,
    planner::{Planner, is_stale},
    set::Set,
    view::{DaemonSetView, SetKey},
};

impl Planner {
    pub(crate) fn apply_set(&mut self, view: DaemonSetView) {
        let key = view.key.clone();
        match self.sets.get_mut(&key) {
            Some(set) if set.view.uid != view.uid => {
                self.remove_set(&key);
                self.add_set(view);
            }
            Some(set) if is_stale(view.resource_version, set.view.resource_version) => return,
            Some(set) => {
                let reselect = set.view.selector != view.selector;
                if !update(set, view) {
                    self.place_set(&key);
                }
                if reselect {
                    self.reassign_pods(&key);
                }
            }
            None => self.add_set(view),
        }
        self.mark_dirty(&key);
    }

    fn add_set(&mut self, view: DaemonSetView) {
        let key = view.key.clone();
        self.by_uid.insert(view.uid.clone(), key.clone());
        let mut set = Set::new(view);
        for revision in self.revisions.values() {
            if revision
                .owner
                .as_ref()
                .is_some_and(|owner| owner.uid == set.view.uid)
            {
                set.revisions
                    .insert(Name::clone(&revision.name), revision.clone());
            }
        }
        self.sets.insert(key.clone(), set);
        self.place_set(&key);
        self.reassign_pods(&key);
    }

    /// Decides the placement of a set on every node again.
    pub(crate) fn place_set(&mut self, key: &SetKey) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        let known: Vec<NodeId> = set.nodes.iter().map(|(node, _)| node).collect();
        for node in known {
            if self.nodes.node(node).is_none() {
                set.set_placement(node, Placement::NoNode);
            }
        }
        for (number, node) in self.nodes.iter() {
            let placement = Placement::from(&daemon_fit(&set.needs, node));
            if !set.set_placement(number, placement) && self.options.explain {
                set.touch(number);
            }
        }
    }

    /// Decides again which pods of its namespace belong to a set.
    pub(crate) fn reassign_pods(&mut self, key: &SetKey) {
        let pods = self.pods.iter();
        let pods: Vec<PodId> = pods
            .filter(|(_, pod)| pod.namespace == key.namespace)
            .map(|(number, _)| number)
            .collect();
        for pod in pods {
            self.detach(pod);
            self.attach(pod);
        }
    }

    pub(crate) fn remove_set(&mut self, key: &SetKey) {
        let Some(set) = self.sets.remove(key) else {
            return;
        };
        self.by_uid.remove(&set.view.uid);
        self.dirty.remove(key);
        if let Some(at) = set.wake {
            self.wakes.remove(&(at, key.clone()));
        }
        for id in set.patch_queue.iter() {
            if let Some(pod) = self.pods.get_mut(id) {
                pod.patch_queued = false;
            }
        }
        for (node, state) in set.nodes.iter::<NodeId>() {
            let creating = state.creating.as_deref();
            if let Some(resources) = creating.and_then(|creating| creating.reserved.as_ref())
                && let Some(usage) = self.nodes.usage_mut(node)
            {
                usage.remove(resources);
            }
            for pod in &state.pods {
                if let Some(pod) = self.pods.get_mut(*pod) {
                    pod.set = None;
                }
            }
            self.forget_if_unused(node);
        }
    }
}

/// Replaces the view of a set. Returns false if its placement has to be decided again.
fn update(set: &mut Set, view: DaemonSetView) -> bool {
    let template = set.view.canonical != view.canonical
        || set.view.template_generation != view.template_generation;
    let before = (set.mode(), set.view.min_ready_seconds, set.view.generation);
    set.view = view;
    let mut same_needs = true;
    if template {
        set.rank = set.view.rank();
        set.current = None;
        set.revisions_dirty = true;
        set.revise_retry.reset();
        let spec = set.view.template.get("spec").cloned().unwrap_or_default();
        let needs = pandaemon_placement::PodNeeds::for_daemon(&spec);
        same_needs = needs == *set.needs;
        set.needs = Arc::new(needs);
    }
    if before != (set.mode(), set.view.min_ready_seconds, set.view.generation) {
        set.revisions_dirty = true;
        set.touch_all();
    }
    same_needs
}
