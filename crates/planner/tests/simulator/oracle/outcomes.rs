//! What the outcomes of requests tell.

use super::{
    Oracle,
    work::{Failures, MAY_TAKE_EFFECT, Target, Work},
};
use crate::{
    api::{Object, Stored},
    request::{Answer, FailureKind, Outcome, Request},
    revisions,
    value::{Key, Text},
};

impl Oracle {
    pub(super) fn outcome(&mut self, outcome: &Outcome) {
        let now = self.now;
        let answer = outcome.result.as_ref().ok();
        let stored = answer.and_then(Answer::object).cloned();
        if stored.is_some() {
            self.collision(outcome);
        }
        match &outcome.request {
            Request::CreatePod {
                set_uid,
                node,
                name,
                ..
            } => {
                let taken = match &outcome.result {
                    Ok(Answer::Existing(found)) => !self.is_asked_for(found, set_uid, node),
                    Ok(_) | Err(_) => false,
                };
                if let Some(work) = self.work.get_mut(set_uid) {
                    if taken {
                        // The next attempt has another name.
                        work.created(node, name);
                    } else {
                        created(work, node, name, outcome, now);
                    }
                }
                // A watch may have shown the pod while the request was under way.
                let key = Key::new(&outcome.request.set().namespace, name);
                let shown = self.known.pods.values().map(|known| known.pod.clone());
                let shown: Vec<_> = shown.filter(|pod| pod.key == key).collect();
                if failed(outcome) == Some(FailureKind::Unclear) {
                    shown.iter().for_each(|pod| self.pod_seen(pod));
                }
            }
            Request::DeletePod { .. } => self.deleted(outcome),
            Request::PatchPod { set_uid, uid, .. } => {
                if let Some(work) = self.work.get_mut(set_uid) {
                    work.patching.remove(uid);
                }
                self.settle(set_uid, Target::Patch(uid.clone()), outcome);
                if failed(outcome) == Some(FailureKind::NotFound) {
                    self.known.forget_pod(uid);
                }
            }
            Request::CreateRevision { set_uid, .. } | Request::PatchRevision { set_uid, .. } => {
                self.revised(set_uid, outcome);
            }
            Request::DeleteRevision {
                set,
                set_uid,
                name,
                uid,
            } => {
                self.revised(set_uid, outcome);
                let key = Key::new(&set.namespace, name);
                if matches!(failed(outcome), None | Some(FailureKind::NotFound))
                    && self
                        .known
                        .revisions
                        .get(&key)
                        .is_some_and(|r| r.uid == *uid)
                {
                    self.known.revisions.remove(&key);
                }
            }
            Request::WriteStatus { set_uid, .. } => {
                if let Some(work) = self.work.get_mut(set_uid) {
                    work.writing = false;
                }
                self.settle(set_uid, Target::Status, outcome);
            }
            Request::Event { .. } => {}
        }
        if let Some(stored) = stored {
            self.known.replied(&stored, now);
            if let Some(pod) = stored.pod() {
                self.pod_seen(pod);
            }
        }
    }

    /// Whether a pod that has the name of one to be created is that one: not if it has another
    /// owner, other labels, is on another node or is being deleted.
    fn is_asked_for(&self, found: &Stored, set_uid: &Text, node: &Text) -> bool {
        let mut sets = self.known.sets.values();
        let set = sets.find(|set| set.set.uid == *set_uid);
        set.zip(found.pod()).is_some_and(|(set, pod)| {
            pod.is_owned_by(set_uid)
                && set.claims(pod)
                && pod.place() == Some(node)
                && !pod.deleting
        })
    }

    /// Counts a failure, or forgets the earlier ones.
    fn settle(&mut self, set_uid: &Text, target: Target, outcome: &Outcome) {
        let now = self.now;
        let creates_or_writes = matches!(
            outcome.request,
            Request::CreateRevision { .. } | Request::WriteStatus { .. }
        );
        let Some(work) = self.work.get_mut(set_uid) else {
            return;
        };
        match &outcome.result {
            Ok(_) => work.succeeded(&target),
            // What is to be deleted or patched is gone.
            Err(failure) if failure.kind == FailureKind::NotFound && !creates_or_writes => {
                work.forget(&target);
            }
            Err(failure) => work.failed(target, failure, now),
        }
    }

