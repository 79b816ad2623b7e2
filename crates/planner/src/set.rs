//! The state of one DaemonSet: its nodes, the totals over them, and its requests under way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pandaemon_placement::PodNeeds;
use pandaemon_types::{Name, Timestamp};

use crate::{
    action::{Action, Severity},
    candidates::CandidateQueue,
    canonical::pod_name,
    ids::{IdMap, NodeId, PodId},
    node_state::{Assessment, Mode, NodeState, Placement, SetFacts},
    pacing::{MAX_IN_FLIGHT, Pacer, Retry},
    pod_template::PodTemplate,
    queues::{BackOffEnds, NodeQueues},
    tables::NodeTable,
    totals::Totals,
    view::{DaemonSetView, RevisionView, SetKey, Status, Strategy},
};

/// The current template, once its revision exists.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) hash: Name,
    /// Hashes of duplicate revisions with the same template: their pods count as updated.
    pub(crate) aliases: Vec<Name>,
    pub(crate) template: Arc<PodTemplate>,
}

impl Current {
    /// The name of a pod of this revision on a node.
    pub(crate) fn pod_name(&self, uid: &str, place: &str, attempt: u32) -> String {
        pod_name(
            self.template.name_prefix(),
            [uid, place, &self.hash],
            attempt,
        )
    }
}

/// How many attempts beyond the first are looked at for the name of a pod that is gone: a node
/// seldom has more pods of one set at a time.
const NAMES_IN_USE: u32 = 4;

/// The state of one DaemonSet.
#[derive(Debug)]
pub(crate) struct Set {
    /// The namespace and name, shared by all its pods.
    pub(crate) key: Arc<SetKey>,
    /// The uid as text.
    pub(crate) uid: Box<str>,
    /// The planning order among sets; see [`DaemonSetView::rank`].
    pub(crate) rank: u8,
    pub(crate) view: DaemonSetView,
    pub(crate) needs: Arc<PodNeeds>,
    pub(crate) revisions: BTreeMap<Name, RevisionView>,
    pub(crate) current: Option<Current>,
    pub(crate) nodes: IdMap<NodeState>,
    pub(crate) totals: Totals,
    pub(crate) queues: NodeQueues,
    pub(crate) creates: Pacer<NodeId>,
    pub(crate) deletes: Pacer<NodeId>,
    /// Nodes to assess with the next plan.
    pub(crate) touched: BTreeSet<NodeId>,
    pub(crate) timers: BTreeSet<(Timestamp, NodeId)>,
    /// The number of pods by `controller-revision-hash`.
    pub(crate) hashes: BTreeMap<Name, usize>,
    /// Whether the revisions have to be reconciled.
    pub(crate) revisions_dirty: bool,
    /// Whether the collision count has to be written before a revision is created.
    pub(crate) collided: bool,
    /// Requests for revisions that are under way.
    pub(crate) revising: usize,
    /// The back-off of requests for revisions.
    pub(crate) revise_retry: Retry,
    /// Patches of pods, and the pods that wait for one.
    pub(crate) patches: Pacer<PodId>,
    pub(crate) patch_queue: CandidateQueue<PodId>,
    /// The status of the write under way.
    pub(crate) writing: Option<Status>,
    /// The back-off of writes of the status.
    pub(crate) write_retry: Retry,
    /// Events to return with the next plan.
    pub(crate) pending_events: Vec<Action>,
    /// The generation for which the warning about the selector was recorded.
    pub(crate) warned_generation: Option<i64>,
    /// The attempt number of the next pod name on nodes where a name was taken.
    pub(crate) name_attempts: BTreeMap<NodeId, u32>,
    /// The time under which the set is in the planner's wake list.
    pub(crate) wake: Option<Timestamp>,
}

