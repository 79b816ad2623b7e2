//! Translates the simulator's types to and from those of the planner. Only this file and
//! `controller.rs` know the planner's interface.

use pandaemon_planner::{
    Action, DaemonSetView, DeleteReason, Event, Failure as PlannerFailure,
    FailureKind as PlannerFailureKind, Listed, Patch, Purpose as PlannerPurpose, Reply,
    RevisionView, SetKey, Severity, Status, revision_text,
};
use pandaemon_types::{Name, NodeView, PodView, Uid};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    api::{Kind, PatchForm, Stored},
    request::{Answer, Delivery, Failure, FailureKind, Outcome, Purpose, Reason, Request},
    value::{Key, Text},
};

fn name(text: &str) -> Name {
    text.into()
}

pub(crate) fn set_key(key: &Key) -> SetKey {
    SetKey {
        namespace: name(&key.namespace),
        name: name(&key.name),
    }
}

fn view<T: for<'de> Deserialize<'de>>(stored: &Stored) -> T {
    T::deserialize(&stored.json).unwrap()
}

// === to the planner ===

/// The event for a delivery; `None` if the planner is not told of it.
pub(crate) fn event(delivery: &Delivery) -> Option<Event> {
    Some(match delivery {
        Delivery::Changed(stored) => match stored.kind() {
            Kind::Sets => Event::Set(Box::new(view::<DaemonSetView>(stored))),
            Kind::Revisions => Event::Revision(Box::new(view::<RevisionView>(stored))),
            Kind::Nodes => Event::Node(view::<NodeView>(stored)),
            Kind::Pods => Event::Pod(Box::new(view::<PodView>(stored))),
        },
        Delivery::Gone { last, version } => gone(last, *version),
        Delivery::Listed {
            kind,
            members,
            version,
        } => Event::Listed(listed(*kind, members, *version)),
        Delivery::Outcome(outcome) => Event::Outcome {
            action: Box::new(outcome.action.clone()?),
            result: result(outcome),
        },
        Delivery::Old(old) => return event(old),
    })
}

fn gone(last: &Stored, version: u64) -> Event {
    let (key, uid) = (last.key(), Uid::from(&**last.uid()));
    match last.kind() {
        Kind::Sets => Event::SetGone {
            key: set_key(&key),
            uid,
        },
        Kind::Revisions => Event::RevisionGone {
            namespace: name(&key.namespace),
            name: name(&key.name),
            uid,
        },
        Kind::Nodes => Event::NodeGone {
            name: name(&key.name),
            uid,
        },
        Kind::Pods => Event::PodGone {
            uid,
            resource_version: version,
        },
    }
}

fn listed(kind: Kind, members: &[(Key, Text)], version: u64) -> Listed {
    let keys = members.iter().map(|(key, _)| key);
    match kind {
        Kind::Sets => Listed::Sets(keys.map(set_key).collect()),
        Kind::Nodes => Listed::Nodes(keys.map(|key| name(&key.name)).collect()),
        Kind::Revisions => {
            let pair = |key: &Key| (name(&key.namespace), name(&key.name));
            Listed::Revisions(keys.map(pair).collect())
        }
        Kind::Pods => Listed::Pods {
            uids: members.iter().map(|(_, uid)| Uid::from(&**uid)).collect(),
            resource_version: version,
        },
    }
}

fn result(outcome: &Outcome) -> Result<Reply, PlannerFailure> {
    match &outcome.result {
        Ok(Answer::Done) => Ok(Reply::Done),
        Ok(Answer::Existing(pod)) => Ok(Reply::ExistingPod(Box::new(view::<PodView>(pod)))),
        Ok(Answer::Object(stored)) => Ok(match stored.kind() {
            Kind::Sets => Reply::Set(Box::new(view::<DaemonSetView>(stored))),
            Kind::Revisions => Reply::Revision(Box::new(view::<RevisionView>(stored))),
            Kind::Pods => Reply::Pod(Box::new(view::<PodView>(stored))),
            Kind::Nodes => Reply::Done,
        }),
        Err(Failure {
            kind,
            message,
            retry_after,
        }) => Err(PlannerFailure {
            kind: match kind {
                FailureKind::NotFound => PlannerFailureKind::NotFound,
                FailureKind::NamespaceTerminating => PlannerFailureKind::NamespaceTerminating,
                FailureKind::Refused => PlannerFailureKind::Refused,
                FailureKind::Unclear => PlannerFailureKind::Unclear,
            },
            message: message.clone(),
            retry_after: *retry_after,
        }),
    }
}

// === from the planner ===

fn key(set: &SetKey) -> Key {
    Key::new(&set.namespace, &set.name)
}

fn uid(uid: &Uid) -> Text {
    uid.to_string().into()
}

