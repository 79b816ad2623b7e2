//! The set of fields that an object or configuration sets (structured-merge-diff's
//! `typed.ToFieldSet`).

use serde_json::Value;

use super::{field_set::FieldSet, merge_type::MergeType, path_element};

/// The fields that a value sets: atomic values, list items, map keys and empty maps, without the
/// structs around them.
pub(super) fn to_field_set(merge_type: MergeType<'_>, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    collect(merge_type, value, &mut set);
    set
}

/// Adds the fields below a value, and returns whether the value itself is a member.
fn collect(merge_type: MergeType<'_>, value: &Value, out: &mut FieldSet) -> bool {
    match (merge_type, value) {
        (MergeType::Struct(_) | MergeType::Map(_), Value::Object(fields)) => {
            for (name, value) in fields {
                let child = merge_type.field(name);
                let mut below = FieldSet::default();
                let own = collect(child.unwrap_or(MergeType::Atomic), value, &mut below);
                let empty = value.is_null() || value.as_object().is_some_and(|v| v.is_empty());
                let member = own || empty || !merge_type.is_struct() || child.is_none();
                out.attach(&path_element::field(name), member, below);
            }
            false
        }
        (MergeType::ListSet | MergeType::ListMap(..), Value::Array(items)) => {
            for item in items {
                let mut below = FieldSet::default();
                collect(merge_type.item(), item, &mut below);
                out.attach(&merge_type.element_or_null(item), true, below);
            }
            false
        }
        (MergeType::Atomic, _) => true,
        (_, Value::Null) => false,
        _ => true,
    }
}

/// The set with every struct field that has members below it added as a member, so that a struct is
/// removed together with the last of its fields (structured-merge-diff's
/// `EnsureNamedFieldsAreMembers`).
pub(super) fn with_structs(merge_type: MergeType<'_>, set: &FieldSet) -> FieldSet {
    let mut out = FieldSet::default();
    for (element, member, below) in set.iter() {
        let child = merge_type.step(element);
        let is_field = merge_type.is_struct() && child.is_some() && !below.is_empty();
        let below = child.map_or_else(|| below.clone(), |child| with_structs(child, below));
        out.attach(element, member || is_field, below);
    }
    out
}
