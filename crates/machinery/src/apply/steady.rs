//! The everyday case of an update: a manager changes values of fields that it owns already.
//!
//! Then only the time of its entry moves, and no set needs to be read or written. Stored entries are in our
//! own form (every write goes through [`super::managers::encode`]), so the JSON itself can be asked.

use serde_json::{Map, Value};

use super::{
    compare::Comparison,
    managers::{Entry, sort_json},
    set::FieldSet,
};

/// Moves the time of the writer's entry in `list`, if this is all that the write means for ownership.
/// `list` is unchanged if it is not.
pub(super) fn touch(list: &mut Value, own: &Entry, changes: &Comparison) -> bool {
    let Some(entries) = list.as_array_mut() else {
        return false;
    };
    let mut mine = None;
    for (at, entry) in entries.iter().enumerate() {
        let Some(fields) = entry.get("fieldsV1").and_then(Value::as_object) else {
            return false;
        };
        if overlaps(fields, &changes.removed) {
            return false;
        }
        if is_entry_of(entry, own) {
            mine = Some(at).filter(|_| covers(fields, &own.set));
        } else if overlaps(fields, &changes.added) || overlaps(fields, &changes.modified) {
            return false;
        }
    }
    let Some(entry) = mine.and_then(|at| entries[at].as_object_mut()) else {
        return false;
    };
    match &own.time {
        Some(time) => entry.insert("time".into(), Value::String(time.clone())),
        None => entry.remove("time"),
    };
    sort_json(entries);
    true
}

fn is_entry_of(json: &Value, own: &Entry) -> bool {
    let is =
        |name: &str, text: &str| json.get(name).and_then(Value::as_str).unwrap_or_default() == text;
    is("manager", &own.manager)
        && is("operation", "Update")
        && is("apiVersion", &own.api_version)
        && is("subresource", &own.subresource)
}

fn is_member(node: &Map<String, Value>) -> bool {
    node.is_empty() || node.contains_key(".")
}

fn overlaps(fields: &Map<String, Value>, set: &FieldSet) -> bool {
    set.iter().any(|(element, member, below)| {
        let node = fields.get(element).and_then(Value::as_object);
        node.is_some_and(|node| (member && is_member(node)) || overlaps(node, below))
    })
}

fn covers(fields: &Map<String, Value>, set: &FieldSet) -> bool {
    set.iter().all(|(element, member, below)| {
        let node = fields.get(element).and_then(Value::as_object);
        node.is_some_and(|node| (!member || is_member(node)) && covers(node, below))
    })
}
