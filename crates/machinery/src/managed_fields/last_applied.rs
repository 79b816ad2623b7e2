//! `kubectl apply --server-side` on objects that client-side `kubectl apply` manages: the
//! annotation with the last applied configuration tells which fields belong to kubectl. Upstream's
//! `lastAppliedManager` and `lastAppliedUpdater`.

use serde_json::Value;

use super::{
    compare::compare_any, field_set::FieldSet, merge_type::MergeType, to_field_set::to_field_set,
};

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Most bytes in keys and values of all annotations of an object (upstream's
/// `TotalAnnotationSizeLimitB`).
const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

/// The field manager that takes over fields from client-side apply.
pub(super) const MANAGER: &str = "kubectl";

/// The fields that client-side apply set and whose values are unchanged: kubectl may apply them
/// without a conflict.
pub(super) fn allowed(root: MergeType<'_>, live: &Value, api_version: &str) -> FieldSet {
    let Some(last) = annotation(live).and_then(|text| serde_json::from_str::<Value>(text).ok())
    else {
        return FieldSet::default();
    };
    if last.get("apiVersion").and_then(Value::as_str) != Some(api_version) {
        return FieldSet::default();
    }
    let compared = compare_any(root, &last, live);
    let mut set = to_field_set(root, &last);
    for changed in [&compared.modified, &compared.added, &compared.removed] {
        set.subtract(changed);
    }
    set
}

/// Writes the applied configuration into the annotation if the object has it, so that client-side
/// apply still works. The annotation becomes empty where it would be too large.
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
    if MAX_ANNOTATION_BYTES < size {
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
