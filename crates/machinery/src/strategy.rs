//! Create and update strategies: which fields a write may change, and which the server sets
//! (`PrepareForCreate` and `PrepareForUpdate` in `k8s.io/kubernetes/pkg/registry`).

mod daemon_set;
mod qos;
mod service;

use serde_json::{Value, json};

use crate::Kind;
use crate::json_fields::{ReadFields, WriteFields};

pub use qos::qos_class;

/// Metadata that clients cannot set in a create.
const SERVER_METADATA: [&str; 6] = [
    "uid",
    "creationTimestamp",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
];

/// Prepares a new object: removes what the client cannot set, such as the status, and sets
/// generation, phase and QoS class (upstream's `PrepareForCreate`).
pub fn prepare_create(kind: &Kind, object: &mut Value) {
    let metadata = object.member("metadata");
    for name in SERVER_METADATA {
        metadata.remove_field(name);
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

/// Prepares a changed object: takes from `old` what this write cannot change (the status in a write
/// to the object, all else in a write to `/status`, immutable metadata), and increments the
/// generation if the spec changed (upstream's `PrepareForUpdate`). `subresource` is empty for the
/// object itself.
pub fn prepare_update(kind: &Kind, subresource: &str, old: &Value, new: &mut Value) {
    prepare_metadata(&old["metadata"], new);
    match subresource {
        "" => prepare_object(kind, old, new),
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
        // The server makes this change: it sets the node and the condition `PodScheduled`.
        "binding" => {}
        _ => keep(old, new, &["status"]),
    }
}

/// Takes metadata from the old object that clients cannot change and need not send.
fn prepare_metadata(old: &Value, new: &mut Value) {
    let metadata = new.member("metadata");
    metadata.remove_field("selfLink");
    for name in ["generation", "creationTimestamp"] {
        metadata.put(name, old[name].clone());
    }
    if metadata.text("uid").is_empty() {
        metadata.put("uid", old["uid"].clone());
    }
    // A deletion cannot be taken back.
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

fn prepare_object(kind: &Kind, old: &Value, new: &mut Value) {
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

/// Whether the fields have changed whose changes the generation counts.
fn is_changed(kind: &Kind, old: &Value, new: &Value) -> bool {
    match kind.kind {
        // This kind has neither spec nor status.
        "EndpointSlice" => ["addressType", "endpoints", "ports"]
            .iter()
            .any(|name| old[name] != new[name]),
        "PriorityClass" => false,
        _ => old["spec"] != new["spec"],
    }
}

fn prepare_status(kind: &Kind, old: &Value, new: &mut Value) {
    keep_all_but(old, new, &["metadata", "status"]);
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

/// Takes all top-level fields but `names` from the old object. Equal fields are not copied: copying
/// the spec of a pod costs more than the rest of a write to its status.
fn keep_all_but(old: &Value, new: &mut Value, names: &[&str]) {
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

/// Takes these top-level fields from the old object.
fn keep(old: &Value, new: &mut Value, names: &[&str]) {
    for name in names {
        if new.field(name) != old.field(name) {
            new.put(name, old[name].clone());
        }
    }
}

#[cfg(test)]
mod tests;
