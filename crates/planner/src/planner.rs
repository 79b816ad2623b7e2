//! The planner's state: every DaemonSet, node, pod and revision as last observed, indexed so that
//! an event costs only what it changes.

use std::collections::{BTreeMap, BTreeSet};

use pandaemon_placement::{DaemonFit, Reason, daemon_fit};
use pandaemon_types::{Interner, Name, Timestamp, Uid};

use crate::{
    ids::NodeId,
    set::Set,
    tables::{NodeTable, PodTable},
    view::{RevisionView, SetKey},
};

/// How the planner is configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Create pods with `spec.nodeName` set if they fit. Only for control planes whose scheduler
    /// takes part in the same accounting.
    pub bind: bool,
    /// Return an [`Explanation`](crate::Explanation) for every node that a plan assesses.
    pub explain: bool,
}

/// Plans the next requests of all DaemonSets.
///
/// The caller's loop:
///
/// 1. [`Planner::new`], once.
/// 2. [`Planner::observe`] for each event: changes of objects, complete lists, and the outcome of every action
///    but events. Lists and watches may come in any order. It costs least to list pods last, once
///    [`Planner::knows_all_but_pods`]. A caller that has a whole snapshot calls [`Planner::mark_listed`] after
///    it instead of sending lists.
/// 3. [`Planner::plan`] after one or more events, and at [`Plan::wake_at`](crate::Plan::wake_at). It returns
///    nothing until every kind was listed. The caller carries out all actions, each as a request of its own.
/// 4. For people, after a plan: [`Planner::explain`] and [`Planner::rollout`] of a set, [`Planner::known`].
///    [`Planner::miscounted`] is for tests.
#[derive(Debug, Default)]
pub struct Planner {
    pub(crate) options: Options,
    pub(crate) sets: BTreeMap<SetKey, Set>,
    pub(crate) nodes: NodeTable,
    pub(crate) pods: PodTable,
    pub(crate) by_uid: BTreeMap<Uid, SetKey>,
    pub(crate) revisions: BTreeMap<(Name, Name), RevisionView>,
    pub(crate) dirty: BTreeSet<SetKey>,
    pub(crate) wakes: BTreeSet<(Timestamp, SetKey)>,
    /// The newest resource version that the pod watch has delivered.
    pub(crate) pods_seen: u64,
    /// The newest resource version that the revision watch has delivered.
    pub(crate) revisions_seen: u64,
    /// The time of the last plan.
    pub(crate) clock: Timestamp,
    /// The kinds whose first list is complete: sets, nodes, pods, revisions.
    pub(crate) listed: [bool; 4],
    pub(crate) interner: Interner,
    /// Removed or changed objects since the last sweep; each may have held the last copy of a
    /// value.
    pub(crate) removals_since_sweep: usize,
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

    /// Takes what was observed so far as complete lists of all kinds, as after a snapshot.
    pub const fn mark_listed(&mut self) {
        self.listed = [true; 4];
    }

    /// Whether all sets, nodes and revisions were listed. Assigning pods to known sets costs less
    /// than assigning all known pods to each new set, so pods are best listed then.
    #[must_use]
    pub const fn knows_all_but_pods(&self) -> bool {
        let [sets, nodes, _, revisions] = self.listed;
        sets && nodes && revisions
    }

    /// The number of known sets, nodes and pods.
    #[must_use]
    pub fn known(&self) -> [usize; 3] {
        [self.sets.len(), self.nodes.len(), self.pods.len()]
    }

    /// The planning order of a set among all sets, see [`crate::DaemonSetView::rank`]; `None` if it
    /// is not known.
    #[must_use]
    pub fn rank(&self, set: &SetKey) -> Option<u8> {
        self.sets.get(set).map(|set| set.rank)
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
    pub(crate) fn maybe_sweep(&mut self) {
        self.removals_since_sweep += 1;
        if self.removals_since_sweep > SWEEP_SLACK + self.pods.len() + self.nodes.len() {
            self.removals_since_sweep = 0;
            self.interner.sweep();
        }
    }

    pub(crate) fn mark_dirty(&mut self, key: &SetKey) {
        if !self.dirty.contains(key) {
            self.dirty.insert(key.clone());
        }
    }
}

/// Whether an object of this version is not newer than the known one. Replies and watches deliver
/// most changes twice, in either order. Version 0 cannot be compared and counts as new.
pub(crate) const fn is_stale(version: u64, known: u64) -> bool {
    version < known || (version == known && version != 0)
}