fn patch(patch: &Patch) -> (PatchForm, Value) {
    match patch {
        Patch::Merge(body) => (PatchForm::Merge, body.clone()),
        Patch::Strategic(body) => (PatchForm::Strategic, body.clone()),
    }
}

/// The request of an action, with the body that the shell sends.
pub(crate) fn request(action: &Action) -> Request {
    match action {
        Action::CreatePod {
            set,
            uid: set_uid,
            node,
            name,
            bind,
            template,
        } => Request::CreatePod {
            set: key(set),
            set_uid: uid(set_uid),
            node: Text::from(&**node),
            name: Text::from(&**name),
            bind: *bind,
            body: serde_json::from_str(&template.render(name, node, *bind)).unwrap(),
        },
        Action::DeletePod {
            set,
            owner,
            node,
            pod,
            reason,
        } => Request::DeletePod {
            set: key(set),
            set_uid: uid(owner),
            node: Text::from(&**node),
            name: Text::from(&*pod.name),
            uid: uid(&pod.uid),
            reason: delete_reason(reason),
        },
        Action::PatchPod {
            set,
            owner,
            pod,
            purpose: planned,
            patch: body,
        } => {
            let (form, body) = patch(body);
            Request::PatchPod {
                set: key(set),
                set_uid: uid(owner),
                name: Text::from(&*pod.name),
                uid: uid(&pod.uid),
                purpose: purpose(*planned),
                form,
                body,
            }
        }
        other => request_of_set(other),
    }
}

/// Leaves the pod of a creation to the scheduler.
pub(crate) const fn unbind(action: &mut Action) {
    if let Action::CreatePod { bind, .. } = action {
        *bind = false;
    }
}

fn request_of_set(action: &Action) -> Request {
    match action {
        Action::CreateRevision { set, owner, object } => Request::CreateRevision {
            set: key(set),
            set_uid: uid(owner),
            body: serde_json::from_str(&revision_text(object)).unwrap(),
        },
        Action::PatchRevision {
            set,
            owner,
            name,
            purpose: planned,
            patch: body,
        } => {
            let (form, body) = patch(body);
            Request::PatchRevision {
                set: key(set),
                set_uid: uid(owner),
                name: Text::from(&**name),
                purpose: purpose(*planned),
                form,
                body,
            }
        }
        Action::DeleteRevision {
            set,
            owner,
            name,
            uid: object,
        } => Request::DeleteRevision {
            set: key(set),
            set_uid: uid(owner),
            name: Text::from(&**name),
            uid: uid(object),
        },
        Action::WriteStatus {
            set,
            uid: set_uid,
            status,
        } => Request::WriteStatus {
            set: key(set),
            set_uid: uid(set_uid),
            body: status_patch(set_uid, status),
        },
        Action::Event {
            set,
            severity,
            reason,
            message,
            ..
        } => Request::Event {
            set: key(set),
            warning: *severity == Severity::Warning,
            reason: Text::from(*reason),
            message: message.clone(),
        },
        Action::CreatePod { .. } | Action::DeletePod { .. } | Action::PatchPod { .. } => {
            unreachable!("translated by `request`")
        }
    }
}

const fn purpose(purpose: PlannerPurpose) -> Purpose {
    match purpose {
        PlannerPurpose::Adopt => Purpose::Adopt,
        PlannerPurpose::Release => Purpose::Release,
        PlannerPurpose::Relabel => Purpose::Relabel,
        PlannerPurpose::Renumber => Purpose::Renumber,
    }
}

const fn delete_reason(reason: &DeleteReason) -> Reason {
    match reason {
        DeleteReason::Misplaced(_) => Reason::Misplaced,
        DeleteReason::NoNode => Reason::NoNode,
        DeleteReason::Failed => Reason::Failed,
        DeleteReason::Succeeded => Reason::Succeeded,
        DeleteReason::Duplicate => Reason::Duplicate,
        DeleteReason::OutdatedDown => Reason::OutdatedDown,
        DeleteReason::Outdated { .. } => Reason::Outdated,
        DeleteReason::Replaced => Reason::Replaced,
    }
}

/// The body that the shell (`controllers/daemonset/execute.rs`) sends for a status: upstream leaves
/// zeros out of the last three numbers.
fn status_patch(uid: &Uid, status: &Status) -> Value {
    let optional = |number: usize| (number > 0).then_some(number);
    json!({
        "metadata": {"uid": uid.to_string()},
        "status": {
            "currentNumberScheduled": status.current_number_scheduled,
            "numberMisscheduled": status.number_misscheduled,
            "desiredNumberScheduled": status.desired_number_scheduled,
            "numberReady": status.number_ready,
            "observedGeneration": status.observed_generation,
            "updatedNumberScheduled": optional(status.updated_number_scheduled),
            "numberAvailable": optional(status.number_available),
            "numberUnavailable": optional(status.number_unavailable),
            "collisionCount": status.collision_count,
        },
    })
}
