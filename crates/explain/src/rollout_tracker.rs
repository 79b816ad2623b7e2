//! The state of a rollout, kept as watches deliver changes. A change of a pod costs what it
//! touches; only a change of the DaemonSet or of its revisions has the planner plan again.

use std::collections::{BTreeMap, BTreeSet};

use pandaemon_planner::{
    DaemonSetView, Event, HASH_LABEL, Options, Planner, RevisionView, Rollout,
};
use pandaemon_types::{Labels as _, Name, PodView, Timestamp, Uid};
use serde::Deserialize as _;
use serde_json::Value;

use crate::{
    plan_preview::{PLANNED_UID, ROUNDS, observe_revision, observe_set, reply_to_revision},
    pod_health::pod_health,
    snapshot::{DaemonPod, Revision, Snapshot, pod_belongs_to},
    status::{RevisionStatus, SLOW_NODES, SlowNode, StatusReport, progress, waits_for},
};

/// Follows the rollout of one DaemonSet.
///
/// Feed it the DaemonSet, its revisions and its pods as they are listed and change, in any order;
/// [`RolloutTracker::report`] may be called at any time.
#[derive(Debug)]
pub struct RolloutTracker {
    view: DaemonSetView,
    /// Knows the DaemonSet and its revisions, but no node and no pod: it says which revision is
    /// newest.
    planner: Planner,
    rollout: Rollout,
    /// Revisions that exist only in the planner: the controller has not created them yet.
    planned: Vec<Name>,
    plans: usize,
    revisions: BTreeMap<Name, Revision>,
    pods: BTreeMap<Uid, Pod>,
    hashes: BTreeMap<String, HashCounts>,
    /// Pods that are not ready, oldest first.
    slow: BTreeSet<SlowKey>,
}

/// Creation, node and uid of a pod.
type SlowKey = (Timestamp, Name, Uid);

#[derive(Debug)]
struct Pod {
    view: PodView,
    /// Its conditions and container statuses are read only while it is not ready.
    unready: Option<DaemonPod>,
}

/// The pods of one revision.
#[derive(Debug, Default)]
struct HashCounts {
    /// All pods, those being deleted included.
    pods: usize,
    /// Pods that are not being deleted, by node.
    nodes: BTreeMap<Name, usize>,
    /// Ready pods that are not being deleted.
    ready: usize,
}

impl RolloutTracker {
    /// Starts with a DaemonSet, and no revisions and pods.
    ///
    /// # Errors
    /// When the object is no DaemonSet.
    pub fn new(set: &Value, now: Timestamp) -> serde_json::Result<Self> {
        let mut tracker = Self {
            view: DaemonSetView::deserialize(set)?,
            planner: Planner::new(Options::default()),
            rollout: Rollout::default(),
            planned: Vec::new(),
            plans: 0,
            revisions: BTreeMap::new(),
            pods: BTreeMap::new(),
            hashes: BTreeMap::new(),
            slow: BTreeSet::new(),
        };
        tracker.planner.mark_listed();
        observe_set(&mut tracker.planner, &tracker.view, now);
        tracker.plan(now);
        Ok(tracker)
    }

    /// Starts with the DaemonSet, revisions and pods of a snapshot. The snapshot needs no nodes.
    ///
    /// # Errors
    /// When the object is no DaemonSet.
    pub fn of(snapshot: &Snapshot) -> serde_json::Result<Self> {
        let mut tracker = Self::new(&snapshot.set, snapshot.now)?;
        tracker.replace_revisions(snapshot.revisions.iter().cloned(), snapshot.now);
        snapshot
            .pods
            .iter()
            .for_each(|pod| tracker.apply_pod(pod.clone()));
        Ok(tracker)
    }

    /// Takes in a change of the DaemonSet.
    ///
    /// # Errors
    /// When the object is no DaemonSet.
    pub fn apply_set(&mut self, set: &Value, now: Timestamp) -> serde_json::Result<()> {
        let next = DaemonSetView::deserialize(set)?;
        let old = std::mem::replace(&mut self.view, next);
        let view = &self.view;
        let is_same = old.uid == view.uid && old.selector == view.selector;
        if is_same && old.canonical == view.canonical {
            return Ok(());
        }
        observe_set(&mut self.planner, view, now);
        if is_same {
            self.plan(now);
            return Ok(());
        }
        // Other pods and revisions belong to it now.
        let revisions = std::mem::take(&mut self.revisions).into_values();
        self.replace_revisions(revisions, now);
        self.recount();
        Ok(())
    }

