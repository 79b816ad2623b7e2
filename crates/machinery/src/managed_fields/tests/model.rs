//! Ownership of the keys of a map, compared with a model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{by, created, kind, map, updated};
use crate::managed_fields::apply;

/// One write to the data of a ConfigMap.
#[derive(Debug, Clone)]
enum Write {
    Update(usize, Value),
    Apply(usize, Value),
}

fn write() -> impl Strategy<Value = Write> {
    let keys =
        || proptest::collection::btree_map("[a-d]", "[12]", 1..4).prop_map(|data| json!(data));
    prop_oneof![
        (0_usize..3, keys()).prop_map(|(who, data)| Write::Update(who, data)),
        (0_usize..3, keys()).prop_map(|(who, data)| Write::Apply(who, data)),
    ]
}

/// The keys of the map, each with its value and its owners.
#[derive(Debug, Default, PartialEq, Eq)]
struct Model(BTreeMap<String, (String, BTreeSet<String>)>);

impl Model {
    fn write(&mut self, write: &Write) {
        let (who, data) = match write {
            Write::Update(who, data) => (format!("{who} Update"), data),
            Write::Apply(who, data) => (format!("{who} Apply"), data),
        };
        let data: BTreeMap<String, String> = serde_json::from_value(data.clone()).unwrap();
        match write {
            Write::Update(..) => self.0.retain(|key, _| data.contains_key(key)),
            Write::Apply(..) => self.0.retain(|key, (_, owners)| {
                data.contains_key(key) || !owners.remove(&who) || !owners.is_empty()
            }),
        }
        for (key, value) in data {
            let (old, owners) = self.0.entry(key).or_default();
            let changed = *old != value;
            if changed {
                *old = value;
                owners.clear();
            }
            if changed || matches!(write, Write::Apply(..)) {
                owners.insert(who.clone());
            }
        }
    }

    fn of(object: &Value) -> Self {
        let mut model = Self::default();
        for (key, value) in object["data"].as_object().into_iter().flatten() {
            model.0.entry(key.clone()).or_default().0 = value.as_str().unwrap().to_owned();
        }
        for entry in object["metadata"]["managedFields"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let who = format!("{} {}", entry["manager"], entry["operation"]).replace('"', "");
            for (key, _) in entry["fieldsV1"]["f:data"]
                .as_object()
                .into_iter()
                .flatten()
            {
                if let Some(key) = key.strip_prefix("f:") {
                    model
                        .0
                        .entry(key.to_owned())
                        .or_default()
                        .1
                        .insert(who.clone());
                }
            }
        }
        model
    }
}

proptest! {
    #[test]
    fn ownership_of_map_keys_follows_the_model(writes in proptest::collection::vec(write(), 1..12)) {
        let names = ["0", "1", "2"];
        let mut model = Model::default();
        let mut live: Option<Value> = None;
        for write in &writes {
            model.write(write);
            live = Some(match (write, &live) {
                (Write::Apply(who, data), live) => {
                    let config = map(data.clone());
                    apply(kind("configmaps"), live.as_ref(), &config, by(names[*who]), true).unwrap()
                }
                (Write::Update(who, data), None) => created("configmaps", map(data.clone()), names[*who]),
                (Write::Update(who, data), Some(live)) => {
                    updated("configmaps", live, by(names[*who]), |new| new["data"] = data.clone())
                }
            });
            prop_assert_eq!(&Model::of(live.as_ref().unwrap()), &model);
        }
    }
}
