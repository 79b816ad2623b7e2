//! The entries of `metadata.managedFields` (`metav1.ManagedFieldsEntry`), and the list in an
//! object.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, btree_map},
};

use serde_json::{Value, json};

use super::field_set::FieldSet;

/// Most entries with the operation Update in one object; the oldest are merged beyond that
/// (upstream's `DefaultMaxUpdateManagers`).
pub(super) const MAX_UPDATE_MANAGERS: usize = 10;
/// Manager of an entry that was merged from the oldest ones (upstream's name).
const ANCIENT_CHANGES: &str = "ancient-changes";

/// The operation by which a manager came to own its fields. The order is that of the entries in an
/// object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// One entry of `managedFields`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    /// Empty for the object itself.
    pub(super) subresource: String,
    /// RFC 3339 in UTC with whole seconds.
    pub(super) time: Option<String>,
    /// The fields that the manager owns.
    pub(super) set: FieldSet,
}

impl Entry {
    /// Whether both entries belong to the same manager. The API version does not tell appliers
    /// apart.
    pub(super) fn same_manager(&self, other: &Self) -> bool {
        self.cmp_manager(other) == Ordering::Equal
    }

    pub(super) fn cmp_manager(&self, other: &Self) -> Ordering {
        self.manager_key().cmp(&other.manager_key())
    }

    fn manager_key(&self) -> (&str, Operation, &str, &str) {
        let version = match self.operation {
            Operation::Apply => "",
            Operation::Update => &self.api_version,
        };
        (&self.manager, self.operation, version, &self.subresource)
    }

    fn decode(json: &Value) -> Option<Self> {
        let text = |name: &str| text_of(json, name).to_owned();
        let operation = match text_of(json, "operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        let api_version = text("apiVersion");
        if api_version.is_empty() || text_of(json, "fieldsType") != "FieldsV1" {
            return None;
        }
        let set = match json.get("fieldsV1") {
            None | Some(Value::Null) => FieldSet::default(),
            Some(fields) => FieldSet::from_json(fields).ok()?,
        };
        let time = json.get("time").and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            manager: text("manager"),
            operation,
            api_version,
            subresource: text("subresource"),
            time,
            set,
        })
    }

    /// The JSON form.
    pub(super) fn encode(&self) -> Value {
        self.encode_with(self.set.to_json())
    }

    /// The JSON form with these `fieldsV1` instead of the fields in [`Self::set`].
    pub(super) fn encode_with(&self, fields: Value) -> Value {
        let mut json = json!({
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
            "operation": match self.operation {
                Operation::Apply => "Apply",
                Operation::Update => "Update",
            },
        });
        let optional = [
            (
                "manager",
                Some(&self.manager).filter(|text| !text.is_empty()),
            ),
            (
                "subresource",
                Some(&self.subresource).filter(|text| !text.is_empty()),
            ),
            ("time", self.time.as_ref()),
        ];
        for (name, text) in optional {
            if let (Some(text), Some(fields)) = (text, json.as_object_mut()) {
                fields.insert(name.to_owned(), Value::String(text.clone()));
            }
        }
        json
    }
}

fn text_of<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Reads `managedFields`; `None` if an entry is malformed. Of several entries of one manager the
/// last counts.
pub(super) fn decode(list: Option<&Value>) -> Option<Vec<Entry>> {
    let Some(Value::Array(list)) = list else {
        return Some(Vec::new());
    };
    let mut entries: Vec<Entry> = Vec::with_capacity(list.len());
    let mut known: BTreeMap<(&str, Operation, &str, &str), usize> = BTreeMap::new();
    for json in list {
        let entry = Entry::decode(json)?;
        let version = match entry.operation {
            Operation::Apply => "",
            Operation::Update => text_of(json, "apiVersion"),
        };
        let (manager, part) = (text_of(json, "manager"), text_of(json, "subresource"));
        match known.entry((manager, entry.operation, version, part)) {
            btree_map::Entry::Occupied(at) => entries[*at.get()] = entry,
            btree_map::Entry::Vacant(new) => {
                new.insert(entries.len());
                entries.push(entry);
            }
        }
    }
    Some(entries)
}

/// Writes `managedFields`; `None` if there is no entry.
pub(super) fn encode(entries: Vec<Entry>) -> Option<Value> {
    if entries.is_empty() {
        return None;
    }
    let mut list: Vec<Value> = entries.iter().map(Entry::encode).collect();
    sort_entries(&mut list);
    Some(Value::Array(list))
}

/// Sorts entries as upstream's `sortEncodedManagedFields`: by operation, time, manager, version and
/// subresource.
pub(super) fn sort_entries(entries: &mut [Value]) {
    entries.sort_by_cached_key(|entry| {
        ["operation", "time", "manager", "apiVersion", "subresource"]
            .map(|name| text_of(entry, name).to_owned())
    });
}

/// Merges the oldest entries with the operation Update, version by version, until at most
/// [`MAX_UPDATE_MANAGERS`] are left (upstream's `capManagersManager`).
pub(super) fn cap_update_managers(entries: &mut Vec<Entry>) {
    let mut left = entries
        .iter()
        .filter(|e| e.operation == Operation::Update)
        .count();
    if left <= MAX_UPDATE_MANAGERS {
        return;
    }
    let (appliers, mut updaters): (Vec<_>, Vec<_>) = std::mem::take(entries)
        .into_iter()
        .partition(|e| e.operation == Operation::Apply);
    updaters.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.cmp_manager(b)));
    let mut kept: Vec<Entry> = Vec::with_capacity(MAX_UPDATE_MANAGERS);
    for entry in updaters {
        let bucket = kept
            .iter_mut()
            .find(|other| other.api_version == entry.api_version);
        match bucket.filter(|_| MAX_UPDATE_MANAGERS < left) {
            Some(bucket) => {
                bucket.set.union(&entry.set);
                bucket.time = entry.time;
                ANCIENT_CHANGES.clone_into(&mut bucket.manager);
                bucket.subresource.clear();
                left -= 1;
            }
            None => kept.push(entry),
        }
    }
    *entries = appliers;
    entries.extend(kept);
}

/// The `managedFields` of an object, unless they are absent or null.
pub(super) fn managed_fields_of(object: &Value) -> Option<&Value> {
    object
        .get("metadata")?
        .get("managedFields")
        .filter(|list| !list.is_null())
}

/// Removes the `managedFields` from an object; `None` if they were absent or null.
pub(super) fn take_managed_fields(object: &mut Value) -> Option<Value> {
    let taken = object
        .get_mut("metadata")?
        .as_object_mut()?
        .remove("managedFields");
    taken.filter(|list| !list.is_null())
}

/// Sets the `managedFields` of an object; `None` leaves it as it is.
pub(super) fn put_managed_fields(object: &mut Value, list: Option<Value>) {
    let Some(list) = list else { return };
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.insert("managedFields".into(), list);
    }
}
