//! The planner's state: every DaemonSet, node, pod and revision as last observed, indexed so that an
//! event costs only what it changes.

mod pods;
mod revisions;
mod tables;

pub(crate) use self::tables::{IdMap, NodeId, NodeTable, PodId, PodTable};

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pandaemon_placement::{DaemonFit, Reason, daemon_fit};
use pandaemon_types::{Interner, Name, NodeView, Timestamp, Uid};

use crate::{
    event::{Event, Listed},
    node_state::{Deletion, NodeState, Placement},
    set::Set,
    view::{DaemonSetView, RevisionView, SetKey},
};

/// How the planner is configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Create pods with `spec.nodeName` set if they fit. Only for control planes whose scheduler takes
    /// part in the same accounting.
    pub bind: bool,
    /// Return an [`Explanation`](crate::Explanation) for every node that a plan assesses.
    pub explain: bool,
}

/// Plans the next requests of all DaemonSets: [`Planner::observe`] takes events, [`Planner::plan`]
/// returns actions.
#[derive(Debug, Default)]
pub struct Planner {
    pub(crate) options: Options,
    pub(crate) sets: BTreeMap<SetKey, Set>,
    pub(crate) nodes: NodeTable,
    pub(crate) pods: PodTable,
    by_uid: BTreeMap<Uid, SetKey>,
    revisions: BTreeMap<(Name, Name), RevisionView>,
    pub(crate) dirty: BTreeSet<SetKey>,
    pub(crate) wakes: BTreeSet<(Timestamp, SetKey)>,
    /// The newest resource version that the pod watch has delivered.
    pods_seen: u64,
    /// The newest resource version that the revision watch has delivered.
    revisions_seen: u64,
    /// The time of the last plan.
    pub(crate) clock: Timestamp,
    interner: Interner,
    /// Removed or changed objects since the last sweep; each may have held the last copy of a value.
    removals_since_sweep: usize,
}

/// Interned values are swept after this many more removals than there are pods and nodes.
const SWEEP_SLACK: usize = 4096;

impl Planner {
    /// A planner that knows of no objects.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// The number of known sets, nodes and pods.
    #[must_use]
    pub fn known(&self) -> [usize; 3] {
        [self.sets.len(), self.nodes.len(), self.pods.len()]
    }

