//! Pods in the index: which set and node they belong to, and what they take from their node.

use std::sync::Arc;

use pandaemon_placement::daemon_fit;
use pandaemon_types::{Name, PodView, Timestamp, Uid};

use super::{NodeId, Planner, PodId, is_old_news};
use crate::{
    cell::{Cell, Claim, Doomed, Placement, PodState},
    set::Set,
    view::SetKey,
};

impl Planner {
    pub(crate) fn pod_changed(&mut self, mut view: PodView, now: Timestamp) {
        let number = self.pods.find(&view.uid);
        let old = number.and_then(|number| self.pods.get(number));
        if old.is_some_and(|old| is_old_news(view.resource_version, old.resource_version)) {
            return;
        }
        // A node whose clock is ahead must not delay availability by more than the set asks for.
        if view.ready_since.is_some_and(|since| now < since) {
            let known = old.filter(|old| old.ready).and_then(|old| old.ready_since);
            view.ready_since = Some(known.filter(|since| *since <= now).unwrap_or(now));
        }
        match number {
            Some(number) => self.pod_updated(number, view),
            None if self.is_of_interest(&view) => self.pod_came(view),
            None => {}
        }
    }

    fn pod_came(&mut self, view: PodView) {
        let place = view.node.as_ref().or(view.target.as_ref());
        let state = PodState {
            place: place.map(|name| self.roster.number(name)),
            namespace: self.interner.name(&view.namespace),
            labels: self.interner.labels_of(&view.labels, &view.name),
            resources: self.interner.pod_resources(&view.resources),
            owner: view.owner.as_ref().map(|owner| self.interner.owner(owner)),
            ..project(view)
        };
        let account = state.bound && !state.phase.is_terminal();
        let number = self.pods.add(state);
        self.account(number, account);
        self.attach(number);
    }

    fn pod_updated(&mut self, number: PodId, view: PodView) {
        let Some(mut state) = self.project_again(number, view) else {
            return;
        };
        let account = state.bound && !state.phase.is_terminal();
        let Some(old) = self.pods.get_mut(number) else {
            return;
        };
        let moved = old.place != state.place
            || old.labels != state.labels
            || old.owner != state.owner
            || (state.owner.is_none() && old.deleting != state.deleting);
        let recount = account != old.counted || old.place != state.place;
        (state.doomed, state.patching) = (old.doomed, old.patching);
        if !moved {
            (state.set, state.counted) = (old.set.take(), old.counted);
            if recount {
                self.account(number, false);
                state.counted = false;
            }
            self.swap(number, state);
            if recount {
                self.account(number, account);
            }
            self.look_again(number);
            return;
        }
        self.detach(number);
        self.account(number, false);
        // A request to adopt it stays known until the pod has an owner.
        if let Some(old) = self.pods.get_mut(number) {
            let set = old.set.take();
            let asked = |claim: &Claim| matches!(claim, Claim::Adopting { sent: true });
            state.set = set.filter(|(_, claim)| asked(claim) && state.owner.is_none());
        }
        self.swap(number, state);
        self.account(number, account);
        self.attach(number);
    }

    fn swap(&mut self, number: PodId, state: PodState) {
        if let Some(pod) = self.pods.get_mut(number) {
            *pod = state;
        }
    }

    /// The pod is where and whose it was, and may be in another state.
    fn look_again(&mut self, number: PodId) {
        let Some(pod) = self.pods.get(number) else {
            return;
        };
        let (Some((key, _)), Some(node)) = (&pod.set, pod.place) else {
            return;
        };
        let key = Arc::clone(key);
        if let Some(set) = self.sets.get_mut(&*key) {
            set.touch(node);
            self.mark(&key);
        }
    }

