//! Equality of objects, apart from their `managedFields` or the times in them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::entry::{managed_fields_of, put_managed_fields};

/// Gives the `managedFields` of `new` the times of `old` if the objects differ only in these times
/// and in `resourceVersion`, which only one of both may carry. Upstream's
/// `IgnoreManagedFieldsTimestampsTransformer`.
pub fn ignore_timestamps(old: &Value, new: &mut Value) {
    let (Some(stored), Some(sent)) = (managed_fields_of(old), managed_fields_of(new)) else {
        return;
    };
    if sent != stored && equal_but_times(stored, sent) && equal_but_managed_fields(old, new) {
        put_managed_fields(new, Some(stored.clone()));
    }
}

/// Whether two objects are equal, apart from `managedFields` and `resourceVersion`.
pub(super) fn equal_but_managed_fields(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
        return a == b;
    };
    a.len() == b.len()
        && a.iter().zip(b).all(|((a_name, a), (b_name, b))| {
            a_name == b_name
                && if a_name == "metadata" {
                    equal_metadata(a, b)
                } else {
                    a == b
                }
        })
}

fn equal_metadata(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
        return a == b;
    };
    let counts = |name: &str| !matches!(name, "managedFields" | "resourceVersion");
    a.iter()
        .filter(|(name, _)| counts(name))
        .eq(b.iter().filter(|(name, _)| counts(name)))
}

/// Whether both lists have the same entries, apart from `time`, in any order.
fn equal_but_times(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_array(), b.as_array()) else {
        return false;
    };
    if a.len() != b.len() {
        return false;
    }
    // Few lists have another order, so most entries are compared with one other.
    let is_in_place = |(entry, other)| equal_entry_but_time(entry, other);
    a.iter().zip(b).all(is_in_place) || texts_but_time(a).is_subset(&texts_but_time(b))
}

fn texts_but_time(entries: &[Value]) -> BTreeSet<String> {
    let text = |entry: &Value| {
        let mut entry = entry.clone();
        if let Some(fields) = entry.as_object_mut() {
            fields.remove("time");
        }
        entry.to_string()
    };
    entries.iter().map(text).collect()
}

fn equal_entry_but_time(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
        return false;
    };
    let fields = |entry: &Map<String, Value>| entry.len() - usize::from(entry.contains_key("time"));
    fields(a) == fields(b)
        && a.iter()
            .all(|(name, value)| name == "time" || b.get(name) == Some(value))
}