impl Set {
    pub(crate) fn new(view: DaemonSetView) -> Self {
        let spec = view.template.get("spec").cloned().unwrap_or_default();
        Self {
            key: Arc::new(view.key.clone()),
            uid: view.uid.to_string().into(),
            rank: view.rank(),
            needs: Arc::new(PodNeeds::for_daemon(&spec)),
            view,
            revisions: BTreeMap::new(),
            current: None,
            nodes: IdMap::default(),
            totals: Totals::default(),
            queues: NodeQueues::default(),
            creates: Pacer::new(1, 100),
            deletes: Pacer::new(MAX_IN_FLIGHT, 1_000),
            touched: BTreeSet::new(),
            timers: BTreeSet::new(),
            hashes: BTreeMap::new(),
            revisions_dirty: true,
            collided: false,
            revising: 0,
            revise_retry: Retry::default(),
            patches: Pacer::new(1, 1_000),
            patch_queue: CandidateQueue::default(),
            writing: None,
            write_retry: Retry::default(),
            pending_events: Vec::new(),
            warned_generation: None,
            name_attempts: BTreeMap::new(),
            wake: None,
        }
    }

    /// Revisions that the set owns but does not select.
    pub(crate) fn mismatched_revisions(&self) -> impl Iterator<Item = &RevisionView> {
        self.revisions
            .values()
            .filter(|revision| !self.view.selects(&revision.labels))
    }

    pub(crate) fn mode(&self) -> Mode {
        match self.view.strategy {
            Strategy::OnDelete => Mode::OnDelete,
            Strategy::RollingUpdate { max_surge, .. } if max_surge.of_rounded_up(1) > 0 => {
                Mode::Surge
            }
            Strategy::RollingUpdate { .. } => Mode::Rolling,
        }
    }

    /// `maxUnavailable` and `maxSurge` as numbers of nodes.
    pub(crate) fn budgets(&self) -> (usize, usize) {
        let Strategy::RollingUpdate {
            max_unavailable,
            max_surge,
        } = self.view.strategy
        else {
            return (0, 0);
        };
        let desired = self.totals.desired;
        let surge = max_surge.of_rounded_up(desired);
        match max_unavailable.of_rounded_up(desired) {
            0 if surge == 0 && desired > 0 => (1, 0),
            unavailable => (unavailable, surge),
        }
    }

