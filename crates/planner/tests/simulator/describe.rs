//! Requests and deliveries as lines of a trace.

use crate::{
    api::{Object, Stored},
    request::{Delivery, Request},
    value::text,
};

pub(crate) fn request(request: &Request) -> String {
    match request {
        Request::CreatePod {
            node, name, bind, ..
        } => format!("create {name} on {node} bind={bind}"),
        Request::DeletePod {
            name, node, reason, ..
        } => format!("delete {name} on {node}: {reason:?}"),
        Request::PatchPod { name, purpose, .. } => format!("{purpose:?} {name}"),
        Request::CreateRevision { body, .. } => {
            format!("create revision {}", text(body, "/metadata/name"))
        }
        Request::PatchRevision { name, body, .. } => format!("patch revision {name} {body}"),
        Request::DeleteRevision { name, .. } => format!("delete revision {name}"),
        Request::WriteStatus { set, body, .. } => format!("status of {set}: {}", body["status"]),
        Request::Event {
            reason, message, ..
        } => format!("event {reason}: {message}"),
    }
}

pub(crate) fn delivery(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Changed(stored) => changed(stored),
        Delivery::Gone { last, version } => {
            format!("{:?} {} is gone, v{version}", last.kind(), last.key())
        }
        Delivery::Listed {
            kind,
            members,
            version,
        } => format!("listed {} {kind:?} v{version}", members.len()),
        Delivery::Outcome(outcome) => {
            let result = match &outcome.result {
                Ok(_) => "ok".to_owned(),
                Err(failure) => format!("{:?} ({})", failure.kind, failure.message),
            };
            format!("outcome {result}: {}", request(&outcome.request))
        }
        Delivery::Old(old) => format!("again {}", self::delivery(old)),
    }
}

fn changed(stored: &Stored) -> String {
    match &stored.object {
        Object::Set(set) => format!(
            "set {} v{} generation {} {:?} `{}` deleting={}",
            set.key, set.version, set.generation, set.strategy, set.tag, set.deleting
        ),
        Object::Pod(pod) => format!(
            "pod {} v{} on {:?} {:?} ready={} deleting={} owner={:?} hash={:?}",
            pod.key,
            pod.version,
            pod.place(),
            pod.phase,
            pod.ready,
            pod.deleting,
            pod.owner,
            pod.hash()
        ),
        Object::Node(node) => format!(
            "node {} v{} {:?} {:?}",
            node.name, node.version, node.labels, node.taints
        ),
        Object::Revision(revision) => format!(
            "revision {} v{} number {} `{}` owner={:?}",
            revision.key, revision.version, revision.number, revision.tag, revision.owner
        ),
    }
}
