//! Outcomes of actions. An object in a reply is applied as if the watch had delivered it; a failure
//! sets the time of the next attempt. Only what became of the objects counts if the set is not the
//! one that made the request.

mod of_sets;

use pandaemon_types::{Name, PodView, Timestamp, Uid, hash::fnv1a_64};

use crate::{
    action::{Action, PodRef, Severity},
    event::{Failure, FailureKind, Reply},
    ids::NodeId,
    planner::Planner,
    pod_state::{Deletion, Ownership, PodState},
    view::SetKey,
};

/// Milliseconds before a failed request is repeated.
const RETRY: i64 = 1000;
/// How long a creation without an answer may take effect, in milliseconds: a server gives up a
/// request after a minute, and the watch may lag as long.
const MAY_TAKE_EFFECT: i64 = 120_000;

impl Planner {
    pub(crate) fn outcome(
        &mut self,
        action: Action,
        result: Result<Reply, Failure>,
        now: Timestamp,
    ) {
        let set = action.set();
        // Another set may have the name since: the request does not count for that one.
        let is_current = self
            .sets
            .get(set)
            .is_some_and(|known| known.view.uid == *action.set_uid());
        if is_current {
            self.dirty.insert(set.clone());
        }
        match action {
            Action::CreatePod {
                set, node, name, ..
            } if is_current => {
                let node = self.nodes.find(&node);
                match result {
                    Ok(reply) => self.created(&set, node, &name, reply, now),
                    Err(failure) => self.create_failed(&set, node, &name, &failure, now),
                }
            }
            Action::CreatePod { .. } => {
                if let Ok(Reply::Pod(view) | Reply::ExistingPod(view)) = result {
                    self.apply_reply(*view, now);
                }
            }
            Action::DeletePod { set, node, pod, .. } => {
                let set = is_current.then_some(&set);
                let node = self.nodes.find(&node);
                self.deleted(set, node, &pod, result, now);
            }
            Action::PatchPod { set, pod, .. } => {
                self.patched(is_current.then_some(&set), &pod, result, now);
            }
            Action::CreateRevision { set, .. } if is_current => {
                self.revision_created(&set, result, now);
            }
            Action::CreateRevision { .. } => {
                if let Ok(Reply::Revision(view)) = result {
                    self.apply_revision_reply(*view);
                }
            }
            Action::PatchRevision { set, .. } => {
                let failure = match result {
                    Ok(Reply::Revision(view)) => {
                        self.apply_revision_reply(*view);
                        None
                    }
                    Ok(_) => None,
                    Err(failure) => Some(failure),
                };
                if is_current {
                    self.revision_request_done(&set, failure.as_ref(), now);
                }
            }
            Action::DeleteRevision { set, name, uid, .. } => {
                let failure = result.err();
                let is_gone = |failure: &Failure| failure.kind == FailureKind::NotFound;
                if failure.as_ref().is_none_or(is_gone) {
                    self.remove_revision_of_uid(&(Name::clone(&set.namespace), name), &uid);
                }
                if is_current {
                    self.revision_request_done(&set, failure.as_ref(), now);
                }
            }
            Action::WriteStatus { set, status, .. } if is_current => {
                self.status_written(&set, status, result, now);
            }
            Action::WriteStatus { .. } | Action::Event { .. } => {}
        }
    }

    fn pod_mut(&mut self, uid: &Uid) -> Option<&mut PodState> {
        let number = self.pods.find(uid)?;
        self.pods.get_mut(number)
    }

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
            let attempt = creating.attempt;
            set.use_up_name(node, &self.nodes.name(node), name, attempt);
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
        let unclear_until = match failure.kind {
            FailureKind::Unclear => Some(now.plus_millis(MAY_TAKE_EFFECT)),
            FailureKind::Refused => creating.unclear_until.filter(|until| now < *until),
            FailureKind::NotFound | FailureKind::NamespaceTerminating => None,
        };
        if unclear_until.is_none() {
            self.creation_observed(key, node, name);
            return;
        }
        // The pod may exist. Repeating the request with the same name finds out, unless a watch has
        // shown it.
        if creating.sent {
            set.creates.end();
        }
        (creating.sent, creating.unclear_until) = (false, unclear_until);
        set.touch(node);
        let state = self.sets.get(key).and_then(|set| set.nodes.get(node));
        let pods = state.map(|state| self.pods_of(state)).unwrap_or_default();
        let is_shown = pods.iter().any(|(_, pod)| *pod.name == **name);
        if is_shown
            && self.creation_observed(key, node, name)
            && let Some(set) = self.sets.get_mut(key)
        {
            set.creates.forget(node);
        }
    }

    /// A deletion is over. `key` is `None` if its set is gone.
    fn deleted(
        &mut self,
        key: Option<&SetKey>,
        node: Option<NodeId>,
        pod: &PodRef,
        result: Result<Reply, Failure>,
        now: Timestamp,
    ) {
        let PodRef { name, uid } = pod;
        let mut until = now.plus_millis(RETRY);
        if let Some(key) = key
            && let Some(set) = self.sets.get_mut(key)
        {
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
                let id = self.pods.find(uid);
                if let Some(pod) = self.pod_mut(uid) {
                    pod.deletion = if failure.kind == FailureKind::Unclear {
                        Deletion::Unanswered(until)
                    } else {
                        Deletion::Refused
                    };
                }
                id.into_iter().for_each(|id| self.touch_pod(id));
            }
        }
    }

    /// A patch of a pod is over. `key` is `None` if its set is gone.
    fn patched(
        &mut self,
        key: Option<&SetKey>,
        pod: &PodRef,
        result: Result<Reply, Failure>,
        now: Timestamp,
    ) {
        let PodRef { name, uid } = pod;
        let id = self.pods.find(uid);
        if let Some(pod) = self.pod_mut(uid) {
            pod.patching = false;
        }
        if let Some(key) = key
            && let Some(set) = self.sets.get_mut(key)
        {
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
}

/// Jitter for the back-off of requests about an object of a set.
fn spread(key: &SetKey, name: &str) -> u64 {
    fnv1a_64([&*key.name, &*key.namespace, name].map(str::as_bytes))
}