    pub(crate) fn facts(&self, now: Timestamp) -> SetFacts<'_> {
        SetFacts {
            hash: self.current.as_ref().map(|current| &*current.hash),
            aliases: self
                .current
                .as_ref()
                .map_or(&[], |current| &current.aliases),
            template_generation: self.view.template_generation,
            generation: self.view.generation,
            min_ready_seconds: self.view.min_ready_seconds,
            mode: self.mode(),
            now,
        }
    }

    /// Sets the placement of a node; returns whether it changed.
    pub(crate) fn set_placement(&mut self, node: NodeId, placement: Placement) -> bool {
        match self.nodes.get_mut(node) {
            Some(state) if state.placement == placement => return false,
            Some(state) => state.placement = placement,
            None if matches!(placement, Placement::No | Placement::NoNode) => return false,
            None => self.nodes.put(node, NodeState::new(placement)),
        }
        self.touch(node);
        true
    }

    /// Assesses a node again with the next plan.
    pub(crate) fn touch(&mut self, node: NodeId) {
        self.touched.insert(node);
    }

    /// Assesses every node again with the next plan.
    pub(crate) fn touch_all(&mut self) {
        self.touched
            .extend(self.nodes.iter::<NodeId>().map(|(node, _)| node));
    }

    /// Replaces the assessment of a node and moves it between totals, queues and timers.
    pub(crate) fn set_assessment(
        &mut self,
        node: NodeId,
        nodes: &NodeTable,
        assessment: &Assessment,
    ) {
        let Some(state) = self.nodes.get_mut(node) else {
            return;
        };
        let (counts, due, wake) = (assessment.counts, assessment.due, assessment.wake);
        self.totals.subtract(state.counts, state.due.step);
        self.totals.add(counts, due.step);
        let ends = BackOffEnds {
            create: self.creates.back_off_end(node),
            delete: self.deletes.back_off_end(node),
        };
        let name = || nodes.name(node);
        self.queues.update(node, name, (state.due, due), ends);
        if state.wake != wake {
            if let Some(old) = state.wake {
                self.timers.remove(&(old, node));
            }
            self.timers.extend(wake.map(|new| (new, node)));
        }
        (state.counts, state.due, state.wake) = (counts, due, wake);
        if state.is_idle() {
            self.nodes.take(node);
            self.creates.forget(node);
            self.deletes.forget(node);
            self.name_attempts.remove(&node);
        }
    }

    /// The attempt number of the next pod name on a node.
    pub(crate) fn next_attempt(&self, node: NodeId) -> u32 {
        self.name_attempts.get(&node).copied().unwrap_or(0)
    }

    /// Goes past the attempt that gave this name, `first` or one of the next, so that the name does
    /// not come again on the node. Names of other revisions do not count: a leader that did not see
    /// their pods would choose other names.
    pub(crate) fn use_up_name(&mut self, node: NodeId, place: &str, name: &str, first: u32) {
        let Some(current) = &self.current else {
            return;
        };
        let used = (0..NAMES_IN_USE)
            .map(|more| first.wrapping_add(more))
            .find(|attempt| current.pod_name(&self.uid, place, *attempt) == name);
        if let Some(used) = used {
            self.name_attempts.insert(node, used.wrapping_add(1));
        }
    }

    /// Records an event that the next plan returns.
    pub(crate) fn record_event(
        &mut self,
        severity: Severity,
        reason: &'static str,
        message: String,
    ) {
        let (set, uid) = (self.view.key.clone(), self.view.uid.clone());
        self.pending_events.push(Action::Event {
            set,
            uid,
            severity,
            reason,
            message,
        });
    }

    /// The status that the set should have.
    pub(crate) fn status(&self) -> Status {
        let Totals {
            desired,
            current,
            misscheduled,
            ready,
            available,
            updated,
            ..
        } = self.totals;
        Status {
            current_number_scheduled: current,
            desired_number_scheduled: desired,
            number_misscheduled: misscheduled,
            number_ready: ready,
            number_available: available,
            number_unavailable: desired.saturating_sub(available),
            updated_number_scheduled: updated,
            observed_generation: self.view.generation,
            collision_count: self.view.status.collision_count,
        }
    }

    /// Whether requests are planned for the set at all: not if it is being deleted, and not with a
    /// selector that selects everything or cannot be read, as upstream.
    pub(crate) fn is_planned(&self) -> bool {
        !self.view.deleting && self.view.selector.is_ok() && !self.view.selects_all()
    }

    /// When the set has to be planned again without an event.
    pub(crate) fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        if !self.is_planned() {
            return None;
        }
        let timer = self.timers.iter().map(|(at, _)| *at).find(|at| now < *at);
        let request = self.queues.wake_at(&self.creates, &self.deletes, now);
        let revise = self.revise_retry.end().filter(|_| self.revisions_dirty);
        let revise = revise.filter(|at| now < *at);
        let write = self.write_retry.end().filter(|at| now < *at);
        let patch = self.patch_queue.wake_at(&self.patches, now);
        [timer, request, revise, write, patch]
            .into_iter()
            .flatten()
            .min()
    }

    /// Counts a pod's hash. When the last pod of a hash is gone, its revision may be deleted.
    pub(crate) fn count_hash(&mut self, hash: Option<&Name>, added: bool) {
        let Some(hash) = hash else { return };
        match self.hashes.get_mut(hash) {
            Some(count) if added => *count += 1,
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => {
                self.hashes.remove(hash);
                self.revisions_dirty = true;
            }
            None if added => {
                self.hashes.insert(Name::clone(hash), 1);
            }
            None => {}
        }
    }
}
