//! The fast paths of creates and updates give the result of the full path.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{by, created, daemonset, daemonsets, defaulted, kind, later, map};
use crate::{
    Kind,
    managed_fields::{FieldManager, track_update},
};

/// [`track_update`] with field sets alone, without the fast paths.
fn track_update_full_path(
    kind: &Kind,
    old: Option<&Value>,
    mut new: Value,
    manager: FieldManager<'_>,
) -> Value {
    use crate::managed_fields::{
        Comparison, Operation, add_to_manager, compare, entry, root, take_from_owners,
    };
    entry::take_managed_fields(&mut new);
    let stored = old.and_then(entry::managed_fields_of);
    let reset = kind.strategy.reset_fields(kind, manager.subresource);
    let changes: Comparison = compare(root(kind), old, &new, &reset);
    if old.is_some() && changes.is_empty() {
        entry::put_managed_fields(&mut new, stored.cloned());
        return new;
    }
    let mut entries = entry::decode(stored).unwrap();
    if old.is_none() || !entries.is_empty() {
        take_from_owners(&mut entries, &changes, |_| true);
        let changed = changes.changed();
        if !changed.is_empty() {
            add_to_manager(
                &mut entries,
                manager.entry(kind, Operation::Update, changed),
            );
        }
        entry::cap_update_managers(&mut entries);
    }
    entry::put_managed_fields(&mut new, entry::encode(entries));
    new
}

#[test]
fn create_fast_path_equals_full_path_for_odd_objects() {
    let odd = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "labels": {}, "annotations": {"a": ""}, "finalizers": ["x", "x", "y"],
            "ownerReferences": [{"uid": "u", "kind": "DaemonSet"}], "managedFields": null},
        "spec": {
            "containers": [
                {"name": "c", "image": "", "resources": {}, "ports": [
                    {"containerPort": 80}, {"containerPort": 80, "protocol": "TCP"}, {"containerPort": 81, "name": ""}]},
                {"name": "d", "env": [{"name": "A"}, {"name": "A", "value": "2"}], "args": []},
            ],
            "tolerations": [{"operator": "Exists"}], "nodeSelector": {"a": "b"}, "hostNetwork": false,
            "affinity": {"nodeAffinity": {}}, "securityContext": {}, "nodeName": null, "unknown": {"x": 1},
            "volumes": [],
        },
        "status": {"phase": "Pending"},
    });
    for object in [
        odd,
        daemonset("a:v1"),
        defaulted(daemonset("a:v1")),
        map(json!({})),
        map(json!(3)),
    ] {
        let plural = if object["kind"] == "Pod" {
            "pods"
        } else {
            "daemonsets"
        };
        let plural = if object["kind"] == "ConfigMap" {
            "configmaps"
        } else {
            plural
        };
        let full = track_update_full_path(kind(plural), None, object.clone(), by("m"));
        assert_eq!(created(plural, object, "m"), full);
    }
}

proptest! {
    #[test]
    fn managed_fields_fast_paths_equal_full_path(
        first in daemonsets(), second in daemonsets(), third in daemonsets(), who in 0..3_usize, then in 0..3_usize,
    ) {
        let names = ["a", "b", "c"];
        let kind = kind("daemonsets");
        let fast = created("daemonsets", first.clone(), "a");
        prop_assert_eq!(&fast, &track_update_full_path(kind, None, first, by("a")));
        let mut live = fast;
        for (new, who) in [(second, who), (third, then)] {
            let manager = later(names[who]);
            let full = track_update_full_path(kind, Some(&live), new.clone(), manager);
            let mut fast = new;
            track_update(kind, Some(&live), &mut fast, manager);
            prop_assert_eq!(&fast, &full);
            live = fast;
        }
    }
}
