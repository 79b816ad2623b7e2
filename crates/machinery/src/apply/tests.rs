//! Ownership, case by case: who owns what after which write, and who is in whose way.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{FieldSet, Manager, apply, keep_times, track_update};
use crate::{Kind, catalogue, patch::json_patch, status::Status};

const T1: &str = "2026-01-01T00:00:00Z";
const T2: &str = "2026-01-02T00:00:00Z";

fn kind(plural: &str) -> &'static Kind {
    let group = if plural == "daemonsets" { "apps" } else { "" };
    catalogue::find(group, "v1", plural).unwrap()
}

fn by(name: &'static str) -> Manager<'static> {
    Manager {
        name,
        subresource: "",
        now: T1,
    }
}

fn later(name: &'static str) -> Manager<'static> {
    Manager {
        now: T2,
        ..by(name)
    }
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
}

fn created(plural: &str, object: Value, manager: &'static str) -> Value {
    let mut object = object;
    track_update(kind(plural), None, &mut object, by(manager));
    object
}

fn updated(
    plural: &str,
    old: &Value,
    manager: Manager<'_>,
    edit: impl FnOnce(&mut Value),
) -> Value {
    let mut new = old.clone();
    edit(&mut new);
    track_update(kind(plural), Some(old), &mut new, manager);
    new
}

fn applied(plural: &str, live: Option<&Value>, config: Value, manager: Manager<'_>) -> Value {
    apply(kind(plural), live, &config, manager, false).unwrap()
}

fn refused(plural: &str, live: &Value, config: Value, manager: &'static str) -> Box<Status> {
    apply(kind(plural), Some(live), &config, by(manager), false).unwrap_err()
}

/// `manager operation time fields`, one line for each entry.
fn owners(object: &Value) -> Vec<String> {
    let Some(entries) = object["metadata"]["managedFields"].as_array() else {
        return Vec::new();
    };
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("-").to_owned();
    entries
        .iter()
        .map(|entry| {
            assert_eq!(entry["fieldsType"], "FieldsV1");
            let manager = match entry["subresource"].as_str() {
                Some(subresource) => format!("{}/{subresource}", text(entry, "manager")),
                None => text(entry, "manager"),
            };
            let day = if text(entry, "time") == T1 { "1" } else { "2" };
            format!(
                "{manager} {} {day} {}",
                text(entry, "operation"),
                entry["fieldsV1"]
            )
        })
        .collect()
}

fn daemonset(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "ds"},
        "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    })
}

/// What the server adds to a DaemonSet after it was applied or before it is tracked.
fn defaulted(mut object: Value) -> Value {
    let spec = &mut object["spec"];
    spec["revisionHistoryLimit"] = json!(10);
    spec["updateStrategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
    let pod = &mut spec["template"]["spec"];
    pod["dnsPolicy"] = json!("ClusterFirst");
    pod["securityContext"] = json!({});
    for container in pod["containers"].as_array_mut().unwrap() {
        container["resources"] = json!({});
        container["imagePullPolicy"] = json!("Always");
    }
    object
}

#[test]
fn create_owns_what_it_sets() {
    let mut object = map(json!({"a": "1"}));
    object["metadata"] = json!({"name": "c", "namespace": "n", "uid": "u", "labels": {"l": "1"}, "generateName": "g"});
    assert_eq!(
        owners(&created("configmaps", object, "kubectl")),
        [
            r#"kubectl Update 1 {"f:data":{".":{},"f:a":{}},"f:metadata":{"f:generateName":{},"f:labels":{".":{},"f:l":{}}}}"#
        ]
    );
}

#[test]
fn create_of_a_daemonset_reads_as_upstream() {
    let object = created("daemonsets", defaulted(daemonset("a:v1")), "kubectl-create");
    let expected = json!({"f:spec": {
        "f:revisionHistoryLimit": {},
        "f:selector": {},
        "f:template": {
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:containers": {"k:{\"name\":\"c\"}": {
                    ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {}}},
                "f:dnsPolicy": {},
                "f:securityContext": {},
            },
        },
        "f:updateStrategy": {
            "f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}},
            "f:type": {},
        },
    }});
    assert_eq!(object["metadata"]["managedFields"][0]["fieldsV1"], expected);
}

/// A DaemonSet as an upstream server kept it: created by `kubectl apply`, run by the controller, patched.
#[test]
fn the_entries_of_a_recorded_daemonset() {
    let recorded: Value = serde_json::from_str(include_str!("tests/recorded.json")).unwrap();
    let mut object = recorded.clone();
    object["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("managedFields");
    let status = object.as_object_mut().unwrap().remove("status").unwrap();
    let image = "/spec/template/spec/containers/0/image";
    *object.pointer_mut(image).unwrap() = json!("fluent/fluentd:v1.14");
    let at = |time: &'static str, name: &'static str, subresource: &'static str| Manager {
        name,
        subresource,
        now: time,
    };
    let (created, changed) = ("2026-11-20T22:36:29Z", "2026-11-20T22:36:32Z");
    let kind = kind("daemonsets");
    track_update(
        kind,
        None,
        &mut object,
        at(created, "kubectl-client-side-apply", ""),
    );
    let controller = at(changed, "kube-controller-manager", "status");
    let object = updated("daemonsets", &object, controller, |new| {
        new["status"] = status;
    });
    let object = updated(
        "daemonsets",
        &object,
        at(changed, "kubectl-patch", ""),
        |new| {
            *new.pointer_mut(image).unwrap() = json!("fluent/fluentd:v1.15");
        },
    );
    let mut entries = object["metadata"]["managedFields"].clone();
    // The recording server did not tell subresources apart yet.
    entries[1].as_object_mut().unwrap().remove("subresource");
    assert_eq!(entries, recorded["metadata"]["managedFields"]);
}

#[test]
fn an_update_takes_what_it_changes() {
    let object = created(
        "configmaps",
        map(json!({"a": "1", "b": "1", "c": "1"})),
        "x",
    );
    let object = updated("configmaps", &object, later("y"), |new| {
        new["data"] = json!({"a": "1", "b": "2", "d": "1"});
    });
    assert_eq!(
        owners(&object),
        [
            r#"x Update 1 {"f:data":{".":{},"f:a":{}}}"#,
            r#"y Update 2 {"f:data":{"f:b":{},"f:d":{}}}"#
        ]
    );
}

#[test]
fn an_update_takes_from_appliers_too() {
    let object = applied(
        "configmaps",
        None,
        map(json!({"a": "1", "b": "1"})),
        by("x"),
    );
    let object = updated("configmaps", &object, later("y"), |new| {
        new["data"]["b"] = json!("2");
    });
    assert_eq!(
        owners(&object),
        [
            r#"x Apply 1 {"f:data":{"f:a":{}}}"#,
            r#"y Update 2 {"f:data":{"f:b":{}}}"#
        ]
    );
}

#[test]
fn a_write_that_changes_nothing_leaves_the_entries() {
    let object = created("configmaps", map(json!({"a": "1"})), "x");
    assert_eq!(updated("configmaps", &object, later("y"), |_| ()), object);
    let no_entries = updated("configmaps", &object, later("y"), |new| {
        new["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("managedFields");
    });
    assert_eq!(no_entries, object);
}

#[test]
fn a_manager_that_lost_everything_is_gone() {
    let object = created("configmaps", map(json!({"a": "1"})), "x");
    let object = updated("configmaps", &object, later("y"), |new| {
        new.as_object_mut().unwrap().remove("data");
        new["binaryData"] = json!({"k": "eA=="});
    });
    assert_eq!(
        owners(&object),
        [r#"y Update 2 {"f:binaryData":{".":{},"f:k":{}}}"#]
    );
}

#[test]
fn status_is_owned_through_its_subresource_only() {
    let mut object = defaulted(daemonset("a:v1"));
    object["status"] = json!({"currentNumberScheduled": 7});
    let object = created("daemonsets", object, "a");
    assert!(!owners(&object)[0].contains("f:status"));
    let status = Manager {
        subresource: "status",
        ..later("ctl")
    };
    let object = updated("daemonsets", &object, status, |new| {
        new["status"] = json!({"currentNumberScheduled": 7, "collisionCount": 1, "numberReady": 0});
        new["spec"]["revisionHistoryLimit"] = json!(3);
    });
    assert_eq!(
        owners(&object)[1..],
        [r#"ctl/status Update 2 {"f:status":{"f:collisionCount":{}}}"#]
    );
    assert!(owners(&object)[0].contains("f:revisionHistoryLimit"));
}

#[test]
fn pod_conditions_are_told_apart_by_type() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"nodeName": "n"}});
    let pod = created("pods", pod, "ctl");
    let status = Manager {
        subresource: "status",
        ..by("kubelet")
    };
    let pod = updated("pods", &pod, status, |new| {
        new["status"] = json!({"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}],
                               "podIPs": [{"ip": "10.0.0.1"}]});
    });
    assert_eq!(
        owners(&pod)[1],
        concat!(
            r#"kubelet/status Update 1 {"f:status":{"f:conditions":{".":{},"k:{\"type\":\"Ready\"}":{".":{},"#,
            r#""f:status":{},"f:type":{}}},"f:phase":{},"f:podIPs":{".":{},"k:{\"ip\":\"10.0.0.1\"}":{".":{},"f:ip":{}}}}}"#
        )
    );
    let other = Manager {
        subresource: "status",
        ..later("gates")
    };
    let pod = updated("pods", &pod, other, |new| {
        let conditions = new["status"]["conditions"].as_array_mut().unwrap();
        conditions.insert(0, json!({"type": "Gate", "status": "True"}));
    });
    assert_eq!(
        owners(&pod)[2],
        r#"gates/status Update 2 {"f:status":{"f:conditions":{"k:{\"type\":\"Gate\"}":{".":{},"f:status":{},"f:type":{}}}}}"#
    );
}