    /// The uid of the DaemonSet.
    #[must_use]
    pub const fn set_uid(&self) -> &Uid {
        &self.view.uid
    }

    /// Takes in a revision that was added or changed.
    pub fn apply_revision(&mut self, revision: Revision, now: Timestamp) {
        self.observe_revision(revision, now);
        self.plan(now);
    }

    /// Takes in the deletion of a revision. A later one of its name stays.
    pub fn remove_revision(&mut self, revision: &RevisionView, now: Timestamp) {
        let known = self.revisions.get(&revision.name);
        if known.is_some_and(|known| known.view.uid == revision.uid) {
            self.revisions.remove(&revision.name);
            self.forget_revision(Name::clone(&revision.name), &revision.uid, now);
            self.plan(now);
        }
    }

    /// Takes in a complete list of the revisions.
    pub fn replace_revisions(
        &mut self,
        revisions: impl IntoIterator<Item = Revision>,
        now: Timestamp,
    ) {
        for (name, revision) in std::mem::take(&mut self.revisions) {
            self.forget_revision(name, &revision.view.uid, now);
        }
        for revision in revisions {
            self.observe_revision(revision, now);
        }
        self.plan(now);
    }

    /// Takes in a pod that was added or changed. Pods of other owners are ignored.
    pub fn apply_pod(&mut self, pod: DaemonPod) {
        self.remove_pod(&pod.view.uid);
        let pod = Pod {
            view: pod.view.clone(),
            unready: (!pod.view.ready).then_some(pod),
        };
        self.count(&pod);
        self.pods.insert(pod.view.uid.clone(), pod);
    }

    /// Takes in the deletion of a pod.
    pub fn remove_pod(&mut self, uid: &Uid) {
        if let Some(pod) = self.pods.remove(uid) {
            self.uncount(&pod.view);
        }
    }

    /// Takes in a complete list of the pods.
    pub fn replace_pods(&mut self, pods: impl IntoIterator<Item = DaemonPod>) {
        self.pods.clear();
        self.recount();
        pods.into_iter().for_each(|pod| self.apply_pod(pod));
    }

    /// The number of times that a planner has planned.
    #[must_use]
    pub const fn plans(&self) -> usize {
        self.plans
    }

    /// The state of the rollout.
    #[must_use]
    pub fn report(&self, now: Timestamp) -> StatusReport {
        let view = &self.view;
        let counts = &view.status;
        let (done, message) = progress(view);
        StatusReport {
            kind: "DaemonSetRollout",
            namespace: Name::clone(&view.key.namespace),
            name: Name::clone(&view.key.name),
            desired: counts.desired_number_scheduled,
            current: counts.current_number_scheduled,
            updated: counts.updated_number_scheduled,
            ready: counts.number_ready,
            available: counts.number_available,
            misscheduled: counts.number_misscheduled,
            done,
            message,
            waits_for: waits_for(view, done, self.slow.len()),
            revisions: self.revision_rows(),
            slowest: self.slowest(now),
        }
    }

    fn plan(&mut self, now: Timestamp) {
        // The real revision may have another name than the planned one.
        for name in std::mem::take(&mut self.planned) {
            self.forget_revision(name, &PLANNED_UID.into(), now);
        }
        for _ in 0..ROUNDS {
            self.plans += 1;
            let actions = self.planner.plan(now).actions.into_iter();
            let planner = &mut self.planner;
            let created = actions.filter_map(|action| reply_to_revision(planner, action, now));
            let before = self.planned.len();
            self.planned.extend(created);
            if self.planned.len() == before {
                break;
            }
        }
        self.rollout = self.planner.rollout(&self.view.key).unwrap_or_default();
    }

    fn observe_revision(&mut self, revision: Revision, now: Timestamp) {
        if revision.belongs_to(&self.view) {
            observe_revision(&mut self.planner, &self.view, &revision.view, now);
        }
        self.revisions
            .insert(Name::clone(&revision.view.name), revision);
    }

