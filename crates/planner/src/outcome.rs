//! What came of actions: replies are read as if the watch had told of them already, failures set the
//! time of the next attempt.

use pandaemon_types::{Name, PodView, Timestamp, Uid};

use crate::{
    action::{Action, PodRef, Purpose, Severity},
    cell::{BackOff, Claim, Doomed, PodState},
    event::{Failure, FailureKind, Reply},
    index::{NodeId, Planner},
    revision::fnv64,
    set::Set,
    view::{RevisionView, SetKey, Status},
};

const RETRY: i64 = 1000;

impl Planner {
    pub(crate) fn outcome(
        &mut self,
        action: Action,
        result: Result<Reply, Failure>,
        now: Timestamp,
    ) {
        match action {
            Action::CreatePod {
                set, node, name, ..
            } => {
                self.touch(&set);
                let node = self.roster.number(&node);
                match result {
                    Ok(reply) => self.created(&set, node, &name, reply, now),
                    Err(failure) => self.create_failed(&set, node, &name, &failure, now),
                }
            }
            Action::DeletePod { set, node, pod, .. } => {
                self.touch(&set);
                let node = self.roster.number(&node);
                self.deleted(&set, node, &pod, result, now);
            }
            Action::PatchPod {
                set, pod, purpose, ..
            } => {
                self.touch(&set);
                self.patched(&set, &pod.uid, purpose, result, now);
            }
            Action::CreateRevision { set, .. } => {
                self.touch(&set);
                self.revision_created(&set, result, now);
            }
            Action::PatchRevision { set, .. } => {
                self.touch(&set);
                let settled = match result {
                    Ok(Reply::Revision(view)) => {
                        self.revision_told(*view);
                        true
                    }
                    Ok(_) => true,
                    Err(failure) => failure.kind == FailureKind::NotFound,
                };
                self.revised(&set, settled, now);
            }
            Action::DeleteRevision { set, name, .. } => {
                self.touch(&set);
                let settled = match &result {
                    Ok(_) => true,
                    Err(failure) => failure.kind == FailureKind::NotFound,
                };
                if settled {
                    self.revision_gone(&(Name::clone(&set.namespace), name));
                }
                self.revised(&set, settled, now);
            }
            Action::WriteStatus { set, uid, status } => {
                // A set that is gone, or another one under its name, is not what the reply is about.
                if self.sets.get(&set).is_some_and(|set| set.view.uid == uid) {
                    self.touch(&set);
                    self.status_written(&set, status, result, now);
                }
            }
            Action::Event { .. } => {}
        }
    }

    fn touch(&mut self, key: &SetKey) {
        if self.sets.contains_key(key) {
            self.dirty.insert(key.clone());
        }
    }

    fn pod_mut(&mut self, uid: &Uid) -> Option<&mut PodState> {
        let number = self.pods.find(uid)?;
        self.pods.get_mut(number)
    }

    // === pods ===

    fn created(&mut self, key: &SetKey, node: NodeId, name: &Name, reply: Reply, now: Timestamp) {
        if let Some(set) = self.sets.get_mut(key) {
            set.pace.succeeded();
            note(
                set,
                Severity::Normal,
                "SuccessfulCreate",
                format!("Created pod: {name}"),
            );
        }
        if let Reply::Pod(view) = reply {
            self.told(*view, now);
        }
        self.arrived(key, node, name);
    }

    /// A pod as a reply showed it: newer than what the watch has told, unless it is gone already.
    fn told(&mut self, view: PodView, now: Timestamp) {
        if self.pods.find(&view.uid).is_some() || !self.has_seen(view.resource_version) {
            self.pod_changed(view, now);
        }
    }

