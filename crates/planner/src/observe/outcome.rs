//! Outcomes of actions. An object in a reply is applied as if the watch had delivered it; a failure
//! sets the time of the next attempt.

use pandaemon_types::{Name, PodView, Timestamp, Uid, hash::fnv1a_64};

use crate::{
    action::{Action, PodRef, Severity},
    event::{Failure, FailureKind, Reply},
    ids::NodeId,
    planner::Planner,
    pod_state::{Deletion, Ownership, PodState},
    revision::new_name,
    view::{RevisionView, SetKey, Status},
};

/// Milliseconds before a failed request is repeated.
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
                set,
                uid,
                node,
                name,
                ..
            } => {
                // The outcome is about another set if the name was deleted or reused since.
                if self.sets.get(&set).is_none_or(|set| set.view.uid != uid) {
                    return;
                }
                self.touch(&set);
                let node = self.nodes.find(&node);
                match result {
                    Ok(reply) => self.created(&set, node, &name, reply, now),
                    Err(failure) => self.create_failed(&set, node, &name, &failure, now),
                }
            }
            Action::DeletePod { set, node, pod, .. } => {
                self.touch(&set);
                let node = self.nodes.find(&node);
                self.deleted(&set, node, &pod, result, now);
            }
            Action::PatchPod { set, pod, .. } => {
                self.touch(&set);
                self.patched(&set, &pod, result, now);
            }
            Action::CreateRevision { set, .. } => {
                self.touch(&set);
                self.revision_created(&set, result, now);
            }
            Action::PatchRevision { set, .. } => {
                self.touch(&set);
                let failure = match result {
                    Ok(Reply::Revision(view)) => {
                        self.apply_revision_reply(*view);
                        None
                    }
                    Ok(_) => None,
                    Err(failure) => Some(failure),
                };
                self.revision_request_done(&set, failure.as_ref(), now);
            }
            Action::DeleteRevision { set, name, .. } => {
                self.touch(&set);
                let failure = result.err();
                let is_gone = |failure: &Failure| failure.kind == FailureKind::NotFound;
                if failure.as_ref().is_none_or(is_gone) {
                    self.remove_revision(&(Name::clone(&set.namespace), name));
                }
                self.revision_request_done(&set, failure.as_ref(), now);
            }
            Action::WriteStatus { set, uid, status } => {
                // The reply is about another set if the name was deleted or reused since.
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

    fn created(
        &mut self,
        key: &SetKey,
        node: Option<NodeId>,
        name: &Name,
        reply: Reply,
        now: Timestamp,
    ) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        let node_name = node.map(|node| self.nodes.name(node));
        let is_ours = |view: &PodView| {
            let is_owned = view.owner.as_ref();
            is_owned.is_some_and(|owner| owner.uid == set.view.uid)
                && view.placed_on() == node_name.as_ref()
                && !view.deleting
                && set.view.selects(&view.labels)
        };
        let is_taken = matches!(&reply, Reply::ExistingPod(view) if !is_ours(view));
        if !is_taken {
            set.creates.succeeded(node);
            let message = format!("Created pod: {name}");
            set.record_event(Severity::Normal, "SuccessfulCreate", message);
        }
        if let Reply::Pod(view) | Reply::ExistingPod(view) = reply {
            self.apply_reply(*view, now);
        }
        match node {
            Some(node) if is_taken => self.name_taken(key, node, name),
            Some(node) => {
                self.creation_observed(key, node, name);
            }
            None => {}
        }
    }

    /// The name of a new pod belongs to a pod of another owner or node, or to one that is being
    /// deleted: the next attempt has another name.
    fn name_taken(&mut self, key: &SetKey, node: NodeId, name: &Name) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        let creating = set.nodes.get(node).and_then(|s| s.creating.as_ref());
        if let Some(creating) = creating.filter(|creating| creating.name == *name) {
            let next = creating.attempt.wrapping_add(1);
            set.name_attempts.insert(node, next);
            self.creation_observed(key, node, name);
        }
    }

    /// Applies a pod from a reply. It is newer than what the watch has delivered, unless the pod
    /// was deleted since.
    fn apply_reply(&mut self, view: PodView, now: Timestamp) {
        if self.pods.find(&view.uid).is_some() || !self.has_seen(view.resource_version) {
            self.apply_pod(view, now);
        }
    }

    fn create_failed(
        &mut self,
        key: &SetKey,
        node: Option<NodeId>,
        name: &Name,
        failure: &Failure,
        now: Timestamp,
    ) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        if failure.kind == FailureKind::NotFound {
            if let Some(node) = node {
                self.name_taken(key, node, name);
            }
            return;
        }
        if failure.kind != FailureKind::NamespaceTerminating {
            let message = format!("Error creating: {}", failure.message);
            set.record_event(Severity::Warning, "FailedCreate", message);
        }
        let state = node.and_then(|node| Some((node, set.nodes.get_mut(node)?)));
        let creating = state.and_then(|(node, state)| Some((node, state.creating.as_mut()?)));
        let Some((node, creating)) = creating.filter(|(_, creating)| creating.name == *name) else {
            // The watch has shown the pod meanwhile.
            return;
        };
        set.creates.failed(node, failure, now, spread(key, name));
        let unclear = match failure.kind {
            FailureKind::Unclear => true,
            FailureKind::Refused => creating.unclear,
            FailureKind::NotFound | FailureKind::NamespaceTerminating => false,
        };
        if !unclear {
            self.creation_observed(key, node, name);
            return;
        }
        // The pod may exist. Repeating the request with the same name finds out.
        if creating.sent {
            set.creates.end();
        }
        (creating.sent, creating.unclear) = (false, true);
        set.touch(node);
    }

    fn deleted(
        &mut self,
        key: &SetKey,
        node: Option<NodeId>,
        pod: &PodRef,
        result: Result<Reply, Failure>,
        now: Timestamp,
    ) {
        let PodRef { name, uid } = pod;
        let mut until = now.plus_millis(RETRY);
        if let Some(set) = self.sets.get_mut(key) {
            set.deletes.end();
            // A node that is gone has no state, and nothing to back off for.
            let node = node.filter(|node| set.nodes.get(*node).is_some());
            node.into_iter().for_each(|node| set.touch(node));
            match &result {
                Ok(_) => {
                    set.deletes.succeeded(node);
                    let message = format!("Deleted pod: {name}");
                    set.record_event(Severity::Normal, "SuccessfulDelete", message);
                }
                Err(failure) if failure.kind == FailureKind::NotFound => {
                    set.deletes.succeeded(node);
                }
                Err(failure) => {
                    if let Some(node) = node {
                        set.deletes.failed(node, failure, now, spread(key, name));
                        until = set.deletes.back_off_end(node).unwrap_or(until);
                    }
                    let message = format!("Error deleting: {}", failure.message);
                    set.record_event(Severity::Warning, "FailedDelete", message);
                }
            }
        }
        match result {
            Ok(Reply::Pod(view)) => self.apply_reply(*view, now),
            Err(failure) if failure.kind == FailureKind::NotFound => self.remove_pod(uid),
            Ok(_) => {}
            Err(failure) => {
                if let Some(pod) = self.pod_mut(uid) {
                    pod.deletion = if failure.kind == FailureKind::Unclear {
                        Deletion::Unanswered(until)
                    } else {
                        Deletion::Refused
                    };
                }
            }
        }
    }

    fn patched(
        &mut self,
        key: &SetKey,
        pod: &PodRef,
        result: Result<Reply, Failure>,
        now: Timestamp,
    ) {
        let PodRef { name, uid } = pod;
        let id = self.pods.find(uid);
        if let Some(pod) = self.pod_mut(uid) {
            pod.patching = false;
        }
        if let Some(set) = self.sets.get_mut(key) {
            set.patches.end();
            match (&result, id) {
                (Ok(_), _) => set.patches.succeeded(id),
                (Err(failure), Some(id)) if failure.kind != FailureKind::NotFound => {
                    set.patches.failed(id, failure, now, spread(key, name));
                }
                (Err(_), _) => {}
            }
        }
        let failed = result.is_err();
        match result {
            Ok(Reply::Pod(view)) => self.apply_reply(*view, now),
            Err(failure) if failure.kind == FailureKind::NotFound => self.remove_pod(uid),
            Ok(_) | Err(_) => {}
        }
        // The pod may have changed since the request, so that another patch is due.
        let Some(id) = self.pods.find(uid) else {
            return;
        };
        let set = self.pods.get(id).and_then(|pod| pod.set.as_ref());
        let may_belong_elsewhere = match set {
            Some((_, Ownership::Owned)) => false,
            Some((_, Ownership::Adopting { requested: true })) => !failed,
            Some((_, Ownership::Adopting { requested: false })) | None => true,
        };
        if may_belong_elsewhere {
            self.detach(id);
            self.attach(id);
        } else {
            self.queue_patch(id);
        }
    }

    // === revisions and status ===

    fn revision_request_done(&mut self, key: &SetKey, failure: Option<&Failure>, now: Timestamp) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        set.revising = set.revising.saturating_sub(1);
        set.revisions_dirty = true;
        // What is not there needs no further request.
        if let Some(failure) = failure.filter(|failure| failure.kind != FailureKind::NotFound) {
            set.revise_retry.failed(failure, now, set_spread(key));
        }
    }

    fn revision_created(&mut self, key: &SetKey, result: Result<Reply, Failure>, now: Timestamp) {
        match result {
            Ok(Reply::Revision(view)) => {
                self.count_collision(key, &view);
                self.apply_revision_reply(*view);
                self.revision_request_done(key, None, now);
            }
            Ok(_) => self.revision_request_done(key, None, now),
            Err(failure) => {
                let failure = Failure {
                    // Of a creation that found nothing, the namespace is gone.
                    kind: match failure.kind {
                        FailureKind::NotFound => FailureKind::Refused,
                        kind => kind,
                    },
                    ..failure
                };
                if let Some(set) = self.sets.get_mut(key)
                    && failure.kind != FailureKind::NamespaceTerminating
                {
                    let message = format!("Error creating: {}", failure.message);
                    set.record_event(Severity::Warning, "FailedCreate", message);
                }
                self.revision_request_done(key, Some(&failure), now);
            }
        }
    }

    /// Counts a collision if a revision with other data has the name, so that the next hash
    /// differs.
    fn count_collision(&mut self, key: &SetKey, view: &RevisionView) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        if view.canonical == set.view.canonical {
            return;
        }
        if view.name == new_name(&set.view) {
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
                Ok(reply) => {
                    // Another client may have written the status since, and the watch shown that.
                    let is_newest = match reply {
                        Reply::Set(view) => set.view.resource_version <= view.resource_version,
                        _ => true,
                    };
                    if is_newest {
                        set.view.status = status;
                    }
                    set.write_retry.reset();
                }
                Err(failure) => set.write_retry.failed(failure, now, set_spread(key)),
            }
        }
        if let Ok(Reply::Set(view)) = result {
            self.apply_set(*view);
        }
    }
}

/// Jitter for the back-off of a set's requests.
fn set_spread(key: &SetKey) -> u64 {
    fnv1a_64([&*key.name, &*key.namespace].map(str::as_bytes))
}

/// Jitter for the back-off of requests about an object of a set.
fn spread(key: &SetKey, name: &str) -> u64 {
    fnv1a_64([&*key.name, &*key.namespace, name].map(str::as_bytes))
}
