//! What a write may change and what the server sets, the same for all kinds (`rest.BeforeCreate`,
//! `rest.BeforeUpdate`).

use serde_json::Value;

use crate::Kind;
use crate::json_fields::{ReadFields, WriteFields};

/// Metadata that clients cannot set in a create.
const SERVER_METADATA: [&str; 6] = [
    "uid",
    "creationTimestamp",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
];

/// Metadata that a write to a part of an object does not change, where upstream says so with
/// `metav1.ResetObjectMetaForStatus`, beside what no write changes.
const STATUS_METADATA: [&str; 4] = ["labels", "annotations", "finalizers", "ownerReferences"];

/// Prepares a new object: removes what the client cannot set, such as the status, and sets
/// generation, phase and QoS class (upstream's `PrepareForCreate`).
pub fn prepare_create(kind: &Kind, object: &mut Value) {
    let metadata = object.member("metadata");
    for name in SERVER_METADATA {
        metadata.remove_field(name);
    }
    if kind.strategy.has_generation() {
        metadata.put("generation", 1);
    }
    kind.strategy.prepare_for_create(object);
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
            for name in STATUS_METADATA {
                new.member("metadata")
                    .put(name, old["metadata"][name].clone());
            }
            new.member("spec").put("ephemeralContainers", containers);
        }
        "approval" => {
            let conditions = new["status"]["conditions"].take();
            keep_all_but(old, new, &["metadata"]);
            new.member("status").put("conditions", conditions);
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
    kind.strategy.prepare_for_update(old, new);
    if kind.strategy.has_generation() && kind.strategy.changes_generation(old, new) {
        let next = old["metadata"].int("generation") + 1;
        new.member("metadata").put("generation", next);
    }
}

fn prepare_status(kind: &Kind, old: &Value, new: &mut Value) {
    keep_all_but(old, new, &["metadata", "status"]);
    kind.strategy.prepare_for_status_update(old, new);
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
mod tests {
    use serde_json::json;

    use super::prepare_update;
    use crate::scheme;

    #[test]
    fn write_to_a_subresource_changes_only_its_part() {
        let kind = scheme::built_in()
            .find_resource("", "v1", "pods")
            .expect("pods are served");
        let old = json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"a": 1}, "status": {"phase": "Pending"}});
        let wanted =
            json!({"metadata": {"name": "p"}, "spec": {"a": 2}, "status": {"phase": "Running"}});
        for (subresource, spec, phase) in [
            ("", 2, "Pending"),
            ("status", 1, "Running"),
            ("binding", 2, "Running"),
        ] {
            let mut new = wanted.clone();
            prepare_update(kind, subresource, &old, &mut new);
            assert_eq!(
                (&new["spec"]["a"], &new["status"]["phase"]),
                (&json!(spec), &json!(phase)),
                "{subresource}"
            );
            assert_eq!(new["metadata"]["uid"], "u");
        }
    }
}
