//! What a controller has been told, kept a second time in the plainest way, and the invariants that every
//! plan must keep given that knowledge. It shares no code with the planner but placement.

use std::collections::{BTreeMap, BTreeSet};

use pandaemon_placement::{DaemonFit, PodNeeds, daemon_fit};
use pandaemon_planner::{
    Action, DaemonSetView, DeleteReason, Event, Failure, FailureKind, HASH_LABEL, Listed, Reply,
    RevisionView, SetKey, Strategy,
};
use pandaemon_types::{Labels as _, Name, NodeView, Phase, PodView, Timestamp, Uid};

use crate::api::{hash_of, is_ended, tag_of};

/// A request for a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    /// Its fate is unknown: it is under way, or was never answered.
    Open,
    /// An earlier request for the same name was never answered: a refusal now does not tell.
    Unclear,
}

#[derive(Debug, Clone)]
struct OraclePod {
    view: PodView,
    /// A deletion was handed out and has not failed.
    sent: bool,
}

impl OraclePod {
    fn is_active(&self) -> bool {
        !self.view.deleting && !self.sent
    }

    fn is_present(&self) -> bool {
        !(self.view.deleting && is_ended(&self.view))
    }
}

#[derive(Debug)]
struct OracleSet {
    view: DaemonSetView,
    needs: PodNeeds,
}

/// What one controller knows.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    sets: BTreeMap<SetKey, OracleSet>,
    nodes: BTreeMap<Name, NodeView>,
    pods: BTreeMap<Uid, OraclePod>,
    on: BTreeMap<Name, BTreeSet<Uid>>,
    revisions: BTreeMap<(Name, Name), RevisionView>,
    /// Requests for pods whose fate is open, by set, node and name.
    pending: BTreeMap<(Uid, Name), BTreeMap<Name, Pending>>,
    pods_seen: u64,
    /// Creations and deletions under way, by set.
    under_way: BTreeMap<Uid, [usize; 2]>,
    /// The latest time that the controller's clock has shown.
    pub(crate) latest: Timestamp,
    /// Whether that clock was set back.
    pub(crate) set_back: bool,
}