    fn deleted(&mut self, outcome: &Outcome) {
        let Request::DeletePod {
            set_uid,
            node,
            name,
            uid,
            ..
        } = &outcome.request
        else {
            return;
        };
        let target = Target::Delete(node.clone());
        self.settle(set_uid, target.clone(), outcome);
        let mut waits = i64::MIN;
        if let Some(work) = self.work.get_mut(set_uid) {
            waits = work.failures(&target).map_or(waits, Failures::latest);
            work.deleting = work.deleting.saturating_sub(1);
            match &outcome.result {
                Ok(_) => work.events.push(("SuccessfulDelete", name.to_string())),
                Err(failure) if failure.kind == FailureKind::NotFound => {}
                Err(failure) => work.events.push(("FailedDelete", failure.message.clone())),
            }
        }
        match failed(outcome) {
            None => {}
            Some(FailureKind::NotFound) => self.known.forget_pod(uid),
            Some(kind) => {
                if let Some(known) = self.known.pods.get_mut(uid) {
                    known.delete_sent = false;
                    known.delete_failed = true;
                    known.delete_unclear |= kind == FailureKind::Unclear;
                    known.delete_waits = waits;
                }
            }
        }
    }

    fn revised(&mut self, set_uid: &Text, outcome: &Outcome) {
        self.settle(set_uid, Target::Revisions, outcome);
        let creates = matches!(outcome.request, Request::CreateRevision { .. });
        if let Some(work) = self.work.get_mut(set_uid) {
            work.revising = work.revising.saturating_sub(1);
            work.revised = true;
            if let Err(failure) = &outcome.result
                && creates
                && failure.kind != FailureKind::NamespaceTerminating
            {
                work.events.push(("FailedCreate", failure.message.clone()));
            }
        }
    }

    /// The name of a new revision belongs to one with other data: the collision count goes up.
    fn collision(&mut self, outcome: &Outcome) {
        let Request::CreateRevision { set, set_uid, .. } = &outcome.request else {
            return;
        };
        let known = self.known.sets.get_mut(set);
        let known = known.filter(|known| known.set.uid == *set_uid);
        let (Some(known), Ok(Answer::Object(stored))) = (known, &outcome.result) else {
            return;
        };
        let Object::Revision(found) = &stored.object else {
            return;
        };
        let count = known.set.status.collisions;
        let wanted = format!(
            "{}-{}",
            known.set.key.name,
            revisions::hash(&known.set.data, count)
        );
        if *found.key.name == *wanted && found.data != known.set.data {
            known.set.status.collisions = Some(count.unwrap_or(0) + 1);
        }
    }
}

fn failed(outcome: &Outcome) -> Option<FailureKind> {
    outcome.result.as_ref().err().map(|failure| failure.kind)
}

fn created(work: &mut Work, node: &Text, name: &Text, outcome: &Outcome, now: i64) {
    let target = Target::Create(node.clone());
    let failure = match &outcome.result {
        Ok(_) => {
            work.succeeded(&target);
            work.events.push(("SuccessfulCreate", name.to_string()));
            work.created(node, name);
            return;
        }
        Err(failure) => failure,
    };
    if failure.kind != FailureKind::NamespaceTerminating {
        work.events.push(("FailedCreate", failure.message.clone()));
    }
    let creating = work.creating.get_mut(node);
    let Some(creating) = creating.filter(|creating| creating.name == *name) else {
        // The watch has shown the pod meanwhile.
        return;
    };
    let unclear_until = match failure.kind {
        FailureKind::Unclear => Some(now + MAY_TAKE_EFFECT),
        FailureKind::Refused => creating.unclear_until.filter(|until| now < *until),
        FailureKind::NotFound | FailureKind::NamespaceTerminating => None,
    };
    if unclear_until.is_some() {
        creating.sent = false;
        creating.unclear_until = unclear_until;
    } else {
        work.created(node, name);
    }
    work.failed(target, failure, now);
}
