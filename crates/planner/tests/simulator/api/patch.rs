//! Merge patches (RFC 7386) and strategic merge patches of metadata, as the API server applies
//! them.

use serde_json::{Map, Value};

/// The content type of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchForm {
    Merge,
    Strategic,
}

impl PatchForm {
    /// The object after the patch.
    pub(crate) fn apply(self, object: &Value, patch: &Value) -> Value {
        let mut object = object.clone();
        match self {
            Self::Merge => merge(&mut object, patch),
            Self::Strategic => strategic(&mut object, patch),
        }
        object
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    let target = as_map(target);
    for (key, value) in fields {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Like a merge patch, but `ownerReferences` is merged by `uid`, where `$patch: delete` removes an
/// entry.
fn strategic(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    let target = as_map(target);
    for (key, value) in fields {
        match (key.as_str(), value) {
            (_, Value::Null) => drop(target.remove(key)),
            ("ownerReferences", Value::Array(entries)) => {
                let list = target.entry(key.clone()).or_insert(Value::Null);
                merge_owners(list, entries);
            }
            _ => strategic(target.entry(key.clone()).or_insert(Value::Null), value),
        }
    }
}

fn merge_owners(target: &mut Value, entries: &[Value]) {
    let mut owners = target.as_array().cloned().unwrap_or_default();
    for entry in entries {
        let position = owners.iter().position(|owner| owner["uid"] == entry["uid"]);
        match (position, entry["$patch"] == "delete") {
            (Some(position), true) => drop(owners.remove(position)),
            (Some(position), false) => strategic(&mut owners[position], entry),
            (None, true) => {}
            (None, false) => owners.push(entry.clone()),
        }
    }
    *target = Value::Array(owners);
}

fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().unwrap()
}