#[test]
fn changing_own_values_again_moves_the_time_only() {
    let object = created("configmaps", map(json!({"a": "1", "b": "1"})), "x");
    let object = updated("configmaps", &object, by("a"), |new| {
        new["data"]["a"] = json!("2");
    });
    let again = updated("configmaps", &object, later("a"), |new| {
        new["data"]["a"] = json!("3");
    });
    assert_eq!(
        owners(&again),
        [
            r#"x Update 1 {"f:data":{".":{},"f:b":{}}}"#,
            r#"a Update 2 {"f:data":{"f:a":{}}}"#
        ]
    );
    let gone = updated("configmaps", &again, later("a"), |new| {
        new["data"] = json!({"b": "1"});
    });
    assert_eq!(
        owners(&gone),
        [r#"x Update 1 {"f:data":{".":{},"f:b":{}}}"#]
    );
}

#[test]
fn owner_references_and_finalizers() {
    let mut object = map(json!({}));
    object["metadata"] = json!({"name": "c", "finalizers": ["a/b"],
                                "ownerReferences": [{"uid": "u", "kind": "K", "name": "n", "apiVersion": "v1"}]});
    assert_eq!(
        owners(&created("configmaps", object, "x")),
        [concat!(
            r#"x Update 1 {"f:data":{},"f:metadata":{"f:finalizers":{".":{},"v:\"a/b\"":{}},"#,
            r#""f:ownerReferences":{".":{},"k:{\"uid\":\"u\"}":{}}}}"#
        )]
    );
}

#[test]
fn at_most_ten_updaters() {
    let names: Vec<String> = (0..14).map(|n| format!("m{n:02}")).collect();
    let mut object = map(json!({}));
    track_update(kind("configmaps"), None, &mut object, by("first"));
    for (n, name) in names.iter().enumerate() {
        let now = format!("2026-02-01T00:00:{n:02}Z");
        let manager = Manager {
            name,
            subresource: "",
            now: &now,
        };
        object = updated("configmaps", &object, manager, |new| {
            new["data"][name] = json!("1");
        });
    }
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 10);
    assert_eq!(entries[0]["manager"], "ancient-changes");
    assert_eq!(entries[0]["time"], "2026-02-01T00:00:04Z");
    assert_eq!(
        entries[0]["fieldsV1"],
        json!({"f:data": {".": {}, "f:m00": {}, "f:m01": {}, "f:m02": {}, "f:m03": {}, "f:m04": {}}})
    );
}

