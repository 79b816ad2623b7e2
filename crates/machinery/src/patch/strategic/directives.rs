//! The directives of strategic merge patches, and values without them.

use serde_json::{Map, Value};

/// In a map: `replace` or `delete`. In a list item also `merge`.
pub(super) const PATCH: &str = "$patch";
/// The keys that a map keeps; the others are cleared.
pub(super) const RETAIN_KEYS: &str = "$retainKeys";
/// `$deleteFromPrimitiveList/x`: values to delete from the list `x`.
pub(super) const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList";
/// `$setElementOrder/x`: the order of the list `x`.
pub(super) const SET_ORDER: &str = "$setElementOrder";

/// Whether a key is that of a directive about another key.
pub(super) fn is_list_directive(key: &str) -> bool {
    key.starts_with(SET_ORDER) || key.starts_with(DELETE_PRIMITIVES)
}

/// Removes nulls and directives from a value that is new to the object. False if the value itself
/// is a directive and must be dropped.
pub(super) fn clean(value: &mut Value) -> bool {
    match value {
        Value::Object(fields) => {
            if fields.contains_key(PATCH) {
                return false;
            }
            clean_map(fields);
        }
        Value::Array(items) => items.retain_mut(clean),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    true
}

/// Removes nulls and directives from a map that is new to the object.
pub(super) fn clean_map(fields: &mut Map<String, Value>) {
    fields.retain(|key, value| {
        let directive = key == RETAIN_KEYS || is_list_directive(key);
        !directive && !value.is_null() && clean(value)
    });
}

/// The items of a new list without those that are directives.
pub(super) fn without_directives(mut items: Vec<Value>) -> Vec<Value> {
    items.retain_mut(clean);
    items
}