    /// What is kept of a pod that is known: most of it is as it was, and shared already.
    fn project_again(&mut self, number: PodId, view: PodView) -> Option<PodState> {
        let old = self.pods.get(number)?;
        let place = view.node.as_ref().or(view.target.as_ref());
        let known = old
            .place
            .filter(|known| place.is_some_and(|name| self.roster.name_of(*known) == Some(&**name)));
        let place = match (known, place) {
            (None, Some(name)) => Some(self.roster.number(name)),
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
            ..project(view)
        })
    }

    /// Pods that others manage matter only where their resources are counted.
    fn is_of_interest(&self, view: &PodView) -> bool {
        self.options.bind || view.owner.as_ref().is_none_or(|owner| owner.is_daemonset)
    }

    pub(crate) fn pod_gone(&mut self, uid: &Uid) {
        let Some(number) = self.pods.find(uid) else {
            return;
        };
        self.detach(number);
        self.account(number, false);
        self.pods.remove(number);
        self.litter();
    }

    /// Whether the watch has told of everything up to a version: a pod of that version which is not
    /// known has come and gone.
    pub(crate) fn has_seen(&self, resource_version: u64) -> bool {
        resource_version <= self.pods_seen
    }

    /// Counts the pod's resources on its node, or stops counting them.
    fn account(&mut self, number: PodId, wanted: bool) {
        let pod = self.pods.get_mut(number).filter(|_| self.options.bind);
        let Some(pod) = pod.filter(|pod| pod.counted != wanted) else {
            return;
        };
        let load = pod.place.and_then(|place| self.roster.load_mut(place));
        let Some(load) = load else { return };
        if wanted {
            load.add(&pod.resources);
        } else {
            load.remove(&pod.resources);
        }
        pod.counted = wanted;
    }

    /// Takes a pod out of its set.
    pub(crate) fn detach(&mut self, number: PodId) {
        let Some(pod) = self.pods.get_mut(number) else {
            return;
        };
        let Some((key, claim)) = pod.set.clone() else {
            return;
        };
        if !matches!(claim, Claim::Adopting { sent: true }) {
            pod.set = None;
        }
        let Some(set) = self.sets.get_mut(&*key) else {
            return;
        };
        set.claims.remove(&pod.uid);
        let Some(node) = pod.place else {
            return;
        };
        if let Some(cell) = set.cells.get_mut(node)
            && let Some(position) = cell.pods.iter().position(|known| *known == number)
        {
            cell.pods.swap_remove(position);
            set.count_hash(pod.hash(), false);
            set.touch(node);
            self.mark(&key);
        }
    }

    /// Puts a pod into the set it belongs to.
    pub(crate) fn attach(&mut self, number: PodId) {
        let Some(pod) = self.pods.get(number) else {
            return;
        };
        let Some((key, claim)) = self.claim(pod) else {
            if let Some(pod) = self.pods.get_mut(number) {
                pod.set = None;
            }
            self.file_for_release(number);
            return;
        };
        let Some(pod) = self.pods.get_mut(number) else {
            return;
        };
        pod.set = Some((Arc::clone(&key), claim));
        let Some(set) = self.sets.get_mut(&*key) else {
            return;
        };
        // Also when an attempt has failed, and the pod changed before the next.
        if matches!(claim, Claim::Adopting { .. }) && !pod.patching {
            set.claims.insert(pod.uid.clone());
        }
        if let Some(node) = pod.place {
            if set.cells.get(node).is_none() {
                let fit = self.roster.node(node);
                let fit = fit.map(|node| Placement::from(&daemon_fit(&set.needs, node)));
                set.cells
                    .put(node, Cell::new(fit.unwrap_or(Placement::Gone)));
            }
            if let Some(cell) = set.cells.get_mut(node) {
                cell.pods.reserve_exact(1);
                cell.pods.push(number);
            }
            set.count_hash(pod.hash(), true);
            set.touch(node);
            let name = Name::clone(&pod.name);
            self.arrived(&key, node, &name);
        }
        self.mark(&key);
    }

    /// The pod that was asked for is here: the request is settled.
    pub(crate) fn arrived(&mut self, key: &SetKey, node: NodeId, name: &str) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        let Some(cell) = set.cells.get_mut(node) else {
            return;
        };
        let Some(creating) = cell.creating.take_if(|creating| &*creating.name == name) else {
            return;
        };
        if creating.sent {
            set.pace.creating = set.pace.creating.saturating_sub(1);
        }
        set.touch(node);
        if let Some(resources) = creating.reserved
            && let Some(load) = self.roster.load_mut(node)
        {
            load.remove(&resources);
        }
    }

    /// A pod that names a set as its owner but does not match its selector is to be released.
    fn file_for_release(&mut self, number: PodId) {
        let Some(pod) = self.pods.get(number) else {
            return;
        };
        let owner = pod.owner.as_ref();
        let Some(key) = owner.and_then(|owner| self.by_uid.get(&owner.uid)).cloned() else {
            return;
        };
        if let Some(set) = self.sets.get_mut(&key) {
            set.claims.insert(pod.uid.clone());
            self.mark(&key);
        }
    }

    /// The set that a pod belongs to.
    fn claim(&self, pod: &PodState) -> Option<(Arc<SetKey>, Claim)> {
        let selected = |set: &Set| {
            set.view
                .selector
                .as_ref()
                .is_some_and(|selector| selector.matches(&pod.labels))
        };
        if let Some(owner) = &pod.owner {
            let key = self.by_uid.get(&owner.uid)?;
            let set = self.sets.get(key)?;
            return selected(set).then(|| (Arc::clone(&set.key), Claim::Owned));
        }
        if pod.deleting {
            return None;
        }
        if let Some((key, claim @ Claim::Adopting { sent: true })) = &pod.set
            && self.sets.get(&**key).is_some_and(selected)
        {
            return Some((Arc::clone(key), *claim));
        }
        let first = SetKey {
            namespace: Name::clone(&pod.namespace),
            name: "".into(),
        };
        self.sets
            .range(first..)
            .take_while(|(key, _)| key.namespace == pod.namespace)
            .find(|(_, set)| !set.view.deleting && !set.view.selects_all() && selected(set))
            .map(|(_, set)| (Arc::clone(&set.key), Claim::Adopting { sent: false }))
    }
}

/// What is kept of a pod, before anything is shared.
fn project(view: PodView) -> PodState {
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
        counted: false,
        set: None,
        doomed: Doomed::No,
    }
}
