//! Removes a set of fields from an object (structured-merge-diff's `typed.RemoveItems`).

use serde_json::Value;

use super::{field_set::FieldSet, merge_type::MergeType, path_element};

/// Removes the fields of a set. A list, map or struct that becomes empty becomes null, because
/// another manager may own it; [`remove_nulls`] removes it in the end.
pub(super) fn remove(merge_type: MergeType<'_>, value: &mut Value, set: &FieldSet) {
    if set.is_empty() || !merge_type.has_parts(value) {
        return;
    }
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| {
                let element = path_element::field(name);
                if set.contains_element(&element) {
                    return false;
                }
                if let (Some(child), Some(below)) = (merge_type.field(name), set.below(&element)) {
                    remove(child, value, below);
                }
                true
            });
            if fields.is_empty() {
                *value = Value::Null;
            }
        }
        Value::Array(items) => {
            items.retain_mut(|item| {
                let element = merge_type.element_or_null(item);
                if set.contains_element(&element) {
                    return false;
                }
                if let Some(below) = set.below(&element) {
                    remove(merge_type.item(), item, below);
                }
                true
            });
            if items.is_empty() {
                *value = Value::Null;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Removes the nulls that [`remove`] leaves.
pub(super) fn remove_nulls(merge_type: MergeType<'_>, value: &mut Value) {
    if !merge_type.has_parts(value) {
        return;
    }
    match value {
        Value::Object(fields) => fields.retain(|name, value| {
            if let Some(child) = merge_type.field(name) {
                remove_nulls(child, value);
            }
            !value.is_null()
        }),
        Value::Array(items) => items.retain_mut(|item| {
            remove_nulls(merge_type.item(), item);
            !item.is_null()
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
