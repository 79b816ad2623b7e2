//! What holds for any sequence of updates and applies.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{by, created, daemonsets, defaulted, kind, later, map, updated};
use crate::managed_fields::{FieldSet, apply};

/// ConfigMaps with up to four keys.
fn data() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-d]", "[12]", 0..4).prop_map(|data| {
        if data.is_empty() {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})
        } else {
            map(json!(data))
        }
    })
}

proptest! {
    #[test]
    fn second_equal_apply_changes_nothing(live in daemonsets(), config in daemonsets()) {
        let live = created("daemonsets", defaulted(live), "x");
        let once = apply(kind("daemonsets"), Some(&live), &config, by("y"), true).unwrap();
        let twice = apply(kind("daemonsets"), Some(&once), &config, later("y"), true).unwrap();
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn sole_applier_gets_exactly_its_configuration(configs in proptest::collection::vec(data(), 1..6)) {
        let mut live: Option<Value> = None;
        for config in &configs {
            live = Some(apply(kind("configmaps"), live.as_ref(), config, by("m"), false).unwrap());
        }
        let mut live = live.unwrap();
        live["metadata"].as_object_mut().unwrap().remove("managedFields");
        prop_assert_eq!(&live, configs.last().unwrap());
    }

    /// Every field of the object has an owner, and no manager owns a field that is not there.
    #[test]
    fn after_updates_exactly_the_existing_fields_are_owned(objects in proptest::collection::vec(daemonsets(), 1..5)) {
        let names = ["a", "b", "c", "d", "e"];
        let mut live = created("daemonsets", objects[0].clone(), names[0]);
        for (object, name) in objects.iter().zip(names) {
            let new = object.clone();
            live = updated("daemonsets", &live, by(name), |live| {
                live["spec"] = new["spec"].clone();
            });
        }
        let all = created("daemonsets", {
            let mut fresh = live.clone();
            fresh["metadata"].as_object_mut().unwrap().remove("managedFields");
            fresh
        }, "all");
        let mut owned = FieldSet::default();
        for entry in live["metadata"]["managedFields"].as_array().unwrap() {
            owned.union(&FieldSet::from_json(&entry["fieldsV1"]).unwrap());
        }
        let all = FieldSet::from_json(&all["metadata"]["managedFields"][0]["fieldsV1"]).unwrap();
        prop_assert_eq!(owned, all);
    }
}
