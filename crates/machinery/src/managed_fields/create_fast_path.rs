//! The fast path of a create: the `fieldsV1` of a new object, written in one walk.
//!
//! The full path is a [`super::compare::compare`] with an empty object, which builds a set and
//! encodes it. The result here is the same; a property test compares both.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    compare::{is_empty, is_zero},
    merge_type::MergeType,
    path_element,
};
use crate::kind::ResetFields;

/// The `fieldsV1` of the manager that created `new`; empty if it owns nothing.
pub(super) fn fields_v1(
    root: MergeType<'_>,
    new: &Value,
    reset: &ResetFields,
) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, value) in new.as_object().into_iter().flatten() {
        if reset.has_top_level(name) {
            continue;
        }
        if name != "metadata" {
            field(root, true, name, value, &mut out);
            continue;
        }
        let Some(meta) = root.field(name) else {
            continue;
        };
        let was_zero = root.zero_when_absent(name);
        let mut below = Map::new();
        for (name, value) in value.as_object().into_iter().flatten() {
            if !reset.has_metadata(name) {
                field(meta, was_zero, name, value, &mut below);
            }
        }
        if !below.is_empty() {
            out.insert(path_element::field(name), Value::Object(below));
        }
    }
    out
}

/// Writes a field of a struct or map. `parent_is_zero`: an empty Go object has the parent, with its
/// zero value.
fn field(
    parent: MergeType<'_>,
    parent_is_zero: bool,
    name: &str,
    value: &Value,
    out: &mut Map<String, Value>,
) {
    let merge_type = parent.field(name).unwrap_or(MergeType::Atomic);
    let was_zero = parent_is_zero && parent.zero_when_absent(name);
    if let Some(owned) = walk(merge_type, was_zero, value) {
        out.insert(path_element::field(name), owned);
    }
}

/// The owned part of a value as `fieldsV1`: `None` for nothing, an empty object for the value as a
/// whole.
fn walk(merge_type: MergeType<'_>, was_zero: bool, value: &Value) -> Option<Value> {
    if value.is_null() || !merge_type.has_parts(value) || is_empty(value) {
        let is_owned = !was_zero || !is_zero(value);
        return is_owned.then(|| Value::Object(Map::new()));
    }
    let mut below = Map::new();
    match (merge_type, value) {
        (MergeType::Struct(_) | MergeType::Map(_), Value::Object(fields)) => {
            for (name, value) in fields {
                field(merge_type, was_zero, name, value, &mut below);
            }
        }
        (MergeType::ListSet | MergeType::ListMap(..), Value::Array(list)) => {
            items(merge_type, list, &mut below);
        }
        _ => {}
    }
    match (was_zero, below.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Value::Object(below)),
        (false, is_bare) => {
            if !is_bare {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            Some(Value::Object(below))
        }
    }
}

fn items(merge_type: MergeType<'_>, list: &[Value], out: &mut Map<String, Value>) {
    let mut seen: BTreeMap<String, Option<&Value>> = BTreeMap::new();
    for item in list {
        seen.entry(merge_type.element_or_null(item))
            // Items with the same path element are owned together, as a whole.
            .and_modify(|first| *first = None)
            .or_insert(Some(item));
    }
    for (element, only) in seen {
        let owned = only.map_or_else(
            || Some(Value::Object(Map::new())),
            |item| walk(merge_type.item(), false, item),
        );
        if let Some(owned) = owned {
            out.insert(element, owned);
        }
    }
}
