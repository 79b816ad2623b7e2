//! The entries of `metadata.managedFields`.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::set::FieldSet;

/// How many managers that update an object are told apart; the oldest are merged beyond that.
pub(super) const MAX_UPDATERS: usize = 10;
/// Under this name the oldest updates are kept.
const ANCIENT: &str = "ancient-changes";

/// How a manager came to own its fields. The order is that of the entries in an object.
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
    pub(super) subresource: String,
    pub(super) time: Option<String>,
    pub(super) set: FieldSet,
}

impl Entry {
    /// Whether both are the same manager: an applier is the same in every version.
    pub(super) fn is_same_manager(&self, other: &Self) -> bool {
        self.cmp_manager(other) == Ordering::Equal
    }

    pub(super) fn cmp_manager(&self, other: &Self) -> Ordering {
        let version = |entry: &Self| match entry.operation {
            Operation::Apply => String::new(),
            Operation::Update => entry.api_version.clone(),
        };
        self.manager
            .cmp(&other.manager)
            .then(self.operation.cmp(&other.operation))
            .then_with(|| version(self).cmp(&version(other)))
            .then_with(|| self.subresource.cmp(&other.subresource))
    }

    fn decode(json: &Value) -> Option<Self> {
        let text = |name: &str| {
            json.get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let operation = match text("operation").as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        let api_version = text("apiVersion");
        if api_version.is_empty() || text("fieldsType") != "FieldsV1" {
            return None;
        }
        let set = match json.get("fieldsV1") {
            None | Some(Value::Null) => FieldSet::default(),
            Some(fields) => FieldSet::from_json(fields).ok()?,
        };
        let time = json.get("time").and_then(Value::as_str).map(str::to_owned);
        let (manager, subresource) = (text("manager"), text("subresource"));
        Some(Self {
            manager,
            operation,
            api_version,
            subresource,
            time,
            set,
        })
    }

    pub(super) fn encode(&self) -> Value {
        self.encode_with(self.set.to_json())
    }

    /// As [`Self::encode`], with fields that are written down already.
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

/// Reads `managedFields`; `None` if one entry is malformed.
pub(super) fn decode(list: Option<&Value>) -> Option<Vec<Entry>> {
    let Some(Value::Array(list)) = list else {
        return Some(Vec::new());
    };
    let mut entries: Vec<Entry> = Vec::with_capacity(list.len());
    for json in list {
        let entry = Entry::decode(json)?;
        match entries
            .iter_mut()
            .find(|other| other.is_same_manager(&entry))
        {
            Some(other) => *other = entry,
            None => entries.push(entry),
        }
    }
    Some(entries)
}

/// Writes `managedFields`. `None` without entries.
pub(super) fn encode(entries: Vec<Entry>) -> Option<Value> {
    if entries.is_empty() {
        return None;
    }
    let mut list: Vec<Value> = entries.iter().map(Entry::encode).collect();
    sort_json(&mut list);
    Some(Value::Array(list))
}

/// Upstream's order of entries: by operation, time, name, version and subresource.
pub(super) fn sort_json(entries: &mut [Value]) {
    let text = |entry: &Value, name: &str| {
        entry
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    entries.sort_by_cached_key(|entry| {
        ["operation", "time", "manager", "apiVersion", "subresource"].map(|name| text(entry, name))
    });
}

/// Merges the oldest updaters of one version into one entry until at most ten are left.
pub(super) fn cap_updaters(entries: &mut Vec<Entry>) {
    let mut left = entries
        .iter()
        .filter(|e| e.operation == Operation::Update)
        .count();
    if left <= MAX_UPDATERS {
        return;
    }
    let (appliers, mut updaters): (Vec<_>, Vec<_>) = std::mem::take(entries)
        .into_iter()
        .partition(|e| e.operation == Operation::Apply);
    updaters.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.cmp_manager(b)));
    let mut kept: Vec<Entry> = Vec::with_capacity(MAX_UPDATERS);
    for entry in updaters {
        let bucket = kept
            .iter_mut()
            .find(|other| other.api_version == entry.api_version);
        match bucket.filter(|_| MAX_UPDATERS < left) {
            Some(bucket) => {
                bucket.set.union(&entry.set);
                bucket.time = entry.time;
                ANCIENT.clone_into(&mut bucket.manager);
                bucket.subresource.clear();
                left -= 1;
            }
            None => kept.push(entry),
        }
    }
    *entries = appliers;
    entries.extend(kept);
}
