//! Pod events: which set and node a pod belongs to, and what it takes from the node.

use std::sync::Arc;

use pandaemon_placement::daemon_fit;
use pandaemon_types::{Name, PodView, Timestamp, Uid};

use crate::{
    ids::{NodeId, PodId},
    node_state::{NodeState, Placement},
    planner::{Planner, is_stale},
    pod_state::{Deletion, Ownership, PodState},
    set::Set,
    view::SetKey,
};

impl Planner {
    pub(crate) fn apply_pod(&mut self, mut view: PodView, now: Timestamp) {
        let id = self.pods.find(&view.uid);
        let old = id.and_then(|id| self.pods.get(id));
        if old.is_some_and(|old| is_stale(view.resource_version, old.resource_version)) {
            return;
        }
        // A time in the future, from a node whose clock is ahead, counts as now. Otherwise the pod
        // would become available later than `minReadySeconds` after this event.
        if view.ready_since.is_some_and(|since| now < since) {
            let known = old.filter(|old| old.ready).and_then(|old| old.ready_since);
            view.ready_since = Some(known.filter(|since| *since <= now).unwrap_or(now));
        }
        match id {
            Some(id) => self.update_pod(id, view),
            None if self.is_of_interest(&view) => self.add_pod(view),
            None => {}
        }
    }

    fn add_pod(&mut self, view: PodView) {
        let place = view.node.as_ref().or(view.target.as_ref());
        let state = PodState {
            place: place.map(|name| self.nodes.id(name)),
            namespace: self.interner.name(&view.namespace),
            labels: self.interner.labels_of(&view.labels, &view.name),
            resources: self.interner.pod_resources(&view.resources),
            owner: view.owner.as_ref().map(|owner| self.interner.owner(owner)),
            ..state_of(view)
        };
        let account = state.bound && !state.phase.is_terminal();
        let place = state.place;
        let id = self.pods.add(state);
        place.into_iter().for_each(|node| self.nodes.add_pod(node));
        self.count_on_node(id, account);
        self.attach(id);
    }

    fn update_pod(&mut self, id: PodId, view: PodView) {
        let Some(mut state) = self.updated_state(id, view) else {
            return;
        };
        let account = state.bound && !state.phase.is_terminal();
        let Some(old) = self.pods.get_mut(id) else {
            return;
        };
        let moved = old.place != state.place
            || old.labels != state.labels
            || old.owner != state.owner
            || (state.owner.is_none() && old.deleting != state.deleting);
        let recount = account != old.counted || old.place != state.place;
        (state.deletion, state.patching) = (old.deletion, old.patching);
        if !moved {
            (state.set, state.counted) = (old.set.take(), old.counted);
            state.patch_queued = old.patch_queued;
            if recount {
                self.count_on_node(id, false);
                state.counted = false;
            }
            self.swap(id, state);
            if recount {
                self.count_on_node(id, account);
            }
            self.touch_pod(id);
            return;
        }
        self.detach(id);
        self.count_on_node(id, false);
        // An adoption that was requested stays recorded until the pod has an owner.
        if let Some(old) = self.pods.get_mut(id) {
            let set = old.set.take();
            let is_requested = |ownership: &Ownership| {
                matches!(ownership, Ownership::Adopting { requested: true })
            };
            state.set =
                set.filter(|(_, ownership)| is_requested(ownership) && state.owner.is_none());
        }
        self.move_pod(id, state);
        self.count_on_node(id, account);
        self.attach(id);
    }

    /// Replaces the state of a pod that may be on another node now.
    fn move_pod(&mut self, id: PodId, state: PodState) {
        let (old, new) = (self.pods.get(id).and_then(|pod| pod.place), state.place);
        self.swap(id, state);
        if old != new {
            new.into_iter().for_each(|node| self.nodes.add_pod(node));
            old.into_iter().for_each(|node| self.leave_node(node));
        }
    }

    /// A pod is no longer on a node.
    fn leave_node(&mut self, node: NodeId) {
        self.nodes.remove_pod(node);
        self.forget_if_unused(node);
    }

    fn swap(&mut self, id: PodId, state: PodState) {
        if let Some(pod) = self.pods.get_mut(id) {
            *pod = state;
        }
    }

    /// The pod changed, but neither its set nor its node: assess the node again.
    pub(crate) fn touch_pod(&mut self, id: PodId) {
        let Some(pod) = self.pods.get(id) else {
            return;
        };
        let (Some((key, _)), Some(node)) = (&pod.set, pod.place) else {
            return;
        };
        let key = Arc::clone(key);
        if let Some(set) = self.sets.get_mut(&*key) {
            set.touch(node);
            self.mark_dirty(&key);
        }
    }