#[test]
fn clients_may_reset_the_entries() {
    let object = created("configmaps", map(json!({"a": "1"})), "x");
    for reset in [json!([]), json!([{}])] {
        let object = updated("configmaps", &object, later("y"), |new| {
            new["metadata"]["managedFields"] = reset;
            new["data"]["a"] = json!("2");
        });
        assert_eq!(owners(&object), Vec::<String>::new());
        let object = updated("configmaps", &object, later("y"), |new| {
            new["data"]["a"] = json!("3");
        });
        assert_eq!(owners(&object), Vec::<String>::new());
    }
    let malformed = updated("configmaps", &object, later("y"), |new| {
        new["metadata"]["managedFields"] = json!([{"manager": "z", "operation": "Guess"}]);
    });
    assert_eq!(malformed, object);
}

/// The four requests of `kubectl apply --server-side` on an object that `kubectl apply` made.
#[test]
fn kubectl_migrates_from_client_side_apply() {
    const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let config = map(json!({"a": "2"}));
    let mut object = map(json!({"a": "1"}));
    object["metadata"]["annotations"] = json!({ANNOTATION: map(json!({"a": "1"})).to_string()});
    let object = created("configmaps", object, "kubectl-client-side-apply");
    // The configuration itself: no conflict, and the annotation follows.
    let object = applied(
        "configmaps",
        Some(&object),
        config.clone(),
        later("kubectl"),
    );
    let last = object["metadata"]["annotations"][ANNOTATION].clone();
    assert_eq!(last, format!("{config}\n"));
    // The annotation gets an owner of its own.
    let mut annotation = map(json!({}));
    annotation.as_object_mut().unwrap().remove("data");
    annotation["metadata"]["annotations"] = json!({ANNOTATION: last});
    let mut object = applied(
        "configmaps",
        Some(&object),
        annotation,
        later("kubectl-last-applied"),
    );
    // The entries of client-side apply are merged into those of server-side apply.
    object["metadata"]["resourceVersion"] = json!("7");
    let operations = json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": [
            {"manager": "kubectl", "operation": "Apply", "apiVersion": "v1", "time": T2, "fieldsType": "FieldsV1",
             "fieldsV1": {"f:data": {".": {}, "f:a": {}}, "f:metadata": {"f:annotations": {".": {}}}}},
            {"manager": "kubectl-last-applied", "operation": "Apply", "apiVersion": "v1", "time": T2,
             "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:annotations": {format!("f:{ANNOTATION}"): {}}}}}]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
    ]);
    let mut migrated = json_patch(
        kind("configmaps"),
        "c",
        &object,
        operations.to_string().as_bytes(),
    )
    .unwrap();
    track_update(
        kind("configmaps"),
        Some(&object),
        &mut migrated,
        later("kubectl"),
    );
    assert_eq!(
        owners(&migrated),
        [
            r#"kubectl Apply 2 {"f:data":{".":{},"f:a":{}},"f:metadata":{"f:annotations":{}}}"#
                .to_owned(),
            format!(
                r#"kubectl-last-applied Apply 2 {{"f:metadata":{{"f:annotations":{{"f:{ANNOTATION}":{{}}}}}}}}"#
            )
        ]
    );
    // And once more the configuration.
    let object = applied("configmaps", Some(&migrated), config, later("kubectl"));
    assert_eq!(object["data"], json!({"a": "2"}));
    assert_eq!(object["metadata"]["annotations"][ANNOTATION], last);
}

