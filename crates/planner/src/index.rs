//! The index: every DaemonSet, node, pod and revision as last heard of, filed so that an event costs
//! what it touches.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pandaemon_placement::{DaemonFit, Reason, Usage, daemon_fit};
use pandaemon_types::{Interner, Labels as _, Name, NodeView, PodView, Timestamp, Uid};

use crate::{
    cell::{Cell, Claim, Doomed, Placement, PodState},
    event::{Event, Listed},
    revision::HASH_LABEL,
    set::Set,
    view::{DaemonSetView, RevisionView, SetKey},
};

/// How the planner works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Bind pods to their nodes at creation, if they fit: only where this control plane is the only
    /// one that binds.
    pub bind: bool,
    /// Tell a verdict for every node that a plan looks at.
    pub verdicts: bool,
}

/// The DaemonSet mind. Told of events by [`Planner::observe`], it answers with [`Planner::plan`].
#[derive(Debug, Default)]
pub struct Planner {
    pub(crate) options: Options,
    pub(crate) sets: BTreeMap<SetKey, Set>,
    pub(crate) nodes: BTreeMap<Name, NodeView>,
    pub(crate) pods: BTreeMap<Uid, PodState>,
    pub(crate) usages: BTreeMap<Name, Usage>,
    by_uid: BTreeMap<Uid, SetKey>,
    revisions: BTreeMap<(Name, Name), RevisionView>,
    pub(crate) dirty: BTreeSet<SetKey>,
    pub(crate) wakes: BTreeSet<(Timestamp, SetKey)>,
    /// The newest version that the pods' watch has told of.
    pods_seen: u64,
    interner: Interner,
}

