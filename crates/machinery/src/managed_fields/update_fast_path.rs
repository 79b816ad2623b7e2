//! The fast path of an update that takes no field from another manager.
//!
//! This is what most updates do: a manager changes values of fields that it owns already, or sets
//! fields that have no owner, such as a kubelet that reports the status of a pod for the first
//! time. Only the entry of that manager changes then, so the stored JSON is changed in place and no
//! [`FieldSet`] is decoded. Stored entries are in the form of [`super::entry::encode`], because
//! every write goes through it.
//!
//! The result is that of the full path in [`super::track_update`]; a property test compares both.

use serde_json::{Map, Value};

use super::{
    compare::Comparison,
    entry::{Entry, MAX_UPDATE_MANAGERS, sort_entries},
    field_set::FieldSet,
};

/// Adds the changed fields (`own.set`) to the entry of the writing manager in `list`, or adds that
/// entry.
///
/// False, with `list` unchanged, if this needs the full path: another manager loses a field, a
/// field is removed, or there would be too many entries.
pub(super) fn record(list: &mut Value, own: &Entry, changes: &Comparison) -> bool {
    let Some(entries) = list.as_array_mut().filter(|entries| !entries.is_empty()) else {
        return false;
    };
    let (mut own_index, mut updaters) = (None, 0);
    for (at, entry) in entries.iter().enumerate() {
        let Some(fields) = entry.get("fieldsV1").and_then(Value::as_object) else {
            return false;
        };
        if owns_any(fields, &changes.removed) {
            return false;
        }
        if is_entry_of(entry, own) {
            own_index = Some(at);
        } else if owns_any(fields, &changes.added) || owns_any(fields, &changes.modified) {
            return false;
        }
        updaters += usize::from(entry.get("operation").is_some_and(|o| o == "Update"));
    }
    match own_index {
        Some(at) => {
            let Some(entry) = entries[at].as_object_mut() else {
                return false;
            };
            set_time(entry, own);
            if let Some(fields) = entry.get_mut("fieldsV1").and_then(Value::as_object_mut) {
                insert(fields, &own.set);
            }
        }
        // A manager that changed nothing gets no entry.
        None if own.set.is_empty() || updaters >= MAX_UPDATE_MANAGERS => return false,
        None => entries.push(own.encode()),
    }
    sort_entries(entries);
    true
}

/// Adds the members of a set to `fieldsV1`.
fn insert(fields: &mut Map<String, Value>, set: &FieldSet) {
    for (element, member, below) in set.iter() {
        match fields.get_mut(element) {
            Some(Value::Object(node)) => {
                let member = member || is_member(node);
                insert_below(node, member, below);
            }
            Some(_) => {}
            None => {
                let mut node = Map::new();
                insert_below(&mut node, member, below);
                fields.insert(element.to_owned(), Value::Object(node));
            }
        }
    }
}

fn insert_below(node: &mut Map<String, Value>, member: bool, below: &FieldSet) {
    insert(node, below);
    if member && !is_member(node) {
        node.insert(".".to_owned(), Value::Object(Map::new()));
    }
}

fn set_time(entry: &mut Map<String, Value>, own: &Entry) {
    match &own.time {
        Some(time) => entry.insert("time".into(), Value::String(time.clone())),
        None => entry.remove("time"),
    };
}

fn is_entry_of(json: &Value, own: &Entry) -> bool {
    let is =
        |name: &str, text: &str| json.get(name).and_then(Value::as_str).unwrap_or_default() == text;
    is("manager", &own.manager)
        && is("operation", "Update")
        && is("apiVersion", &own.api_version)
        && is("subresource", &own.subresource)
}

/// Whether a node of `fieldsV1` is a member of the set itself: it is a leaf or has the child `.`.
fn is_member(node: &Map<String, Value>) -> bool {
    node.is_empty() || node.contains_key(".")
}

/// Whether `fieldsV1` has a member of the set.
fn owns_any(fields: &Map<String, Value>, set: &FieldSet) -> bool {
    set.iter().any(|(element, member, below)| {
        let node = fields.get(element).and_then(Value::as_object);
        node.is_some_and(|node| (member && is_member(node)) || owns_any(node, below))
    })
}