#[test]
fn apply_creates_and_owns_its_configuration() {
    let mut config = map(json!({"a": "1"}));
    config["metadata"]["labels"] = json!({"x": "y"});
    let object = applied("configmaps", None, config.clone(), by("m1"));
    assert_eq!(
        owners(&object),
        [r#"m1 Apply 1 {"f:data":{"f:a":{}},"f:metadata":{"f:labels":{"f:x":{}}}}"#]
    );
    let mut bare = object;
    bare["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("managedFields");
    assert_eq!(bare, config);
}

#[test]
fn apply_owns_no_defaults() {
    let object = defaulted(applied("daemonsets", None, daemonset("a:v1"), by("m1")));
    let expected = [concat!(
        r#"m1 Apply 1 {"f:spec":{"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:app":{}}},"#,
        r#""f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{}}}}}}}"#
    )];
    assert_eq!(owners(&object), expected);
    assert_eq!(
        applied("daemonsets", Some(&object), daemonset("a:v1"), later("m1")),
        object
    );
}

#[test]
fn a_second_applier_adds_its_own_container() {
    let object = defaulted(applied("daemonsets", None, daemonset("a:v1"), by("m1")));
    let side = |name: &str, image: &str| {
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "ds"},
               "spec": {"template": {"spec": {"containers": [{"name": name, "image": image}]}}}})
    };
    let object = applied(
        "daemonsets",
        Some(&object),
        side("side", "s:v1"),
        later("m2"),
    );
    let names: Vec<&Value> = object["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(names, ["c", "side"]);
    let status = refused("daemonsets", &object, side("c", "other"), "m2");
    let path = ".spec.template.spec.containers[name=\"c\"].image";
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(
        status.message,
        format!("Apply failed with 1 conflict: conflict with \"m1\": {path}")
    );
    let details = status.details.unwrap();
    assert_eq!(
        serde_json::to_value(&*details).unwrap(),
        json!({"causes": [{"reason": "FieldManagerConflict", "message": "conflict with \"m1\"", "field": path}]})
    );
    // What m2 no longer applies goes away, defaults of the container included.
    let none = side("c", "a:v1");
    let object = applied("daemonsets", Some(&defaulted(object)), none, later("m2"));
    let containers = object["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    assert_eq!(containers.len(), 1);
    assert_eq!(containers[0]["imagePullPolicy"], "Always");
}

#[test]
fn conflicts_are_listed_by_manager() {
    let object = applied(
        "configmaps",
        None,
        map(json!({"a": "1", "b": "1"})),
        by("m1"),
    );
    let object = updated("configmaps", &object, later("w"), |new| {
        new["data"]["c"] = json!("1");
    });
    let status = refused(
        "configmaps",
        &object,
        map(json!({"a": "2", "b": "2", "c": "2"})),
        "m2",
    );
    assert_eq!(
        status.message,
        "Apply failed with 3 conflicts: conflicts with \"m1\":\n- .data.a\n- .data.b\nconflicts with \"w\" using v1:\n- .data.c"
    );
    let status = refused("configmaps", &object, map(json!({"c": "2"})), "m2");
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"w\" using v1: .data.c"
    );
}

