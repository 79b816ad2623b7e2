//! The index: every DaemonSet, node, pod and revision as last heard of, filed so that an event costs
//! what it touches.

mod pods;
mod revisions;
mod roster;

pub(crate) use self::roster::{NodeId, Numbered, PodId, Pods, Roster};

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pandaemon_placement::{DaemonFit, Reason, daemon_fit};
use pandaemon_types::{Interner, Name, NodeView, Timestamp, Uid};

use crate::{
    cell::{Cell, Doomed, Placement},
    event::{Event, Listed},
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
    pub(crate) roster: Roster,
    pub(crate) pods: Pods,
    by_uid: BTreeMap<Uid, SetKey>,
    revisions: BTreeMap<(Name, Name), RevisionView>,
    pub(crate) dirty: BTreeSet<SetKey>,
    pub(crate) wakes: BTreeSet<(Timestamp, SetKey)>,
    /// The newest version that the pods' watch has told of.
    pods_seen: u64,
    /// The newest version that the revisions' watch has told of.
    revisions_seen: u64,
    /// The time of the last plan.
    pub(crate) clock: Timestamp,
    interner: Interner,
    /// How many shared values may have lost their last user since the last look.
    litter: usize,
}

/// Shared values are looked through when this many more than there are pods may be unused.
const LITTER: usize = 4096;

impl Planner {
    /// An empty index.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// How many sets, nodes and pods are known.
    #[must_use]
    pub fn known(&self) -> [usize; 3] {
        [self.sets.len(), self.roster.len(), self.pods.len()]
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
            Event::Revision(view) => {
                self.revisions_seen = self.revisions_seen.max(view.resource_version);
                self.revision_changed(*view);
            }
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
                let nodes = self.roster.iter().map(|(_, node)| &node.name);
                let gone: Vec<Name> = nodes
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
                let pods = self.pods.iter().map(|(_, pod)| pod);
                let gone: Vec<Uid> = pods
                    .filter(|pod| pod.resource_version <= resource_version)
                    .filter(|pod| !uids.contains(&pod.uid))
                    .map(|pod| pod.uid.clone())
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
    pub(crate) fn placement(&self, set: &Set, node: NodeId) -> Option<DaemonFit> {
        self.roster
            .node(node)
            .map(|node| daemon_fit(&set.needs, node))
    }

    /// Why a set does not belong on a node.
    pub(crate) fn misplaced(&self, set: &Set, node: NodeId) -> Option<Reason> {
        match self.placement(set, node)? {
            DaemonFit::Run => None,
            DaemonFit::Keep(reason) | DaemonFit::No(reason) => Some(reason),
        }
    }

    /// Something that shares values is gone, or has others now.
    fn litter(&mut self) {
        self.litter += 1;
        if self.litter > LITTER + self.pods.len() + self.roster.len() {
            self.litter = 0;
            self.interner.sweep();
        }
    }

    fn mark(&mut self, key: &SetKey) {
        if !self.dirty.contains(key) {
            self.dirty.insert(key.clone());
        }
    }

    // === nodes ===

    fn node_changed(&mut self, mut view: NodeView) {
        let number = self.roster.number(&view.name);
        let known = self.roster.node(number);
        if known.is_some_and(|known| *known == view) {
            return;
        }
        view.name = self.roster.name(number);
        view.labels = self.interner.labels_of(&view.labels, &view.name);
        view.allocatable = self.interner.node_resources(&view.allocatable);
        view.taints.shrink_to_fit();
        for (key, set) in &mut self.sets {
            let placement = Placement::from(&daemon_fit(&set.needs, &view));
            if place(set, number, placement) {
                self.dirty.insert(key.clone());
            } else if self.options.verdicts {
                set.touch(number);
                self.dirty.insert(key.clone());
            }
        }
        self.roster.put(number, view);
        self.litter();
    }

    fn node_gone(&mut self, name: &Name) {
        let Some(number) = self.roster.find(name) else {
            return;
        };
        if self.roster.take(number).is_none() {
            return;
        }
        for (key, set) in &mut self.sets {
            if place(set, number, Placement::Gone) {
                self.dirty.insert(key.clone());
            }
        }
        if self.roster.is_littered() {
            let pods = self.pods.iter().filter_map(|(_, pod)| pod.place);
            let places: BTreeSet<NodeId> = pods.collect();
            let sets = &self.sets;
            let matters = |number| {
                let kept =
                    |set: &Set| set.cells.get(number).is_some() || set.touched.contains(&number);
                places.contains(&number) || sets.values().any(kept)
            };
            self.roster.sweep(matters);
        }
        self.litter();
    }

    // === DaemonSets ===

    pub(crate) fn set_changed(&mut self, view: DaemonSetView) {
        let key = view.key.clone();
        match self.sets.get_mut(&key) {
            Some(set) if set.view.uid != view.uid => {
                self.set_gone(&key);
                self.set_came(view);
            }
            Some(set) if is_old_news(view.resource_version, set.view.resource_version) => return,
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
        let known: Vec<NodeId> = set.cells.iter().map(|(node, _)| node).collect();
        for node in known {
            if self.roster.node(node).is_none() {
                place(set, node, Placement::Gone);
            }
        }
        for (number, node) in self.roster.iter() {
            let placement = Placement::from(&daemon_fit(&set.needs, node));
            if !place(set, number, placement) && self.options.verdicts {
                set.touch(number);
            }
        }
    }

    /// Decides anew which pods of its namespace belong to a set.
    fn reclaim(&mut self, key: &SetKey) {
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

    fn set_gone(&mut self, key: &SetKey) {
        let Some(set) = self.sets.remove(key) else {
            return;
        };
        self.by_uid.remove(&set.view.uid);
        self.dirty.remove(key);
        if let Some(at) = set.wake {
            self.wakes.remove(&(at, key.clone()));
        }
        for (node, cell) in set.cells.iter::<NodeId>() {
            let creating = cell.creating.as_deref();
            if let Some(resources) = creating.and_then(|creating| creating.reserved.as_ref())
                && let Some(load) = self.roster.load_mut(node)
            {
                load.remove(resources);
            }
            for pod in &cell.pods {
                if let Some(pod) = self.pods.get_mut(*pod) {
                    pod.set = None;
                    pod.doomed = Doomed::No;
                }
            }
        }
    }
}

/// Whether a version tells nothing new: replies and watches tell most things twice, in either order.
/// Version 0 stands for one that is no number and cannot be compared.
const fn is_old_news(version: u64, known: u64) -> bool {
    version < known || (version == known && version != 0)
}

/// Files a node's placement; whether it is another one.
fn place(set: &mut Set, node: NodeId, placement: Placement) -> bool {
    match set.cells.get_mut(node) {
        Some(cell) if cell.placement == placement => return false,
        Some(cell) => cell.placement = placement,
        None if matches!(placement, Placement::No | Placement::Gone) => return false,
        None => set.cells.put(node, Cell::new(placement)),
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
        set.rank = set.view.rank();
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
