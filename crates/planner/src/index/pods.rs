//! Pods in the index: which set and node they belong to, and what they take from their node.

use std::sync::Arc;

use pandaemon_placement::{Usage, daemon_fit};
use pandaemon_types::{Labels as _, Name, PodView, Timestamp, Uid};

use super::{Planner, is_old_news};
use crate::{
    cell::{Cell, Claim, Doomed, Placement, PodState},
    revision::HASH_LABEL,
    set::Set,
    view::SetKey,
};

impl Planner {
    pub(crate) fn pod_changed(&mut self, mut view: PodView, now: Timestamp) {
        view.namespace = self.interner.name(&view.namespace);
        view.labels = self.interner.labels(&view.labels);
        view.claims = self.interner.claims(&view.claims);
        for name in [&mut view.node, &mut view.target].into_iter().flatten() {
            *name = self.interner.name(name);
        }
        let old = self.pods.get(&view.uid);
        if old.is_some_and(|old| is_old_news(view.resource_version, old.view.resource_version)) {
            return;
        }
        // A node whose clock is ahead must not delay availability by more than the set asks for.
        if view.ready_since.is_some_and(|since| now < since) {
            let known = old
                .filter(|old| old.view.ready)
                .and_then(|old| old.view.ready_since);
            view.ready_since = Some(known.filter(|since| *since <= now).unwrap_or(now));
        }
        let uid = view.uid.clone();
        if old.is_none() && !self.is_of_interest(&view) {
            return;
        }
        self.detach(&uid);
        self.account(&uid, None);
        let pod = self.pods.remove(&uid);
        let (doomed, patching, set) = pod.map_or((Doomed::No, false, None), |pod| {
            (pod.doomed, pod.patching, pod.set)
        });
        let account = view.node.clone().filter(|_| !view.phase.is_terminal());
        // A request to adopt it stays known until the pod has an owner.
        let set = set.filter(|(_, claim)| matches!(claim, Claim::Adopting { sent: true }));
        let state = PodState {
            view: Arc::new(view),
            set,
            doomed,
            patching,
            counted_on: None,
        };
        self.pods.insert(uid.clone(), state);
        self.account(&uid, account);
        self.attach(&uid);
    }

    /// Pods that others manage matter only where their resources are counted.
    fn is_of_interest(&self, view: &PodView) -> bool {
        self.options.bind || view.owner.as_ref().is_none_or(|owner| owner.is_daemonset)
    }

    pub(crate) fn pod_gone(&mut self, uid: &Uid) {
        self.detach(uid);
        self.account(uid, None);
        self.pods.remove(uid);
    }

    /// Whether the watch has told of everything up to a version: a pod of that version which is not
    /// known has come and gone.
    pub(crate) fn has_seen(&self, resource_version: u64) -> bool {
        resource_version <= self.pods_seen
    }

    /// Puts the pod's claims on the account of a node, or of none.
    fn account(&mut self, uid: &Uid, node: Option<Name>) {
        let Some(pod) = self.pods.get_mut(uid).filter(|_| self.options.bind) else {
            return;
        };
        if let Some(old) = pod.counted_on.take()
            && let Some(usage) = self.usages.get_mut(&old)
        {
            usage.remove(&pod.view.claims);
            if *usage == Usage::default() {
                self.usages.remove(&old);
            }
        }
        if let Some(new) = node {
            self.usages
                .entry(Name::clone(&new))
                .or_default()
                .add(&pod.view.claims);
            pod.counted_on = Some(new);
        }
    }

    /// Takes a pod out of its set.
    pub(crate) fn detach(&mut self, uid: &Uid) {
        let Some(pod) = self.pods.get_mut(uid) else {
            return;
        };
        let Some((key, claim)) = pod.set.clone() else {
            return;
        };
        if !matches!(claim, Claim::Adopting { sent: true }) {
            pod.set = None;
        }
        let Some(set) = self.sets.get_mut(&key) else {
            return;
        };
        set.claims.remove(uid);
        let Some(node) = pod.view.placed_on() else {
            return;
        };
        if let Some(cell) = set.cells.get_mut(node)
            && let Some(position) = cell.pods.iter().position(|known| known == uid)
        {
            cell.pods.remove(position);
            set.count_hash(pod.view.labels.label(HASH_LABEL).map(Name::from), false);
            set.touch(node);
            self.mark(&key);
        }
    }

    /// Puts a pod into the set it belongs to.
    pub(crate) fn attach(&mut self, uid: &Uid) {
        let Some(pod) = self.pods.get(uid) else {
            return;
        };
        let Some((key, claim)) = self.claim(pod) else {
            self.file_for_release(uid);
            return;
        };
        let view = Arc::clone(&pod.view);
        let node = view.placed_on().cloned();
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.set = Some((key.clone(), claim));
        }
        let exists = node.as_ref().and_then(|node| self.nodes.get(node));
        let Some(set) = self.sets.get_mut(&key) else {
            return;
        };
        if claim == (Claim::Adopting { sent: false }) {
            set.claims.insert(uid.clone());
        }
        if let Some(node) = node {
            let needs = Arc::clone(&set.needs);
            let cell = set.cells.entry(Name::clone(&node)).or_insert_with(|| {
                let fit = exists.map(|node| Placement::from(&daemon_fit(&needs, node)));
                Cell::new(fit.unwrap_or(Placement::Gone))
            });
            cell.pods.push(uid.clone());
            cell.pods.sort();
            set.count_hash(view.labels.label(HASH_LABEL).map(Name::from), true);
            set.touch(&node);
            self.arrived(&key, &node, &view.name);
        }
        self.mark(&key);
    }

    /// The pod that was asked for is here: the request is settled.
    pub(crate) fn arrived(&mut self, key: &SetKey, node: &Name, name: &str) {
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
        if let Some(claims) = creating.reserved
            && let Some(usage) = self.usages.get_mut(node)
        {
            usage.remove(&claims);
        }
    }

    /// A pod that names a set as its owner but does not match its selector is to be released.
    fn file_for_release(&mut self, uid: &Uid) {
        let owner = self.pods.get(uid).and_then(|pod| pod.view.owner.as_ref());
        let Some(key) = owner.and_then(|owner| self.by_uid.get(&owner.uid)).cloned() else {
            return;
        };
        if let Some(set) = self.sets.get_mut(&key) {
            set.claims.insert(uid.clone());
            self.mark(&key);
        }
    }

    /// The set that a pod belongs to.
    fn claim(&self, pod: &PodState) -> Option<(SetKey, Claim)> {
        let view = &pod.view;
        let selected = |set: &Set| {
            set.view
                .selector
                .as_ref()
                .is_some_and(|selector| selector.matches(&view.labels))
        };
        if let Some(owner) = &view.owner {
            let key = self.by_uid.get(&owner.uid)?;
            let set = self.sets.get(key)?;
            return selected(set).then(|| (key.clone(), Claim::Owned));
        }
        if let Some((key, claim @ Claim::Adopting { sent: true })) = &pod.set {
            return self.sets.contains_key(key).then(|| (key.clone(), *claim));
        }
        if view.deleting {
            return None;
        }
        let first = SetKey {
            namespace: Name::clone(&view.namespace),
            name: "".into(),
        };
        self.sets
            .range(first..)
            .take_while(|(key, _)| key.namespace == view.namespace)
            .find(|(_, set)| !set.view.deleting && !set.view.selects_all() && selected(set))
            .map(|(key, _)| (key.clone(), Claim::Adopting { sent: false }))
    }
}