    /// The new state of a known pod. Values that did not change stay shared with the old state.
    fn updated_state(&mut self, id: PodId, view: PodView) -> Option<PodState> {
        let old = self.pods.get(id)?;
        let place = view.node.as_ref().or(view.target.as_ref());
        let known = old
            .place
            .filter(|known| place.is_some_and(|name| self.nodes.name_of(*known) == Some(&**name)));
        let place = match (known, place) {
            (None, Some(name)) => Some(self.nodes.id(name)),
            (known, _) => known,
        };
        let labels = if old.labels == view.labels {
            old.labels.clone()
        } else {
            self.interner.labels_of(&view.labels, &old.name)
        };
        let resources = if old.resources == view.resources {
            Arc::clone(&old.resources)
        } else {
            self.interner.pod_resources(&view.resources)
        };
        let owner = match (&old.owner, &view.owner) {
            (Some(old), Some(new)) if **old == *new => Some(Arc::clone(old)),
            (_, Some(new)) => Some(self.interner.owner(new)),
            (_, None) => None,
        };
        Some(PodState {
            place,
            namespace: Name::clone(&old.namespace),
            name: Name::clone(&old.name),
            labels,
            resources,
            owner,
            ..state_of(view)
        })
    }

    /// Pods of other owners are kept only with `bind`, where their resources count.
    fn is_of_interest(&self, view: &PodView) -> bool {
        self.options.bind || view.owner.as_ref().is_none_or(|owner| owner.is_daemonset)
    }

    pub(crate) fn remove_pod(&mut self, uid: &Uid) {
        let Some(id) = self.pods.find(uid) else {
            return;
        };
        self.forget_failures(id);
        self.use_up_name(id);
        self.detach(id);
        self.count_on_node(id, false);
        let node = self.pods.get(id).and_then(|pod| pod.place);
        self.pods.remove(id);
        node.into_iter().for_each(|node| self.leave_node(node));
        self.maybe_sweep();
    }

    /// The next pod of the current revision on a node does not get the name of one that is gone:
    /// clients that wait until a pod is deleted must not find another one under its name.
    fn use_up_name(&mut self, id: PodId) {
        let Some(pod) = self.pods.get(id) else {
            return;
        };
        if let (Some((key, _)), Some(node)) = (&pod.set, pod.place)
            && let Some(set) = self.sets.get_mut(&**key)
            && let Some(place) = self.nodes.name_of(node)
        {
            let first = set.next_attempt(node);
            set.use_up_name(node, place, &pod.name, first);
        }
    }

    /// Ends the back-offs for a pod that is gone: its node's for a deletion that failed, and its
    /// own.
    fn forget_failures(&mut self, id: PodId) {
        for set in self.sets.values_mut() {
            set.patches.forget(id);
        }
        if let Some(pod) = self.pods.get(id)
            && matches!(pod.deletion, Deletion::Refused | Deletion::Unanswered(_))
            && let (Some((key, _)), Some(node)) = (&pod.set, pod.place)
            && let Some(set) = self.sets.get_mut(&**key)
        {
            set.deletes.forget(node);
        }
    }

    /// Whether the watch has delivered this version. An unknown pod of such a version was deleted
    /// already.
    pub(crate) fn has_seen(&self, resource_version: u64) -> bool {
        resource_version <= self.pods_seen
    }

    /// Starts or stops counting the pod's resources on its node.
    fn count_on_node(&mut self, id: PodId, wanted: bool) {
        let pod = self.pods.get_mut(id).filter(|_| self.options.bind);
        let Some(pod) = pod.filter(|pod| pod.counted != wanted) else {
            return;
        };
        let usage = pod.place.and_then(|place| self.nodes.usage_mut(place));
        let Some(usage) = usage else { return };
        if wanted {
            usage.add(&pod.resources);
        } else {
            usage.remove(&pod.resources);
        }
        pod.counted = wanted;
    }

    /// Removes a pod from its set.
    pub(crate) fn detach(&mut self, id: PodId) {
        self.unqueue_patch(id);
        let Some(pod) = self.pods.get_mut(id) else {
            return;
        };
        let Some((key, ownership)) = pod.set.clone() else {
            return;
        };
        if !matches!(ownership, Ownership::Adopting { requested: true }) {
            pod.set = None;
        }
        let Some(set) = self.sets.get_mut(&*key) else {
            return;
        };
        let Some(node) = pod.place else {
            return;
        };
        if let Some(state) = set.nodes.get_mut(node)
            && let Some(position) = state.pods.iter().position(|known| *known == id)
        {
            state.pods.swap_remove(position);
            set.count_hash(pod.hash(), false);
            set.touch(node);
            self.mark_dirty(&key);
        }
    }

