//! `kubectl apply --server-side` on objects that `kubectl apply` manages: the annotation with the last
//! applied configuration says which fields are kubectl's own.

use serde_json::Value;

use super::{compare::compare_any, fields::fields_of, node::Node, set::FieldSet};

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// All annotations of an object together may have this size.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Only this manager takes over from client-side apply.
pub(super) const MANAGER: &str = "kubectl";

/// The fields that client-side apply set and that still have its values: no conflict for kubectl.
pub(super) fn allowed(root: Node, live: &Value, api_version: &str) -> FieldSet {
    let Some(last) = annotation(live).and_then(|text| serde_json::from_str::<Value>(text).ok())
    else {
        return FieldSet::default();
    };
    if last.get("apiVersion").and_then(Value::as_str) != Some(api_version) {
        return FieldSet::default();
    }
    let compared = compare_any(root, &last, live);
    let mut set = fields_of(root, &last);
    for changed in [&compared.modified, &compared.added, &compared.removed] {
        set.subtract(changed);
    }
    set
}

/// Keeps the annotation in step, so that both kinds of apply can take turns.
pub(super) fn refresh(object: &mut Value, config: &Value) {
    if annotation(object).is_none_or(str::is_empty) {
        return;
    }
    let mut applied = config.clone();
    if let Some(annotations) = applied
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(ANNOTATION);
    }
    let Some(annotations) = object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    annotations.insert(ANNOTATION.into(), Value::String(format!("{applied}\n")));
    let size: usize = annotations
        .iter()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    if MAX_ANNOTATIONS < size {
        annotations.insert(ANNOTATION.into(), Value::String(String::new()));
    }
}

fn annotation(object: &Value) -> Option<&str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(ANNOTATION)?
        .as_str()
}