    /// Applies one event.
    pub fn observe(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::Set(view) => self.apply_set(*view),
            Event::SetGone(key) => self.remove_set(&key),
            Event::Node(view) => self.apply_node(view),
            Event::NodeGone(name) => self.remove_node(&name),
            Event::Pod(view) => {
                self.pods_seen = self.pods_seen.max(view.resource_version);
                self.apply_pod(*view, now);
            }
            Event::PodGone {
                uid,
                resource_version,
            } => {
                self.pods_seen = self.pods_seen.max(resource_version);
                self.remove_pod(&uid);
            }
            Event::Revision(view) => {
                self.revisions_seen = self.revisions_seen.max(view.resource_version);
                self.apply_revision(*view);
            }
            Event::RevisionGone { namespace, name } => self.remove_revision(&(namespace, name)),
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
                gone.iter().for_each(|key| self.remove_set(key));
            }
            Listed::Nodes(names) => {
                let nodes = self.nodes.iter().map(|(_, node)| &node.name);
                let gone: Vec<Name> = nodes
                    .filter(|name| !names.contains(*name))
                    .cloned()
                    .collect();
                gone.iter().for_each(|name| self.remove_node(name));
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
                gone.iter().for_each(|uid| self.remove_pod(uid));
                self.interner.sweep();
            }
            Listed::Revisions(keys) => {
                let gone: Vec<_> = self
                    .revisions
                    .keys()
                    .filter(|key| !keys.contains(*key))
                    .cloned()
                    .collect();
                gone.iter().for_each(|key| self.remove_revision(key));
            }
        }
    }

    /// Whether a set's pod should run on a node; `None` if the node does not exist.
    pub(crate) fn placement(&self, set: &Set, node: NodeId) -> Option<DaemonFit> {
        self.nodes
            .node(node)
            .map(|node| daemon_fit(&set.needs, node))
    }

    /// Why a set's pod must not be started on a node; `None` if it may or there is no such node.
    pub(crate) fn misplaced(&self, set: &Set, node: NodeId) -> Option<Reason> {
        match self.placement(set, node)? {
            DaemonFit::Run => None,
            DaemonFit::Keep(reason) | DaemonFit::No(reason) => Some(reason),
        }
    }

    /// Counts an object that dropped interned values; sweeps the interner past a threshold.
    fn maybe_sweep(&mut self) {
        self.removals_since_sweep += 1;
        if self.removals_since_sweep > SWEEP_SLACK + self.pods.len() + self.nodes.len() {
            self.removals_since_sweep = 0;
            self.interner.sweep();
        }
    }

    fn mark_dirty(&mut self, key: &SetKey) {
        if !self.dirty.contains(key) {
            self.dirty.insert(key.clone());
        }
    }

    // === nodes ===

    fn apply_node(&mut self, mut view: NodeView) {
        let number = self.nodes.id(&view.name);
        let known = self.nodes.node(number);
        if known.is_some_and(|known| *known == view) {
            return;
        }
        view.name = self.nodes.name(number);
        view.labels = self.interner.labels_of(&view.labels, &view.name);
        view.allocatable = self.interner.node_resources(&view.allocatable);
        view.taints.shrink_to_fit();
        for (key, set) in &mut self.sets {
            let placement = Placement::from(&daemon_fit(&set.needs, &view));
            if set_placement(set, number, placement) {
                self.dirty.insert(key.clone());
            } else if self.options.explain {
                set.touch(number);
                self.dirty.insert(key.clone());
            }
        }
        self.nodes.put(number, view);
        self.maybe_sweep();
    }

    fn remove_node(&mut self, name: &Name) {
        let Some(number) = self.nodes.find(name) else {
            return;
        };
        if self.nodes.take(number).is_none() {
            return;
        }
        for (key, set) in &mut self.sets {
            if set_placement(set, number, Placement::NoNode) {
                self.dirty.insert(key.clone());
            }
        }
        if self.nodes.needs_sweep() {
            let pods = self.pods.iter().filter_map(|(_, pod)| pod.place);
            let places: BTreeSet<NodeId> = pods.collect();
            let sets = &self.sets;
            let matters = |number| {
                let kept =
                    |set: &Set| set.nodes.get(number).is_some() || set.touched.contains(&number);
                places.contains(&number) || sets.values().any(kept)
            };
            self.nodes.sweep(matters);
        }
        self.maybe_sweep();
    }

    // === DaemonSets ===

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
    fn place_set(&mut self, key: &SetKey) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        let known: Vec<NodeId> = set.nodes.iter().map(|(node, _)| node).collect();
        for node in known {
            if self.nodes.node(node).is_none() {
                set_placement(set, node, Placement::NoNode);
            }
        }
        for (number, node) in self.nodes.iter() {
            let placement = Placement::from(&daemon_fit(&set.needs, node));
            if !set_placement(set, number, placement) && self.options.explain {
                set.touch(number);
            }
        }
    }

    /// Decides again which pods of its namespace belong to a set.
    fn reassign_pods(&mut self, key: &SetKey) {
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

    fn remove_set(&mut self, key: &SetKey) {
        let Some(set) = self.sets.remove(key) else {
            return;
        };
        self.by_uid.remove(&set.view.uid);
        self.dirty.remove(key);
        if let Some(at) = set.wake {
            self.wakes.remove(&(at, key.clone()));
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
                    pod.deletion = Deletion::NotRequested;
                }
            }
        }
    }
}

/// Whether an object of this version is not newer than the known one. Replies and watches deliver most
/// changes twice, in either order. Version 0 cannot be compared and counts as new.
const fn is_stale(version: u64, known: u64) -> bool {
    version < known || (version == known && version != 0)
}

/// Sets the placement of a node; returns whether it changed.
fn set_placement(set: &mut Set, node: NodeId, placement: Placement) -> bool {
    match set.nodes.get_mut(node) {
        Some(state) if state.placement == placement => return false,
        Some(state) => state.placement = placement,
        None if matches!(placement, Placement::No | Placement::NoNode) => return false,
        None => set.nodes.put(node, NodeState::new(placement)),
    }
    set.touch(node);
    true
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
        set.requests.retry_at = None;
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