    fn create_failed(
        &mut self,
        key: &SetKey,
        node: NodeId,
        name: &Name,
        failure: &Failure,
        now: Timestamp,
    ) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        let spread = fnv64([key.name.as_bytes(), key.namespace.as_bytes()]);
        set.pace.failed(now, failure.retry_after, spread);
        match failure.kind {
            FailureKind::NamespaceTerminating => {
                set.pace.retry_at = Some(now.plus_seconds(60));
            }
            FailureKind::NotFound | FailureKind::Refused | FailureKind::Unclear => {
                let message = format!("Error creating: {}", failure.message);
                note(set, Severity::Warning, "FailedCreate", message);
            }
        }
        let retry_at = set.pace.retry_at.unwrap_or(now);
        let creating = set.cells.get_mut(node).and_then(|cell| {
            let creating = cell.creating.as_mut()?;
            (creating.name == *name).then_some(creating)
        });
        let unclear = match failure.kind {
            FailureKind::Unclear => true,
            FailureKind::Refused => creating.as_ref().is_some_and(|known| known.unclear),
            FailureKind::NotFound | FailureKind::NamespaceTerminating => false,
        };
        if !unclear {
            self.arrived(key, node, name);
            return;
        }
        // The pod may exist. Asking again under the same name tells.
        if let Some(creating) = creating {
            if creating.sent {
                set.pace.creating = set.pace.creating.saturating_sub(1);
            }
            (creating.sent, creating.unclear) = (false, true);
            creating.retry_at = retry_at;
            set.touch(node);
        }
    }

    fn deleted(
        &mut self,
        key: &SetKey,
        node: NodeId,
        pod: &PodRef,
        result: Result<Reply, Failure>,
        now: Timestamp,
    ) {
        let PodRef { name, uid } = pod;
        let set = self.sets.get_mut(key);
        if let Some(set) = set {
            set.pace.deleting = set.pace.deleting.saturating_sub(1);
            set.touch(node);
            match &result {
                Ok(_) => {
                    let message = format!("Deleted pod: {name}");
                    note(set, Severity::Normal, "SuccessfulDelete", message);
                }
                Err(failure) if failure.kind == FailureKind::NotFound => {}
                Err(failure) => {
                    let message = format!("Error deleting: {}", failure.message);
                    note(set, Severity::Warning, "FailedDelete", message);
                }
            }
        }
        match result {
            Ok(Reply::Pod(view)) => self.told(*view, now),
            Err(failure) if failure.kind == FailureKind::NotFound => self.pod_gone(uid),
            Ok(_) => {}
            Err(_) => {
                let again = now.plus_millis(RETRY);
                if let Some(pod) = self.pod_mut(uid) {
                    pod.doomed = Doomed::Failed(again);
                }
                if let Some(set) = self.sets.get_mut(key) {
                    set.timers.insert((again, node));
                }
            }
        }
    }

    fn patched(
        &mut self,
        key: &SetKey,
        uid: &Uid,
        purpose: Purpose,
        result: Result<Reply, Failure>,
        now: Timestamp,
    ) {
        if let Some(pod) = self.pod_mut(uid) {
            pod.patching = false;
        }
        let failed = result.is_err();
        match result {
            Ok(Reply::Pod(view)) => self.told(*view, now),
            Ok(_) => {}
            Err(failure) if failure.kind == FailureKind::NotFound => self.pod_gone(uid),
            Err(_) => self.patch_failed(key, uid, purpose, now),
        }
        // The pod may have changed meanwhile, so that something else is due now.
        if let Some(number) = self.pods.find(uid)
            && let Some(pod) = self.pods.get(number)
            && match pod.set {
                Some((_, Claim::Owned)) => false,
                Some((_, Claim::Adopting { sent: true })) => !failed,
                Some((_, Claim::Adopting { sent: false })) | None => true,
            }
        {
            self.detach(number);
            self.attach(number);
        }
    }

    fn patch_failed(&mut self, key: &SetKey, uid: &Uid, purpose: Purpose, now: Timestamp) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        let again = Some(now.plus_millis(RETRY));
        match purpose {
            Purpose::Relabel => {
                set.reckon = true;
                set.revise_after = again;
            }
            Purpose::Adopt | Purpose::Release => {
                set.claims.insert(uid.clone());
                set.claim_after = again;
            }
        }
    }

    // === revisions and status ===

    fn revised(&mut self, key: &SetKey, settled: bool, now: Timestamp) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        set.revising = set.revising.saturating_sub(1);
        set.reckon = true;
        set.revise_after = (!settled).then(|| now.plus_millis(RETRY));
    }

    fn revision_created(&mut self, key: &SetKey, result: Result<Reply, Failure>, now: Timestamp) {
        let settled = match result {
            Ok(Reply::Revision(view)) => {
                self.collide(key, &view);
                self.revision_told(*view);
                true
            }
            Ok(_) => true,
            Err(failure) => {
                if let Some(set) = self.sets.get_mut(key)
                    && failure.kind != FailureKind::NamespaceTerminating
                {
                    let message = format!("Error creating: {}", failure.message);
                    note(set, Severity::Warning, "FailedCreate", message);
                }
                false
            }
        };
        self.revised(key, settled, now);
    }

    /// A revision with other data has the name: count the collision, so that the next hash differs.
    fn collide(&mut self, key: &SetKey, view: &RevisionView) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        if view.canonical == set.view.canonical {
            return;
        }
        if view.name == crate::revision::new_name(&set.view) {
            let count = set.view.status.collision_count.unwrap_or(0);
            set.view.status.collision_count = Some(count + 1);
            set.collided = true;
        }
    }

    fn status_written(
        &mut self,
        key: &SetKey,
        status: Status,
        result: Result<Reply, Failure>,
        now: Timestamp,
    ) {
        if let Some(set) = self.sets.get_mut(key) {
            set.writing = None;
            match &result {
                Ok(_) => {
                    set.view.status = status;
                    set.write_after = None;
                }
                Err(failure) => {
                    let pause = failure.retry_after.max(RETRY);
                    set.write_after = Some(now.plus_millis(pause));
                }
            }
        }
        if let Ok(Reply::Set(view)) = result {
            self.set_changed(*view);
        }
    }

    /// A failed pod was given up: the next one on this node gets longer.
    pub(crate) fn back_off(set: &mut Set, node: NodeId, now: Timestamp) {
        let generation = set.view.generation;
        if let Some(cell) = set.cells.get_mut(node) {
            let last = cell.back_off.as_deref().copied();
            cell.back_off = Some(Box::new(BackOff::next(last, generation, now)));
        }
    }
}

/// Files an event for the next plan.
pub(crate) fn note(set: &mut Set, severity: Severity, reason: &'static str, message: String) {
    let (key, uid) = (set.view.key.clone(), set.view.uid.clone());
    set.notes.push(Action::Event {
        set: key,
        uid,
        severity,
        reason,
        message,
    });
}