#[test]
fn equal_values_are_shared_and_force_takes() {
    let object = applied(
        "configmaps",
        None,
        map(json!({"a": "1", "b": "1"})),
        by("m1"),
    );
    let shared = applied(
        "configmaps",
        Some(&object),
        map(json!({"a": "1"})),
        later("m2"),
    );
    assert_eq!(
        owners(&shared),
        [
            r#"m1 Apply 1 {"f:data":{"f:a":{},"f:b":{}}}"#,
            r#"m2 Apply 2 {"f:data":{"f:a":{}}}"#
        ]
    );
    let forced = apply(
        kind("configmaps"),
        Some(&object),
        &map(json!({"a": "2"})),
        later("m2"),
        true,
    )
    .unwrap();
    assert_eq!(forced["data"], json!({"a": "2", "b": "1"}));
    assert_eq!(
        owners(&forced),
        [
            r#"m1 Apply 1 {"f:data":{"f:b":{}}}"#,
            r#"m2 Apply 2 {"f:data":{"f:a":{}}}"#
        ]
    );
}

#[test]
fn force_against_an_updater_leaves_it_the_map() {
    let object = created("configmaps", map(json!({"a": "1"})), "writer");
    let config = map(json!({"a": "2"}));
    let forced = apply(kind("configmaps"), Some(&object), &config, by("m1"), true).unwrap();
    assert_eq!(
        owners(&forced),
        [
            r#"m1 Apply 1 {"f:data":{"f:a":{}}}"#,
            r#"writer Update 1 {"f:data":{}}"#
        ]
    );
}

#[test]
fn what_is_no_longer_applied_goes_unless_owned() {
    let object = applied(
        "configmaps",
        None,
        map(json!({"a": "1", "b": "1", "c": "1"})),
        by("m1"),
    );
    let object = applied(
        "configmaps",
        Some(&object),
        map(json!({"b": "1"})),
        by("m2"),
    );
    let object = updated("configmaps", &object, by("w"), |new| {
        new["data"]["d"] = json!("1");
    });
    let object = applied(
        "configmaps",
        Some(&object),
        map(json!({"a": "1"})),
        later("m1"),
    );
    assert_eq!(object["data"], json!({"a": "1", "b": "1", "d": "1"}));
    let mut nothing = map(json!({}));
    nothing.as_object_mut().unwrap().remove("data");
    let object = applied("configmaps", Some(&object), nothing.clone(), later("m1"));
    assert_eq!(object["data"], json!({"b": "1", "d": "1"}));
    let object = applied("configmaps", Some(&object), nothing.clone(), later("m2"));
    assert_eq!(object["data"], json!({"d": "1"}));
    // The last applied key takes the map with it.
    let only = applied("configmaps", None, map(json!({"a": "1"})), by("m1"));
    let none = applied("configmaps", Some(&only), nothing, later("m1"));
    assert_eq!(
        none,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})
    );
}

