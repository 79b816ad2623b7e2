//! Objects with and without their `managedFields`.

use serde_json::{Map, Value};

/// Gives `new` the times of `old` if both differ in nothing but the times of their `managedFields` (and in
/// the `resourceVersion`, which only one of both may carry).
pub fn keep_times(old: &Value, new: &mut Value) {
    let (Some(stored), Some(sent)) = (managed_of(old), managed_of(new)) else {
        return;
    };
    if sent != stored && same_but_times(stored, sent) && is_same(old, new) {
        put_managed(new, Some(stored.clone()));
    }
}

/// Whether two objects are the same, apart from `managedFields` and `resourceVersion`.
pub(super) fn is_same(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
        return a == b;
    };
    a.len() == b.len()
        && a.iter().zip(b).all(|((a_name, a), (b_name, b))| {
            a_name == b_name
                && if a_name == "metadata" {
                    is_same_meta(a, b)
                } else {
                    a == b
                }
        })
}

fn is_same_meta(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
        return a == b;
    };
    let own = |name: &str| !matches!(name, "managedFields" | "resourceVersion");
    a.iter()
        .filter(|(name, _)| own(name))
        .eq(b.iter().filter(|(name, _)| own(name)))
}

fn same_but_times(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_array(), b.as_array()) else {
        return false;
    };
    a.len() == b.len()
        && a.iter()
            .all(|entry| b.iter().any(|other| same_entry(entry, other)))
}

fn same_entry(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
        return false;
    };
    let rest =
        |fields: &Map<String, Value>| fields.len() - usize::from(fields.contains_key("time"));
    rest(a) == rest(b)
        && a.iter()
            .all(|(name, value)| name == "time" || b.get(name) == Some(value))
}

pub(super) fn managed_of(object: &Value) -> Option<&Value> {
    object
        .get("metadata")?
        .get("managedFields")
        .filter(|list| !list.is_null())
}

pub(super) fn take_managed(object: &mut Value) -> Option<Value> {
    let taken = object
        .get_mut("metadata")?
        .as_object_mut()?
        .remove("managedFields");
    taken.filter(|list| !list.is_null())
}

pub(super) fn put_managed(object: &mut Value, list: Option<Value>) {
    let Some(list) = list else { return };
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.insert("managedFields".into(), list);
    }
}