impl Planner {
    /// An empty index.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// Takes in one event.
    pub fn observe(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::Set(view) => self.set_changed(*view),
            Event::SetGone(key) => self.set_gone(&key),
            Event::Node(view) => self.node_changed(view),
            Event::NodeGone(name) => self.node_gone(&name),
            Event::Pod(view) => {
                self.pods_seen = self.pods_seen.max(view.resource_version);
                self.pod_changed(*view, now);
            }
            Event::PodGone {
                uid,
                resource_version,
            } => {
                self.pods_seen = self.pods_seen.max(resource_version);
                self.pod_gone(&uid);
            }
            Event::Revision(view) => self.revision_changed(*view),
            Event::RevisionGone { namespace, name } => self.revision_gone(&(namespace, name)),
            Event::Listed(listed) => self.listed(listed),
            Event::Outcome { action, result } => self.outcome(*action, result, now),
        }
    }

    fn listed(&mut self, listed: Listed) {
        match listed {
            Listed::Sets(keys) => {
                let gone: Vec<_> = self
                    .sets
                    .keys()
                    .filter(|k| !keys.contains(k))
                    .cloned()
                    .collect();
                gone.iter().for_each(|key| self.set_gone(key));
            }
            Listed::Nodes(names) => {
                let gone: Vec<_> = self
                    .nodes
                    .keys()
                    .filter(|name| !names.contains(*name))
                    .cloned()
                    .collect();
                gone.iter().for_each(|name| self.node_gone(name));
            }
            Listed::Pods {
                uids,
                resource_version,
            } => {
                self.pods_seen = self.pods_seen.max(resource_version);
                let is_gone = |(uid, pod): &(&Uid, &PodState)| {
                    !uids.contains(uid) && pod.view.resource_version <= resource_version
                };
                let gone: Vec<_> = self
                    .pods
                    .iter()
                    .filter(is_gone)
                    .map(|(uid, _)| uid.clone())
                    .collect();
                gone.iter().for_each(|uid| self.pod_gone(uid));
                self.interner.sweep();
            }
            Listed::Revisions(keys) => {
                let gone: Vec<_> = self
                    .revisions
                    .keys()
                    .filter(|key| !keys.contains(*key))
                    .cloned()
                    .collect();
                gone.iter().for_each(|key| self.revision_gone(key));
            }
        }
    }

    /// How a set stands to a node by placement alone; `None` if the node does not exist.
    pub(crate) fn placement(&self, set: &Set, node: &str) -> Option<DaemonFit> {
        self.nodes
            .get(node)
            .map(|node| daemon_fit(&set.needs, node))
    }

    /// Why a set does not belong on a node.
    pub(crate) fn misplaced(&self, set: &Set, node: &str) -> Option<Reason> {
        match self.placement(set, node)? {
            DaemonFit::Run => None,
            DaemonFit::Keep(reason) | DaemonFit::No(reason) => Some(reason),
        }
    }

    fn mark(&mut self, key: &SetKey) {
        if !self.dirty.contains(key) {
            self.dirty.insert(key.clone());
        }
    }

    // === nodes ===

    fn node_changed(&mut self, mut view: NodeView) {
        view.labels = self.interner.labels(&view.labels);
        view.allocatable = self.interner.resources(&view.allocatable);
        if self
            .nodes
            .get(&view.name)
            .is_some_and(|known| *known == view)
        {
            return;
        }
        for (key, set) in &mut self.sets {
            let placement = Placement::from(&daemon_fit(&set.needs, &view));
            if place(set, &view.name, placement) {
                self.dirty.insert(key.clone());
            } else if self.options.verdicts {
                set.touch(&view.name);
                self.dirty.insert(key.clone());
            }
        }
        self.nodes.insert(Name::clone(&view.name), view);
    }

    fn node_gone(&mut self, name: &Name) {
        if self.nodes.remove(name).is_none() {
            return;
        }
        for (key, set) in &mut self.sets {
            if place(set, name, Placement::Gone) {
                self.dirty.insert(key.clone());
            }
        }
    }

    // === DaemonSets ===

    pub(crate) fn set_changed(&mut self, view: DaemonSetView) {
        let key = view.key.clone();
        match self.sets.get_mut(&key) {
            Some(set) if set.view.uid != view.uid => {
                self.set_gone(&key);
                self.set_came(view);
            }
            Some(set) if view.resource_version < set.view.resource_version => return,
            Some(set) => {
                let reselect = set.view.selector != view.selector;
                if !update(set, view) {
                    self.replace(&key);
                }
                if reselect {
                    self.reclaim(&key);
                }
            }
            None => self.set_came(view),
        }
        self.mark(&key);
    }

    fn set_came(&mut self, view: DaemonSetView) {
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
        self.replace(&key);
        self.reclaim(&key);
    }

    /// Places a set on every node anew.
    fn replace(&mut self, key: &SetKey) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        let known: Vec<Name> = set.cells.keys().cloned().collect();
        for name in known.iter().filter(|name| !self.nodes.contains_key(*name)) {
            place(set, name, Placement::Gone);
        }
        for (name, node) in &self.nodes {
            let placement = Placement::from(&daemon_fit(&set.needs, node));
            if !place(set, name, placement) && self.options.verdicts {
                set.touch(name);
            }
        }
    }

    /// Decides anew which pods of its namespace belong to a set.
    fn reclaim(&mut self, key: &SetKey) {
        let pods: Vec<Uid> = self
            .pods
            .iter()
            .filter(|(_, pod)| pod.view.namespace == key.namespace)
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in pods {
            self.detach(&uid);
            self.attach(&uid);
        }
    }

    fn set_gone(&mut self, key: &SetKey) {
        let Some(set) = self.sets.remove(key) else {
            return;
        };
        self.by_uid.remove(&set.view.uid);
        self.dirty.remove(key);
        for (node, cell) in set.cells {
            if let Some(claims) = cell.creating.and_then(|creating| creating.reserved)
                && let Some(usage) = self.usages.get_mut(&node)
            {
                usage.remove(&claims);
            }
            for uid in cell.pods {
                if let Some(pod) = self.pods.get_mut(&uid) {
                    pod.set = None;
                    pod.doomed = Doomed::No;
                }
            }
        }
    }

    // === pods ===

    pub(crate) fn pod_changed(&mut self, mut view: PodView, now: Timestamp) {
        view.namespace = self.interner.name(&view.namespace);
        view.labels = self.interner.labels(&view.labels);
        view.claims = self.interner.claims(&view.claims);
        for name in [&mut view.node, &mut view.target].into_iter().flatten() {
            *name = self.interner.name(name);
        }
        let old = self.pods.get(&view.uid);
        if old.is_some_and(|old| view.resource_version < old.view.resource_version) {
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

    // === revisions ===

    pub(crate) fn revision_changed(&mut self, view: RevisionView) {
        let key = (Name::clone(&view.namespace), Name::clone(&view.name));
        if let Some(old) = self.revisions.get(&key) {
            if old.uid == view.uid && view.resource_version < old.resource_version {
                return;
            }
            self.revision_gone(&key);
        }
        if let Some(owner) = &view.owner
            && let Some(set_key) = self.by_uid.get(&owner.uid).cloned()
            && let Some(set) = self.sets.get_mut(&set_key)
        {
            set.revisions.insert(Name::clone(&view.name), view.clone());
            set.reckon = true;
            self.mark(&set_key);
        }
        if view.owner.is_none() {
            self.orphan_revision(&view);
        }
        self.revisions.insert(key, view);
    }

    /// A revision without an owner concerns the sets that might adopt it.
    fn orphan_revision(&mut self, view: &RevisionView) {
        for (key, set) in &mut self.sets {
            let selected = |set: &Set| {
                set.view
                    .selector
                    .as_ref()
                    .is_some_and(|selector| selector.matches(&view.labels))
            };
            if key.namespace == view.namespace && selected(set) {
                set.reckon = true;
                self.dirty.insert(key.clone());
            }
        }
    }

    pub(crate) fn revision_gone(&mut self, key: &(Name, Name)) {
        let Some(old) = self.revisions.remove(key) else {
            return;
        };
        let owner = old
            .owner
            .and_then(|owner| self.by_uid.get(&owner.uid).cloned());
        if let Some(set_key) = owner
            && let Some(set) = self.sets.get_mut(&set_key)
        {
            set.revisions.remove(&key.1);
            set.reckon = true;
            self.mark(&set_key);
        }
    }

    /// Revisions without an owner that a set selects.
    pub(crate) fn orphan_revisions(&self, set: &Set) -> Vec<Name> {
        let Some(selector) = &set.view.selector else {
            return Vec::new();
        };
        let namespace = Name::clone(&set.view.key.namespace);
        self.revisions
            .range((Name::clone(&namespace), "".into())..)
            .take_while(|((ns, _), _)| *ns == namespace)
            .map(|(_, revision)| revision)
            .filter(|r| r.owner.is_none() && !r.deleting && selector.matches(&r.labels))
            .map(|revision| Name::clone(&revision.name))
            .collect()
    }
}

/// Files a node's placement; whether the set must be planned.
fn place(set: &mut Set, node: &Name, placement: Placement) -> bool {
    match set.cells.get_mut(node) {
        Some(cell) => cell.placement = placement,
        None if matches!(placement, Placement::No | Placement::Gone) => return false,
        None => {
            set.cells.insert(Name::clone(node), Cell::new(placement));
        }
    }
    set.touch(node);
    true
}

/// Takes in a set's new form; false if its pods may belong on other nodes now.
fn update(set: &mut Set, view: DaemonSetView) -> bool {
    let template = set.view.canonical != view.canonical
        || set.view.template_generation != view.template_generation;
    let pace = (set.mode(), set.view.min_ready_seconds, set.view.generation);
    set.view = view;
    let mut same_needs = true;
    if template {
        set.current = None;
        set.reckon = true;
        set.pace.retry_at = None;
        let spec = set.view.template.get("spec").cloned().unwrap_or_default();
        let needs = pandaemon_placement::PodNeeds::for_daemon(&spec);
        same_needs = needs == *set.needs;
        set.needs = Arc::new(needs);
    }
    if pace != (set.mode(), set.view.min_ready_seconds, set.view.generation) {
        set.reckon = true;
        set.touch_all();
    }
    same_needs
}