#[test]
fn applied_lists_keep_their_order() {
    let env = |names: &[&str]| {
        let items: Vec<Value> = names
            .iter()
            .map(|name| json!({"name": name, "value": name}))
            .collect();
        let mut object = daemonset("a:v1");
        object["spec"]["template"]["spec"]["containers"][0]["env"] = json!(items);
        object
    };
    let names = |object: &Value| -> Vec<String> {
        let list = &object["spec"]["template"]["spec"]["containers"][0]["env"];
        list.as_array()
            .unwrap()
            .iter()
            .map(|e| e["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let live = created("daemonsets", env(&["a", "b", "c", "d"]), "x");
    let cases: [(&[&str], &[&str]); 5] = [
        (&["d", "a"], &["b", "c", "d", "a"]),
        (&["e", "b"], &["a", "e", "b", "c", "d"]),
        (&["b", "e"], &["a", "b", "c", "d", "e"]),
        (&["c", "b", "a"], &["c", "d", "b", "a"]),
        (&["x"], &["a", "b", "c", "d", "x"]),
    ];
    for (config, expected) in cases {
        let merged = applied("daemonsets", Some(&live), env(config), by("y"));
        assert_eq!(names(&merged), expected, "{config:?}");
    }
}

#[test]
fn key_fields_may_have_their_default() {
    let service = |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}});
    let object = applied("services", None, service(json!([{"port": 80}])), by("m1"));
    assert_eq!(
        owners(&object),
        [
            r#"m1 Apply 1 {"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}}}}"#
        ]
    );
    let mut object = object;
    object["spec"]["ports"][0]["protocol"] = json!("TCP");
    assert_eq!(
        applied(
            "services",
            Some(&object),
            service(json!([{"port": 80}])),
            later("m1")
        ),
        object
    );
}

#[test]
fn first_apply_on_an_untracked_object() {
    let live = map(json!({"a": "1", "b": "1"}));
    let object = applied("configmaps", Some(&live), map(json!({"a": "1"})), by("m1"));
    assert_eq!(
        owners(&object),
        [
            r#"m1 Apply 1 {"f:data":{"f:a":{}}}"#,
            r#"before-first-apply Update 1 {"f:data":{".":{},"f:a":{},"f:b":{}}}"#
        ]
    );
}

#[test]
fn kubectl_takes_over_from_its_client_side_apply() {
    let applied_before = daemonset("a:v1");
    let mut live = defaulted(daemonset("a:v1"));
    live["metadata"]["annotations"] = json!({
        "kubectl.kubernetes.io/last-applied-configuration": applied_before.to_string(), "k": "v"});
    let live = created("daemonsets", live, "kubectl-client-side-apply");
    let status = refused("daemonsets", &live, daemonset("a:v2"), "other");
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: \
         .spec.template.spec.containers[name=\"c\"].image"
    );
    let object = applied(
        "daemonsets",
        Some(&live),
        daemonset("a:v2"),
        later("kubectl"),
    );
    let annotations = &object["metadata"]["annotations"];
    assert_eq!(
        annotations["kubectl.kubernetes.io/last-applied-configuration"],
        format!("{}\n", daemonset("a:v2"))
    );
    let scaled = updated("daemonsets", &live, by("someone"), |new| {
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:v9");
    });
    assert_eq!(
        refused("daemonsets", &scaled, daemonset("a:v2"), "kubectl").code,
        409
    );
}

#[test]
fn status_cannot_be_applied_through_the_main_resource() {
    let mut config = daemonset("a:v1");
    config["status"] = json!({"collisionCount": 1});
    let object = applied("daemonsets", None, config, by("m1"));
    assert!(!owners(&object)[0].contains("f:status"));
}