    fn forget_revision(&mut self, name: Name, uid: &Uid, now: Timestamp) {
        let gone = Event::RevisionGone {
            namespace: Name::clone(&self.view.key.namespace),
            name,
            uid: uid.clone(),
        };
        self.planner.observe(gone, now);
    }

    fn recount(&mut self) {
        self.hashes.clear();
        self.slow.clear();
        let pods = std::mem::take(&mut self.pods);
        pods.values().for_each(|pod| self.count(pod));
        self.pods = pods;
    }

    fn count(&mut self, pod: &Pod) {
        let view = &pod.view;
        if !pod_belongs_to(view, &self.view) {
            return;
        }
        if let Some(key) = slow_key(view) {
            self.slow.insert(key);
        }
        let Some(hash) = view.labels.label(HASH_LABEL) else {
            return;
        };
        let counts = self.hashes.entry(hash.to_owned()).or_default();
        counts.pods += 1;
        if view.deleting {
            return;
        }
        counts.ready += usize::from(view.ready);
        if let Some(node) = view.placed_on() {
            *counts.nodes.entry(Name::clone(node)).or_default() += 1;
        }
    }

    fn uncount(&mut self, view: &PodView) {
        if !pod_belongs_to(view, &self.view) {
            return;
        }
        if let Some(key) = slow_key(view) {
            self.slow.remove(&key);
        }
        let Some(hash) = view.labels.label(HASH_LABEL) else {
            return;
        };
        let Some(counts) = self.hashes.get_mut(hash) else {
            return;
        };
        counts.pods -= 1;
        if counts.pods == 0 {
            self.hashes.remove(hash);
            return;
        }
        if view.deleting {
            return;
        }
        counts.ready -= usize::from(view.ready);
        if let Some(node) = view.placed_on()
            && let Some(pods) = counts.nodes.get_mut(node)
        {
            *pods -= 1;
            if *pods == 0 {
                counts.nodes.remove(node);
            }
        }
    }

    fn revision_rows(&self) -> Vec<RevisionStatus> {
        let current = self.rollout.current.as_deref();
        let revisions = self.revisions.values();
        let known: BTreeMap<Name, &Revision> = revisions
            .filter(|revision| revision.belongs_to(&self.view))
            .map(|revision| (revision.view.hash(), revision))
            .collect();
        let mut hashes: BTreeSet<&str> = self.hashes.keys().map(String::as_str).collect();
        hashes.extend(current.filter(|current| known.contains_key(*current)));
        let row = |hash: &&str| {
            let revision = known.get(*hash);
            let counts = self.hashes.get(*hash);
            RevisionStatus {
                revision: revision.map(|revision| revision.view.revision),
                hash: (*hash).to_owned(),
                newest: current == Some(*hash),
                nodes: counts.map_or(0, |counts| counts.nodes.len()),
                ready: counts.map_or(0, |counts| counts.ready),
                created: revision.map(|revision| revision.view.created),
                change_cause: revision.and_then(|revision| revision.change_cause.clone()),
            }
        };
        let mut rows: Vec<RevisionStatus> = hashes.iter().map(row).collect();
        rows.sort_by(|a, b| (b.newest, b.revision, &a.hash).cmp(&(a.newest, a.revision, &b.hash)));
        rows
    }

    fn slowest(&self, now: Timestamp) -> Vec<SlowNode> {
        let slow = self.slow.iter().take(SLOW_NODES);
        slow.filter_map(|(since, node, uid)| {
            let pod = self.pods.get(uid)?.unready.as_ref()?;
            let (_, reasons) = pod_health(pod, now);
            Some(SlowNode {
                node: Name::clone(node),
                pod: Name::clone(&pod.view.name),
                since: *since,
                reasons,
            })
        })
        .collect()
    }
}

/// The place of a pod among those that are not ready; `None` if it is ready, being deleted or on no
/// node.
fn slow_key(pod: &PodView) -> Option<SlowKey> {
    if pod.ready || pod.deleting {
        return None;
    }
    let node = Name::clone(pod.placed_on()?);
    Some((pod.created, node, pod.uid.clone()))
}
