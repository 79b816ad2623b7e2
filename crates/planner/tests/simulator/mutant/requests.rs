//! What mutants do to requests.

use pandaemon_planner::Action;
use serde_json::json;

use super::{Mutant, Mutation, WITHHELD};
use crate::{
    api::{Api, PatchForm},
    objects::{HASH_LABEL, Pod},
    request::{Answer, Failure, FailureKind, OutcomeResult, Purpose, Reason, Request},
    value::Key,
};

/// A request, and the action that its outcome is reported for; without one the planner is not told.
type Planned = (Option<Action>, Request);

impl Mutant {
    /// What is sent in place of a plan's requests.
    pub(crate) fn requests(&mut self, planned: Vec<Planned>) -> Vec<Planned> {
        let Some(mutation) = self.mutation else {
            return planned;
        };
        let mut requests = Vec::new();
        for (action, request) in planned {
            self.count += 1;
            self.request(mutation, action, request, &mut requests);
        }
        match mutation {
            Mutation::WrongOrder => requests.reverse(),
            // Outcomes that were delivered three times are recorded three times.
            Mutation::FastStart => {
                let mut seen: Vec<Request> = Vec::new();
                requests.retain(|(_, request)| {
                    let is_event = matches!(request, Request::Event { .. });
                    let again = is_event && seen.contains(request);
                    seen.push(request.clone());
                    !again
                });
            }
            Mutation::DeletesFailedAtOnce => self.delete_failed(&mut requests),
            _ => {}
        }
        requests
    }

    fn request(
        &mut self,
        mutation: Mutation,
        action: Option<Action>,
        mut request: Request,
        requests: &mut Vec<Planned>,
    ) {
        match (mutation, &mut request) {
            (Mutation::NewNamePerRequest, Request::CreatePod { name, body, .. }) => {
                *name = format!("{name}-{}", self.count).into();
                body["metadata"]["name"] = json!(&**name);
            }
            (Mutation::WrongHash, Request::CreatePod { body, .. }) => {
                body["metadata"]["labels"][HASH_LABEL] = json!("wrong");
            }
            (Mutation::WrongTemplate, Request::CreatePod { body, .. }) => {
                body["metadata"]["annotations"]["tag"] = json!("wrong");
            }
            (Mutation::WrongReason, Request::DeletePod { reason, .. })
                if *reason == Reason::Outdated =>
            {
                *reason = Reason::Duplicate;
            }
            (
                Mutation::DeletesExtraPod,
                Request::DeletePod {
                    set,
                    reason: Reason::Outdated | Reason::Replaced,
                    ..
                },
            ) => {
                if let Some(pod) = self.last.take() {
                    requests.push((None, delete(set.clone(), &pod, Reason::Duplicate)));
                }
            }
            (Mutation::ReplacesOwners, Request::PatchPod { purpose, form, .. })
                if *purpose == Purpose::Adopt =>
            {
                *form = PatchForm::Merge;
            }
            (Mutation::PatchesByName, Request::PatchPod { body, .. }) => {
                if let Some(metadata) = body["metadata"].as_object_mut() {
                    metadata.remove("uid");
                }
            }
            (Mutation::WrongStatus, Request::WriteStatus { body, .. }) => {
                let ready = body["status"]["numberReady"].as_i64().unwrap_or(0);
                body["status"]["numberReady"] = json!(ready + 1);
            }
            (Mutation::WrongRevisionName, Request::CreateRevision { body, .. }) => {
                let name = body["metadata"]["name"].as_str().unwrap_or_default();
                body["metadata"]["name"] = json!(format!("{name}x"));
            }
            (Mutation::SkipsEvents, Request::Event { .. }) => return,
            (Mutation::DoublesEvents, Request::Event { .. }) => {
                requests.push((None, request.clone()));
            }
            _ => {}
        }
        requests.push((action, request));
    }

    /// Deletes all failed pods that were observed and are not being deleted.
    fn delete_failed(&mut self, requests: &mut Vec<Planned>) {
        for pod in self.failed.drain(..) {
            let planned = requests.iter().any(
                |(_, request)| matches!(request, Request::DeletePod { uid, .. } if *uid == pod.uid),
            );
            if let Some(app) = pod.labels.get("app").filter(|_| !planned) {
                let set = Key::new(&pod.key.namespace, &app.replace("app", "set"));
                requests.push((None, delete(set, &pod, Reason::Failed)));
            }
        }
    }

    /// Alters a request on its way, after it was checked.
    pub(crate) fn sends(&self, request: &mut Request, api: &Api) {
        match (self.mutation, request) {
            (Some(Mutation::SendsOtherHash), Request::CreatePod { set_uid, body, .. }) => {
                let hash = body["metadata"]["labels"][HASH_LABEL].clone();
                let mut revisions = api.revisions().filter(|revision| {
                    revision.owner.as_ref() == Some(set_uid) && hash != **revision.hash()
                });
                if let Some(other) = revisions.next() {
                    body["metadata"]["labels"][HASH_LABEL] = json!(&**other.hash());
                }
            }
            (Some(Mutation::SendsMergePatch), Request::PatchPod { purpose, form, .. })
                if *purpose == Purpose::Adopt =>
            {
                *form = PatchForm::Merge;
            }
            (Some(Mutation::SendsWithoutUid), Request::PatchPod { body, .. }) => {
                if let Some(metadata) = body["metadata"].as_object_mut() {
                    metadata.remove("uid");
                }
            }
            _ => {}
        }
    }

    /// A second pod for a request, under another name.
    pub(crate) fn doubles(&self, request: &Request) -> Option<Request> {
        let mut double = request.clone();
        match &mut double {
            Request::CreatePod { name, body, .. } if self.is(Mutation::SendsTwice) => {
                *name = format!("{name}-again").into();
                body["metadata"]["name"] = json!(&**name);
                Some(double)
            }
            _ => None,
        }
    }

    /// The result that is reported for a request in place of sending it.
    pub(crate) fn withholds(&self, request: &Request) -> Option<OutcomeResult> {
        if self.is(Mutation::SkipsStatusWrites) && matches!(request, Request::WriteStatus { .. }) {
            return Some(Ok(Answer::Done));
        }
        let blocked = match (request, self.refused.as_ref()?) {
            (
                Request::CreatePod { set, node, .. },
                Request::CreatePod {
                    set: other_set,
                    node: other,
                    ..
                },
            ) => set == other_set && node != other,
            (
                Request::DeletePod { set, uid, .. },
                Request::DeletePod {
                    set: other_set,
                    uid: other,
                    ..
                },
            ) => set == other_set && uid != other,
            _ => false,
        };
        blocked.then(|| Err(Failure::new(FailureKind::Refused, WITHHELD)))
    }
}

fn delete(set: Key, pod: &Pod, reason: Reason) -> Request {
    Request::DeletePod {
        set,
        set_uid: pod.owner.clone().unwrap_or_else(|| "".into()),
        node: pod.place().cloned().unwrap_or_else(|| "".into()),
        name: pod.key.name.clone(),
        uid: pod.uid.clone(),
        reason,
    }
}
