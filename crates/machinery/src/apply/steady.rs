//! The everyday cases of an update: a manager changes values of fields that it owns already, or takes fields
//! that nobody else owns, such as a node that reports the status of a pod for the first time.
//!
//! Then only its own entry changes, and no set needs to be read. Stored entries are in our own form (every
//! write goes through [`super::managers::encode`]), so the JSON itself can be asked and changed.

use serde_json::{Map, Value};

use super::{
    compare::Comparison,
    managers::{Entry, MAX_UPDATERS, sort_json},
    set::FieldSet,
};

/// Adds what the writer took to its entry in `list`, or makes one, if nobody else loses anything by the write.
/// Where it owns all of that already, only the time moves. `list` is unchanged if somebody loses something.
pub(super) fn join(list: &mut Value, own: &Entry, changes: &Comparison) -> bool {
    let Some(entries) = list.as_array_mut().filter(|entries| !entries.is_empty()) else {
        return false;
    };
    let (mut mine, mut updaters) = (None, 0);
    for (at, entry) in entries.iter().enumerate() {
        let Some(fields) = entry.get("fieldsV1").and_then(Value::as_object) else {
            return false;
        };
        if overlaps(fields, &changes.removed) {
            return false;
        }
        if is_entry_of(entry, own) {
            mine = Some(at);
        } else if overlaps(fields, &changes.added) || overlaps(fields, &changes.modified) {
            return false;
        }
        updaters += usize::from(entry.get("operation").is_some_and(|o| o == "Update"));
    }
    match mine {
        Some(at) => {
            let Some(entry) = entries[at].as_object_mut() else {
                return false;
            };
            set_time(entry, own);
            if let Some(fields) = entry.get_mut("fieldsV1").and_then(Value::as_object_mut) {
                insert(fields, &own.set);
            }
        }
        // A manager that took nothing gets no entry.
        None if own.set.is_empty() || updaters >= MAX_UPDATERS => return false,
        None => entries.push(own.encode()),
    }
    sort_json(entries);
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

fn is_member(node: &Map<String, Value>) -> bool {
    node.is_empty() || node.contains_key(".")
}

fn overlaps(fields: &Map<String, Value>, set: &FieldSet) -> bool {
    set.iter().any(|(element, member, below)| {
        let node = fields.get(element).and_then(Value::as_object);
        node.is_some_and(|node| (member && is_member(node)) || overlaps(node, below))
    })
}