#[test]
fn bad_configurations() {
    let live = map(json!({"a": "1"}));
    let cases = [
        (
            json!({"metadata": {"name": "c"}}),
            400,
            "invalid object type: /, Kind=",
        ),
        (
            json!({"apiVersion": "apps/v1", "kind": "DaemonSet"}),
            400,
            "invalid object type: apps/v1, Kind=DaemonSet",
        ),
        (
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"managedFields": []}}),
            400,
            "metadata.managedFields must be nil",
        ),
        (
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "dota": {}}),
            500,
            "failed to create typed patch object (/c; /v1, Kind=ConfigMap): .dota: field not declared in schema",
        ),
    ];
    for (config, code, text) in cases {
        let status = refused("configmaps", &live, config, "m");
        assert_eq!((status.code, status.message.as_str()), (code, text));
    }
    let mut twice = daemonset("a");
    let containers = twice["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap();
    containers.push(json!({"name": "c"}));
    containers.push(json!({"image": "x"}));
    let status = apply(kind("daemonsets"), None, &twice, by("m"), false).unwrap_err();
    assert_eq!(
        status.message,
        "failed to create typed patch object (/ds; apps/v1, Kind=DaemonSet): errors:\n  \
         .spec.template.spec.containers: duplicate entries for key [name=\"c\"]\n  \
         .spec.template.spec.containers: element 2: associative list with keys has an element that omits \
         key field \"name\" (and doesn't have default value)"
    );
}

#[test]
fn times_alone_are_no_change() {
    let old = created("configmaps", map(json!({"a": "1"})), "x");
    let mut new = old.clone();
    new["metadata"]["managedFields"][0]["time"] = json!(T2);
    let mut changed = new.clone();
    changed["data"]["a"] = json!("2");
    keep_times(&old, &mut new);
    assert_eq!(new, old);
    let before = changed.clone();
    keep_times(&old, &mut changed);
    assert_eq!(changed, before);
}

#[test]
fn sets_read_what_go_wrote() {
    let go = json!({"f:a": {".": {}, "k:{\"b\":1,\"a\":\"x\\u003cy\"}": {}, "v:\"s\"": {}, "i:3": {}, "z:new": {}}});
    let set = FieldSet::from_json(&go).unwrap();
    assert_eq!(
        set.paths(),
        [".a", ".a[3]", ".a[a=\"x<y\",b=1]", ".a[=\"s\"]"]
    );
    assert!(set.contains(&["f:a", "k:{\"a\":\"x<y\",\"b\":1}"]));
    assert!(FieldSet::from_json(&json!({"f:a": 1})).is_err());
    assert!(FieldSet::from_json(&json!({"k:nope": {}})).is_err());
}

fn element() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c.]{1,2}".prop_map(|name| format!("f:{name}")),
        (0_u8..3).prop_map(|n| format!("k:{{\"name\":\"n{n}\"}}")),
        (0_u8..3).prop_map(|n| format!("v:{n}")),
        (0_u8..3).prop_map(|n| format!("i:{n}")),
    ]
}

fn field_set() -> impl Strategy<Value = FieldSet> {
    let path = proptest::collection::vec(element(), 1..4);
    proptest::collection::vec(path, 0..8).prop_map(|paths| {
        let mut set = FieldSet::default();
        for path in paths {
            set.insert(&path.iter().map(String::as_str).collect::<Vec<_>>());
        }
        set
    })
}

/// A ConfigMap's data or nothing.
fn data() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-d]", "[12]", 0..4).prop_map(|data| {
        if data.is_empty() {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})
        } else {
            map(json!(data))
        }
    })
}

fn pods() -> impl Strategy<Value = Value> {
    let item = (
        prop::sample::subsequence(vec!["a", "b", "c", "d"], 0..4),
        "[12]",
    );
    proptest::collection::btree_map("[a-c]", item, 1..4).prop_map(|containers| {
        let containers: Vec<Value> = containers
            .into_iter()
            .map(|(name, (env, image))| {
                let env: Vec<Value> = env
                    .iter()
                    .map(|n| json!({"name": n, "value": image}))
                    .collect();
                json!({"name": name, "image": image, "env": env})
            })
            .collect();
        let mut object = daemonset("x");
        object["spec"]["template"]["spec"]["containers"] = json!(containers);
        object
    })
}

