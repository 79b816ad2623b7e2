//! What a write may touch: the create and update strategies of `k8s.io/kubernetes/pkg/registry`.

mod daemon_set;
mod qos;
mod service;

use serde_json::{Value, json};

use crate::Kind;
use crate::access::{Access, Edit};

pub use qos::qos_class;

/// Metadata that only the server sets.
const SERVER_METADATA: [&str; 6] = [
    "uid",
    "creationTimestamp",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
];

/// Clears what a client may not set at creation (status, generation := 1, ...).
pub fn prepare_create(kind: &Kind, object: &mut Value) {
    let metadata = object.member("metadata");
    for name in SERVER_METADATA {
        metadata.cut(name);
    }
    if kind.has_generation {
        metadata.put("generation", 1);
    }
    match (kind.group, kind.kind) {
        ("", "Pod") => {
            object["status"] =
                json!({ "phase": "Pending", "qosClass": qos_class(&object["spec"]) });
        }
        ("apps", "DaemonSet") => daemon_set::create(object),
        ("", "Service") => service::create(object),
        ("", "Namespace") => {
            object["status"] = json!({ "phase": "Active" });
            let finalizers = object["spec"].items("finalizers").to_vec();
            if !finalizers.iter().any(|f| f == "kubernetes") {
                let all = [finalizers, vec!["kubernetes".into()]].concat();
                object.member("spec").put("finalizers", all);
            }
        }
        _ => {}
    }
}

/// Carries over what this write may not change (status for a plain update, everything but status for
/// `/status`), immutable metadata, and counts the generation.
pub fn prepare_update(kind: &Kind, subresource: &str, old: &Value, new: &mut Value) {
    prepare_metadata(&old["metadata"], new);
    match subresource {
        "" => prepare_plain(kind, old, new),
        "status" => prepare_status(kind, old, new),
        "finalize" => {
            let finalizers = new["spec"]["finalizers"].take();
            keep(old, new, &["spec", "status"]);
            new.member("spec").put("finalizers", finalizers);
        }
        "ephemeralcontainers" => {
            let containers = new["spec"]["ephemeralContainers"].take();
            keep(old, new, &["spec", "status"]);
            new.member("spec").put("ephemeralContainers", containers);
        }
        // The server itself makes this one: the node, and the condition that tells of it.
        "binding" => {}
        _ => keep(old, new, &["status"]),
    }
}

/// Clients need not send what they cannot change.
fn prepare_metadata(old: &Value, new: &mut Value) {
    let metadata = new.member("metadata");
    metadata.cut("selfLink");
    for name in ["generation", "creationTimestamp"] {
        metadata.put(name, old[name].clone());
    }
    if metadata.text("uid").is_empty() {
        metadata.put("uid", old["uid"].clone());
    }
    // An object never gets rid of its deletion.
    if old.has("deletionTimestamp") {
        metadata.put("deletionTimestamp", old["deletionTimestamp"].clone());
        if !metadata.has("deletionGracePeriodSeconds") {
            metadata.put(
                "deletionGracePeriodSeconds",
                old["deletionGracePeriodSeconds"].clone(),
            );
        }
    }
}

fn prepare_plain(kind: &Kind, old: &Value, new: &mut Value) {
    if kind.subresource("status").is_some() {
        keep(old, new, &["status"]);
    }
    match (kind.group, kind.kind) {
        ("apps", "DaemonSet") => daemon_set::update(old, new),
        ("", "Service") => service::update(old, new),
        ("", "Namespace") => {
            let finalizers = old["spec"]["finalizers"].clone();
            new["spec"] = json!({});
            new["spec"].put("finalizers", finalizers);
        }
        _ => {}
    }
    if kind.has_generation && is_changed(kind, old, new) {
        let next = old["metadata"].int("generation") + 1;
        new.member("metadata").put("generation", next);
    }
}

/// Whether what the generation counts has changed.
fn is_changed(kind: &Kind, old: &Value, new: &Value) -> bool {
    match kind.kind {
        // There is no status to leave out.
        "EndpointSlice" => ["addressType", "endpoints", "ports"]
            .iter()
            .any(|name| old[name] != new[name]),
        "PriorityClass" => false,
        _ => old["spec"] != new["spec"],
    }
}

fn prepare_status(kind: &Kind, old: &Value, new: &mut Value) {
    keep_but(old, new, &["metadata", "status"]);
    if (kind.group, kind.kind) == ("", "Pod") {
        let owners = old["metadata"]["ownerReferences"].clone();
        new.member("metadata").put("ownerReferences", owners);
        let status = new.member("status");
        if !status.has("qosClass") {
            status.put("qosClass", old["status"]["qosClass"].clone());
        }
    }
    if (kind.group, kind.kind) == ("apps", "DaemonSet") {
        daemon_set::keep_template_generation(old, new);
    }
}

/// Takes all top-level fields but these from the old object. What is equal already stays where it is: a copy of a
/// pod's spec costs more than the rest of a write to its status.
fn keep_but(old: &Value, new: &mut Value, names: &[&str]) {
    let (Some(old), Some(fields)) = (old.as_object(), new.as_object_mut()) else {
        return;
    };
    fields.retain(|name, _| names.contains(&name.as_str()) || old.contains_key(name));
    for (name, value) in old {
        if !names.contains(&name.as_str()) && fields.get(name) != Some(value) {
            fields.insert(name.clone(), value.clone());
        }
    }
}

/// Takes top-level fields from the old object.
fn keep(old: &Value, new: &mut Value, names: &[&str]) {
    for name in names {
        if new.field(name) != old.field(name) {
            new.put(name, old[name].clone());
        }
    }
}

#[cfg(test)]
mod tests;