/// A broken invariant: its kind, which shrinking keeps, and a sentence.
pub(crate) type Violation = (&'static str, String);

macro_rules! ensure {
    ($condition:expr, $kind:expr, $($text:tt)*) => {
        if !$condition {
            return Err(($kind, format!($($text)*)));
        }
    };
}
pub(crate) use ensure;

impl Oracle {
    // === events ===

    pub(crate) fn observe(&mut self, event: &Event, now: Timestamp) {
        match event {
            Event::Set(view) => self.set(view),
            Event::SetGone(key) => drop(self.sets.remove(key)),
            Event::Node(view) => drop(self.nodes.insert(view.name.clone(), view.clone())),
            Event::NodeGone(name) => drop(self.nodes.remove(name)),
            Event::Pod(view) => {
                self.pods_seen = self.pods_seen.max(view.resource_version);
                self.pod(view, now);
            }
            Event::PodGone {
                uid,
                resource_version,
            } => {
                self.pods_seen = self.pods_seen.max(*resource_version);
                self.forget(uid);
            }
            Event::Revision(view) => self.revision(view),
            Event::RevisionGone { namespace, name } => {
                self.revisions.remove(&(namespace.clone(), name.clone()));
            }
            Event::Listed(listed) => self.listed(listed),
            Event::Outcome { action, result } => self.outcome(action, result, now),
        }
    }

    /// The clock was set back: what lies in the future counts as the moment it was heard of.
    pub(crate) fn rewind(&mut self, now: Timestamp) {
        self.set_back = true;
        for pod in self.pods.values_mut() {
            pod.view.ready_since = pod.view.ready_since.map(|since| since.min(now));
        }
    }

    fn set(&mut self, view: &DaemonSetView) {
        let newer = |old: &OracleSet| {
            old.view.uid != view.uid || old.view.resource_version < view.resource_version
        };
        if self.sets.get(&view.key).is_none_or(newer) {
            let spec = view.template.get("spec").cloned().unwrap_or_default();
            let needs = PodNeeds::for_daemon(&spec);
            self.sets.insert(
                view.key.clone(),
                OracleSet {
                    view: view.clone(),
                    needs,
                },
            );
        }
    }

    fn revision(&mut self, view: &RevisionView) {
        let key = (view.namespace.clone(), view.name.clone());
        let newer = |old: &RevisionView| {
            old.uid != view.uid || old.resource_version < view.resource_version
        };
        if self.revisions.get(&key).is_none_or(newer) {
            self.revisions.insert(key, view.clone());
        }
    }

    fn pod(&mut self, view: &PodView, now: Timestamp) {
        let mut view = view.clone();
        let old = self.pods.get(&view.uid);
        if old.is_some_and(|old| old.view.resource_version >= view.resource_version) {
            return;
        }
        if view.ready_since.is_some_and(|since| now < since) {
            let since = old
                .filter(|old| old.view.ready)
                .and_then(|old| old.view.ready_since);
            view.ready_since = Some(since.filter(|since| *since <= now).unwrap_or(now));
        }
        let sent = old.is_some_and(|old| old.sent);
        if let Some(node) = view.placed_on() {
            self.on
                .entry(node.clone())
                .or_default()
                .insert(view.uid.clone());
            if let Some(owner) = &view.owner {
                self.creation_observed(&owner.uid.clone(), &node.clone(), &view.name.clone());
            }
        }
        self.pods.insert(view.uid.clone(), OraclePod { view, sent });
    }

    fn forget(&mut self, uid: &Uid) {
        let Some(pod) = self.pods.remove(uid) else {
            return;
        };
        if let Some(on) = pod.view.placed_on().and_then(|node| self.on.get_mut(node)) {
            on.remove(uid);
        }
    }

    fn listed(&mut self, listed: &Listed) {
        match listed {
            Listed::Sets(keys) => self.sets.retain(|key, _| keys.contains(key)),
            Listed::Nodes(names) => self.nodes.retain(|name, _| names.contains(name)),
            Listed::Revisions(keys) => self.revisions.retain(|key, _| keys.contains(key)),
            Listed::Pods {
                uids,
                resource_version,
            } => {
                self.pods_seen = self.pods_seen.max(*resource_version);
                let gone = |(uid, pod): &(&Uid, &OraclePod)| {
                    !uids.contains(uid) && pod.view.resource_version <= *resource_version
                };
                let gone: Vec<Uid> = self
                    .pods
                    .iter()
                    .filter(gone)
                    .map(|(uid, _)| uid.clone())
                    .collect();
                gone.iter().for_each(|uid| self.forget(uid));
            }
        }
    }

    fn creation_observed(&mut self, set: &Uid, node: &Name, name: &Name) {
        let key = (set.clone(), node.clone());
        if let Some(pending) = self.pending.get_mut(&key) {
            pending.remove(name);
            if pending.is_empty() {
                self.pending.remove(&key);
            }
        }
    }

    fn set_uid(&self, key: &SetKey) -> Option<Uid> {
        self.sets.get(key).map(|set| set.view.uid.clone())
    }

    fn outcome(&mut self, action: &Action, result: &Result<Reply, Failure>, now: Timestamp) {
        let failed = result.as_ref().err().map(|failure| failure.kind);
        if let Ok(Reply::Pod(view)) = result
            && (self.pods.contains_key(&view.uid) || view.resource_version > self.pods_seen)
        {
            self.pod(view, now);
        }
        match action {
            Action::CreatePod {
                uid, node, name, ..
            } => {
                self.under_way.entry(uid.clone()).or_default()[0] -= 1;
                let key = (uid.clone(), node.clone());
                let request = self
                    .pending
                    .get_mut(&key)
                    .and_then(|pending| pending.get_mut(name));
                match (failed, request) {
                    (Some(FailureKind::Unclear), Some(request)) => *request = Pending::Unclear,
                    (Some(FailureKind::Refused), Some(Pending::Unclear)) => {}
                    _ => self.creation_observed(uid, node, name),
                }
            }
            Action::DeletePod { set, pod, .. } => {
                if let Some(uid) = self.set_uid(set) {
                    let count = &mut self.under_way.entry(uid).or_default()[1];
                    *count = count.saturating_sub(1);
                }
                if failed == Some(FailureKind::NotFound) {
                    self.forget(&pod.uid);
                } else if let (Some(_), Some(pod)) = (failed, self.pods.get_mut(&pod.uid)) {
                    pod.sent = false;
                }
            }
            Action::PatchPod { pod, .. } if failed == Some(FailureKind::NotFound) => {
                self.forget(&pod.uid);
            }
            // A reply about another set of that name, or about one that is gone, tells nothing.
            Action::WriteStatus { set, uid, .. } if self.set_uid(set).as_ref() == Some(uid) => {
                if let Ok(Reply::Set(view)) = result {
                    self.set(view);
                }
            }
            Action::CreateRevision { .. } | Action::PatchRevision { .. } => {
                if let Ok(Reply::Revision(view)) = result {
                    self.revision(view);
                }
            }
            Action::DeleteRevision { set, name, .. }
                if matches!(failed, None | Some(FailureKind::NotFound)) =>
            {
                self.revisions
                    .remove(&(set.namespace.clone(), name.clone()));
            }
            _ => {}
        }
    }

    // === questions ===

    fn fit(&self, set: &OracleSet, node: &Name) -> Option<DaemonFit> {
        self.nodes
            .get(node)
            .map(|node| daemon_fit(&set.needs, node))
    }

    /// Whether a pod is the set's, or is about to be adopted.
    fn belongs(set: &DaemonSetView, pod: &PodView) -> bool {
        let ours = match &pod.owner {
            Some(owner) => owner.uid == set.uid,
            None => !pod.deleting && pod.namespace == set.key.namespace,
        };
        ours && set
            .selector
            .as_ref()
            .is_ok_and(|selector| selector.matches(&pod.labels))
    }

    fn pods_on<'a>(
        &'a self,
        set: &'a OracleSet,
        node: &Name,
    ) -> impl Iterator<Item = &'a OraclePod> {
        let uids = self.on.get(node).into_iter().flatten();
        uids.filter_map(|uid| self.pods.get(uid))
            .filter(|pod| Self::belongs(&set.view, &pod.view))
    }

    fn is_available(&self, set: &OracleSet, pod: &PodView) -> bool {
        let wait = set.view.min_ready_seconds;
        let since = pod.ready_since.unwrap_or_default();
        pod.ready && (wait == 0 || since.plus_seconds(wait) < self.latest)
    }

    // === plans ===

    /// Takes in a plan, and checks it.
    pub(crate) fn plan(
        &mut self,
        actions: &[Action],
        tags: &BTreeMap<Uid, String>,
    ) -> Result<(), Violation> {
        let (mut rolled, mut surged) = (BTreeSet::new(), BTreeSet::new());
        for action in actions {
            match action {
                Action::CreatePod {
                    set,
                    uid,
                    node,
                    name,
                    ..
                } => {
                    if self.create(set, uid, node, name, tags)? {
                        surged.insert(set.clone());
                    }
                    let pending = self.pending.entry((uid.clone(), node.clone())).or_default();
                    pending.entry(name.clone()).or_insert(Pending::Open);
                    self.count(uid, 0)?;
                }
                Action::DeletePod {
                    set,
                    node,
                    pod,
                    reason,
                } => {
                    self.delete(set, node, &pod.uid, reason, tags)?;
                    if matches!(reason, DeleteReason::Outdated { .. }) {
                        rolled.insert(set.clone());
                    }
                    if let Some(pod) = self.pods.get_mut(&pod.uid) {
                        pod.sent = true;
                    }
                    if let Some(uid) = self.set_uid(set) {
                        self.count(&uid, 1)?;
                    }
                }
                Action::DeleteRevision { set, name, .. } => self.delete_revision(set, name)?,
                _ => {}
            }
        }
        rolled.iter().try_for_each(|key| self.unavailability(key))?;
        surged.iter().try_for_each(|key| self.surge(key, tags))
    }

    fn count(&mut self, set: &Uid, which: usize) -> Result<(), Violation> {
        let count = &mut self.under_way.entry(set.clone()).or_default()[which];
        *count += 1;
        ensure!(
            *count <= 250,
            "burst",
            "{count} requests of {set} are under way"
        );
        Ok(())
    }

    /// Checks a creation; whether it is a surge.
    fn create(
        &self,
        key: &SetKey,
        uid: &Uid,
        node: &Name,
        name: &Name,
        tags: &BTreeMap<Uid, String>,
    ) -> Result<bool, Violation> {
        let set = self.sets.get(key).filter(|set| set.view.uid == *uid);
        let Some(set) = set else {
            return Err((
                "create: no set",
                format!("creates a pod for {key}, which is not there"),
            ));
        };
        ensure!(
            !set.view.deleting,
            "create: deleting",
            "creates a pod for {key}, which is being deleted"
        );
        if let Some(pending) = self.pending.get(&(uid.clone(), node.clone())) {
            let other = pending.keys().find(|other| *other != name);
            ensure!(
                other.is_none(),
                "create: asked twice",
                "asks for {name} on {node}, while the fate of {other:?} is open"
            );
            // The same name again: it tells what became of the first request.
            return Ok(false);
        }
        let fit = self.fit(set, node);
        ensure!(
            fit == Some(DaemonFit::Run),
            "create: misplaced",
            "creates {name} on {node}: {fit:?}"
        );
        let present: Vec<&OraclePod> = self
            .pods_on(set, node)
            .filter(|pod| pod.is_present())
            .collect();
        let names: Vec<&Name> = present.iter().map(|pod| &pod.view.name).collect();
        if !is_surge(&set.view) {
            ensure!(
                present.is_empty(),
                "create: two pods",
                "creates {name} on {node} beside {names:?}"
            );
            return Ok(false);
        }
        let unsettled = present.iter().any(|pod| pod.sent && !pod.view.deleting);
        ensure!(
            !unsettled,
            "create: unsettled",
            "creates {name} on {node}, where a deletion may fail: {names:?}"
        );
        let active: Vec<&&OraclePod> = present
            .iter()
            .filter(|pod| pod.is_active() && !is_ended(&pod.view))
            .collect();
        let new = active.iter().any(|pod| is_updated(set, &pod.view, tags));
        ensure!(
            active.len() <= 1 && !new,
            "create: two pods",
            "creates {name} on {node} beside {names:?}"
        );
        Ok(active.iter().any(|pod| self.is_available(set, &pod.view)))
    }

    fn delete(
        &self,
        key: &SetKey,
        node: &Name,
        uid: &Uid,
        reason: &DeleteReason,
        tags: &BTreeMap<Uid, String>,
    ) -> Result<(), Violation> {
        let (Some(set), Some(pod)) = (self.sets.get(key), self.pods.get(uid)) else {
            return Err((
                "delete: unknown",
                format!("deletes {uid} of {key}: unknown"),
            ));
        };
        let name = &pod.view.name;
        let owned = pod
            .view
            .owner
            .as_ref()
            .is_some_and(|owner| owner.uid == set.view.uid);
        ensure!(
            owned,
            "delete: not its own",
            "deletes {name} ({reason}), which is not owned by {key}"
        );
        ensure!(
            !pod.view.deleting,
            "delete: twice",
            "deletes {name}, which is being deleted"
        );
        ensure!(!pod.sent, "delete: twice", "deletes {name} twice");
        let others: Vec<&OraclePod> = self
            .pods_on(set, node)
            .filter(|other| other.view.uid != *uid && other.is_active() && !is_ended(&other.view))
            .collect();
        let updated = is_updated(set, &pod.view, tags);
        let available = self.is_available(set, &pod.view);
        let fit = self.fit(set, node);
        let legal = match reason {
            DeleteReason::Misplaced(_) => match fit {
                Some(DaemonFit::No(_)) => true,
                Some(DaemonFit::Keep(_)) => is_surge(&set.view) && !updated,
                Some(DaemonFit::Run) | None => false,
            },
            // A bound pod of a node that is gone goes only when it would be replaced anyway.
            DeleteReason::NoNode => {
                fit.is_none() && (pod.view.node.is_none() || (!updated && is_surge(&set.view)))
            }
            DeleteReason::Failed => pod.view.phase == Phase::Failed,
            DeleteReason::Succeeded => pod.view.phase == Phase::Succeeded,
            DeleteReason::Duplicate if is_surge(&set.view) => others
                .iter()
                .any(|other| is_updated(set, &other.view, tags) == updated),
            DeleteReason::Duplicate => !others.is_empty(),
            DeleteReason::OutdatedDown => {
                !updated && (!pod.view.ready || set.view.min_ready_seconds > 0)
            }
            DeleteReason::Outdated { .. } => !updated && is_rolling(&set.view),
            DeleteReason::Replaced => {
                let new = others
                    .iter()
                    .find(|other| is_updated(set, &other.view, tags));
                let serves = new.is_some_and(|new| self.is_available(set, &new.view));
                !updated
                    && is_surge(&set.view)
                    && new.is_some()
                    && (serves || !pod.view.ready || !available || set.view.min_ready_seconds > 0)
            }
        };
        ensure!(
            legal,
            "delete: may stay",
            "deletes {name} on {node} because `{reason}`: fit {fit:?}, updated {updated}, available {available}, {} others, phase {:?}",
            others.len(),
            pod.view.phase
        );
        Ok(())
    }

    fn delete_revision(&self, key: &SetKey, name: &Name) -> Result<(), Violation> {
        let found = self.revisions.get(&(key.namespace.clone(), name.clone()));
        let (Some(set), Some(revision)) = (self.sets.get(key), found) else {
            return Ok(());
        };
        let hash = revision.hash();
        let carries = |pod: &&OraclePod| {
            pod.view
                .owner
                .as_ref()
                .is_some_and(|owner| owner.uid == set.view.uid)
                && Self::belongs(&set.view, &pod.view)
                && hash_of(&pod.view) == Some(&*hash)
        };
        let live = self.pods.values().find(carries);
        ensure!(
            live.is_none(),
            "revision in use",
            "deletes {name}, which {:?} carries",
            live.map(|pod| &pod.view.name)
        );
        let twin = |other: &RevisionView| {
            other.uid != revision.uid
                && other.canonical == revision.canonical
                && other.owner == revision.owner
        };
        let spare = revision.canonical != set.view.canonical || self.revisions.values().any(twin);
        ensure!(
            spare,
            "current revision",
            "deletes {name}, which is the current one"
        );
        Ok(())
    }

    // === budgets ===

    fn desired(&self, set: &OracleSet) -> Vec<&Name> {
        let nodes = self
            .nodes
            .values()
            .filter(|node| daemon_fit(&set.needs, node).should_run());
        nodes.map(|node| &node.name).collect()
    }

    /// After deletions that the budget allowed: no more nodes down than it says.
    fn unavailability(&self, key: &SetKey) -> Result<(), Violation> {
        let set = &self.sets[key];
        let Strategy::RollingUpdate {
            max_unavailable, ..
        } = set.view.strategy
        else {
            return Ok(());
        };
        let desired = self.desired(set);
        let serves = |node: &&&Name| {
            self.pods_on(set, node)
                .any(|pod| pod.is_active() && self.is_available(set, &pod.view))
        };
        let down = desired.len() - desired.iter().filter(serves).count();
        let limit = max_unavailable.of_rounded_up(desired.len()).max(1);
        ensure!(
            down <= limit,
            "budget",
            "{key}: {down} of {} nodes are down, {limit} may be",
            desired.len()
        );
        Ok(())
    }

    /// After surges: no more nodes with an available old pod and a new one than the limit says.
    fn surge(&self, key: &SetKey, tags: &BTreeMap<Uid, String>) -> Result<(), Violation> {
        let set = &self.sets[key];
        if self.set_back && set.view.min_ready_seconds > 0 {
            // What is available depends on when the planner heard of it.
            return Ok(());
        }
        let Strategy::RollingUpdate { max_surge, .. } = set.view.strategy else {
            return Ok(());
        };
        let desired = self.desired(set);
        let surges = |node: &&&Name| {
            let pods: Vec<&OraclePod> = self
                .pods_on(set, node)
                .filter(|pod| pod.is_active())
                .collect();
            let (new, old): (Vec<&&OraclePod>, Vec<&&OraclePod>) = pods
                .iter()
                .partition(|pod| is_updated(set, &pod.view, tags));
            let asked = self
                .pending
                .contains_key(&(set.view.uid.clone(), (**node).clone()));
            // As upstream counts: a node whose new pod is available waits for its old pod to go.
            (asked || !new.is_empty())
                && !new.iter().any(|pod| self.is_available(set, &pod.view))
                && old.iter().any(|pod| self.is_available(set, &pod.view))
        };
        let surging = desired.iter().filter(surges).count();
        let limit = max_surge.of_rounded_up(desired.len());
        ensure!(
            surging <= limit,
            "surge",
            "{key}: {surging} of {} nodes surge, {limit} may",
            desired.len()
        );
        Ok(())
    }
}

fn is_updated(set: &OracleSet, pod: &PodView, tags: &BTreeMap<Uid, String>) -> bool {
    pod.labels.label(HASH_LABEL).is_some()
        && tags
            .get(&pod.uid)
            .is_some_and(|tag| *tag == tag_of(&set.view))
}

fn is_surge(set: &DaemonSetView) -> bool {
    matches!(set.strategy, Strategy::RollingUpdate { max_surge, .. } if max_surge.of_rounded_up(1) > 0)
}

fn is_rolling(set: &DaemonSetView) -> bool {
    matches!(set.strategy, Strategy::RollingUpdate { .. }) && !is_surge(set)
}