    /// Adds a pod to the set that owns or selects it.
    pub(crate) fn attach(&mut self, id: PodId) {
        let Some(pod) = self.pods.get(id) else {
            return;
        };
        let Some((key, ownership)) = self.owning_set(pod) else {
            if let Some(pod) = self.pods.get_mut(id) {
                pod.set = None;
            }
            self.queue_patch(id);
            return;
        };
        let Some(pod) = self.pods.get_mut(id) else {
            return;
        };
        pod.set = Some((Arc::clone(&key), ownership));
        let Some(set) = self.sets.get_mut(&*key) else {
            return;
        };
        if let Some(node) = pod.place {
            if set.nodes.get(node).is_none() {
                let fit = self.nodes.node(node);
                let fit = fit.map(|node| Placement::from(&daemon_fit(&set.needs, node)));
                set.nodes
                    .put(node, NodeState::new(fit.unwrap_or(Placement::NoNode)));
            }
            if let Some(state) = set.nodes.get_mut(node) {
                state.pods.reserve_exact(1);
                state.pods.push(id);
            }
            set.count_hash(pod.hash(), true);
            set.touch(node);
            let name = Name::clone(&pod.name);
            if self.creation_seen(&key, node, &name)
                && let Some(set) = self.sets.get_mut(&*key)
            {
                set.creates.forget(node);
            }
        }
        self.queue_patch(id);
        self.mark_dirty(&key);
    }

    /// A watch shows the pod of a creation. While the request is under way, it may be an earlier
    /// pod of the name: the outcome tells. Returns whether the creation is no longer pending.
    fn creation_seen(&mut self, key: &SetKey, node: NodeId, name: &str) -> bool {
        let set = self.sets.get_mut(key);
        let state = set.and_then(|set| set.nodes.get_mut(node));
        let creating = state.and_then(|state| state.creating.as_mut());
        let under_way = creating.filter(|creating| creating.sent && &*creating.name == name);
        let Some(creating) = under_way else {
            return self.creation_observed(key, node, name);
        };
        // The pod itself is counted now.
        if let Some(resources) = creating.reserved.take()
            && let Some(usage) = self.nodes.usage_mut(node)
        {
            usage.remove(&resources);
        }
        false
    }

    /// The creation of a pod on a node is no longer pending: the pod exists, or is known not to.
    /// Returns whether it was pending.
    pub(crate) fn creation_observed(&mut self, key: &SetKey, node: NodeId, name: &str) -> bool {
        let Some(set) = self.sets.get_mut(key) else {
            return false;
        };
        let state = set.nodes.get_mut(node);
        let creating =
            state.and_then(|state| state.creating.take_if(|creating| &*creating.name == name));
        let Some(creating) = creating else {
            return false;
        };
        if creating.sent {
            set.creates.end();
        }
        set.touch(node);
        if let Some(resources) = creating.reserved
            && let Some(usage) = self.nodes.usage_mut(node)
        {
            usage.remove(&resources);
        }
        true
    }

    /// The set that a pod belongs to: its owner, or the first set that may adopt it.
    fn owning_set(&self, pod: &PodState) -> Option<(Arc<SetKey>, Ownership)> {
        let selected = |set: &Set| set.view.selects(&pod.labels);
        if let Some(owner) = &pod.owner {
            let key = self.by_uid.get(&owner.uid)?;
            let set = self.sets.get(key)?;
            // Nothing is released on behalf of a selector that cannot be read.
            let stays = set.view.selector.is_err() || selected(set);
            return stays.then(|| (Arc::clone(&set.key), Ownership::Owned));
        }
        if pod.deleting {
            return None;
        }
        if let Some((key, ownership @ Ownership::Adopting { requested: true })) = &pod.set
            && self.sets.get(&**key).is_some_and(selected)
        {
            return Some((Arc::clone(key), *ownership));
        }
        let first = SetKey {
            namespace: Name::clone(&pod.namespace),
            name: "".into(),
        };
        self.sets
            .range(first..)
            .take_while(|(key, _)| key.namespace == pod.namespace)
            .find(|(_, set)| !set.view.deleting && !set.view.selects_all() && selected(set))
            .map(|(_, set)| {
                (
                    Arc::clone(&set.key),
                    Ownership::Adopting { requested: false },
                )
            })
    }
}

/// The state of a pod, before values are interned.
fn state_of(view: PodView) -> PodState {
    PodState {
        uid: view.uid,
        namespace: view.namespace,
        name: view.name,
        labels: view.labels,
        resources: view.resources,
        owner: None,
        resource_version: view.resource_version,
        created: view.created,
        ready_since: view.ready_since,
        place: None,
        bound: view.node.is_some(),
        phase: view.phase,
        ready: view.ready,
        deleting: view.deleting,
        patching: false,
        patch_queued: false,
        counted: false,
        set: None,
        deletion: Deletion::NotRequested,
    }
}