proptest! {
    #[test]
    fn field_sets_survive_json(set in field_set()) {
        let json = set.to_json();
        prop_assert_eq!(FieldSet::from_json(&json).unwrap(), set);
    }

    #[test]
    fn set_operations_are_those_of_sets(a in field_set(), b in field_set()) {
        let paths = |set: &FieldSet| set.paths().into_iter().collect::<BTreeSet<_>>();
        let mut union = a.clone();
        union.union(&b);
        prop_assert_eq!(paths(&union), &paths(&a) | &paths(&b));
        prop_assert_eq!(paths(&a.intersection(&b)), &paths(&a) & &paths(&b));
        prop_assert_eq!(paths(&a.difference(&b)), &paths(&a) - &paths(&b));
        prop_assert_eq!(a.difference(&a), FieldSet::default());
    }

    /// Applying twice changes nothing the second time, whatever was there before.
    #[test]
    fn applying_twice_is_applying_once(live in pods(), config in pods()) {
        let live = created("daemonsets", defaulted(live), "x");
        let once = apply(kind("daemonsets"), Some(&live), &config, by("y"), true).unwrap();
        let twice = apply(kind("daemonsets"), Some(&once), &config, later("y"), true).unwrap();
        prop_assert_eq!(twice, once);
    }

    /// A sole applier always gets exactly what it applies.
    #[test]
    fn a_sole_applier_has_its_way(configs in proptest::collection::vec(data(), 1..6)) {
        let mut live: Option<Value> = None;
        for config in &configs {
            live = Some(apply(kind("configmaps"), live.as_ref(), config, by("m"), false).unwrap());
        }
        let mut live = live.unwrap();
        live["metadata"].as_object_mut().unwrap().remove("managedFields");
        prop_assert_eq!(&live, configs.last().unwrap());
    }

    /// Whatever updates do: every field of the object has an owner, and owners only own what is there.
    #[test]
    fn updates_own_all_there_is(objects in proptest::collection::vec(pods(), 1..5)) {
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

/// What ownership means, said in the plainest way: each key with its value and its owners.
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
    fn ownership_follows_the_model(writes in proptest::collection::vec(write(), 1..12)) {
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

/// [`track_update`] the long way, with sets, for whatever write.
fn tracked_slowly(kind: &Kind, old: Option<&Value>, mut new: Value, manager: Manager<'_>) -> Value {
    use super::{Comparison, Ignored, Operation, add, compare, managers, object, root, take_over};
    object::take_managed(&mut new);
    let stored = old.and_then(object::managed_of);
    let ignored = Ignored::of(kind, manager.subresource);
    let changes: Comparison = compare(root(kind), old, &new, &ignored);
    if old.is_some() && changes.is_empty() {
        object::put_managed(&mut new, stored.cloned());
        return new;
    }
    let mut entries = managers::decode(stored).unwrap();
    if old.is_none() || !entries.is_empty() {
        take_over(&mut entries, &changes, |_| true);
        let taken = changes.taken();
        if !taken.is_empty() {
            add(&mut entries, manager.entry(kind, Operation::Update, taken));
        }
        managers::cap_updaters(&mut entries);
    }
    object::put_managed(&mut new, managers::encode(entries));
    new
}

#[test]
fn a_new_object_is_owned_as_a_comparison_says() {
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
        let slow = tracked_slowly(kind(plural), None, object.clone(), by("m"));
        assert_eq!(created(plural, object, "m"), slow);
    }
}

proptest! {
    #[test]
    fn the_short_ways_lead_where_the_long_one_does(
        first in pods(), second in pods(), third in pods(), who in 0..3_usize, then in 0..3_usize,
    ) {
        let names = ["a", "b", "c"];
        let kind = kind("daemonsets");
        let fast = created("daemonsets", first.clone(), "a");
        prop_assert_eq!(&fast, &tracked_slowly(kind, None, first, by("a")));
        let mut live = fast;
        for (new, who) in [(second, who), (third, then)] {
            let manager = later(names[who]);
            let slow = tracked_slowly(kind, Some(&live), new.clone(), manager);
            let mut fast = new;
            track_update(kind, Some(&live), &mut fast, manager);
            prop_assert_eq!(&fast, &slow);
            live = fast;
        }
    }
}
