//! Ownership after creates and updates.

use serde_json::{Value, json};

use super::{T2, applied, by, created, daemonset, defaulted, kind, later, map, owners, updated};
use crate::managed_fields::{FieldManager, ignore_timestamps, track_update};

#[test]
fn create_owns_the_fields_it_sets() {
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
fn create_of_a_daemonset_has_upstreams_fields_v1() {
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

/// A DaemonSet as an upstream server kept it: created by `kubectl apply`, run by the controller,
/// patched.
#[test]
fn entries_equal_those_of_a_daemonset_recorded_from_upstream() {
    let recorded: Value = serde_json::from_str(include_str!("recorded.json")).unwrap();
    let mut object = recorded.clone();
    object["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("managedFields");
    let status = object.as_object_mut().unwrap().remove("status").unwrap();
    let image = "/spec/template/spec/containers/0/image";
    *object.pointer_mut(image).unwrap() = json!("fluent/fluentd:v1.14");
    let at = |time: &'static str, name: &'static str, subresource: &'static str| FieldManager {
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
fn update_owns_the_fields_it_changes() {
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
fn update_takes_fields_from_appliers() {
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
fn update_without_a_change_keeps_the_entries() {
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
fn manager_without_fields_has_no_entry() {
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
fn status_is_owned_only_by_writes_to_the_status_subresource() {
    let mut object = defaulted(daemonset("a:v1"));
    object["status"] = json!({"currentNumberScheduled": 7});
    let object = created("daemonsets", object, "a");
    assert!(!owners(&object)[0].contains("f:status"));
    let status = FieldManager {
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
fn pod_conditions_are_owned_by_type() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"nodeName": "n"}});
    let pod = created("pods", pod, "ctl");
    let status = FieldManager {
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
    let other = FieldManager {
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
fn update_of_own_fields_changes_only_the_time() {
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
fn owner_references_are_owned_by_uid_and_finalizers_by_value() {
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
fn oldest_entries_are_merged_beyond_ten_update_managers() {
    let names: Vec<String> = (0..14).map(|n| format!("m{n:02}")).collect();
    let mut object = map(json!({}));
    track_update(kind("configmaps"), None, &mut object, by("first"));
    for (n, name) in names.iter().enumerate() {
        let now = format!("2026-02-01T00:00:{n:02}Z");
        let manager = FieldManager {
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
fn empty_managed_fields_reset_the_entries() {
    let object = created("configmaps", map(json!({"a": "1"})), "x");
    for reset in [
        json!([]),
        json!([{}]),
        json!([{"manager": "", "time": null}]),
    ] {
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

#[test]
fn a_create_owns_its_fields_whatever_managed_fields_it_has() {
    let own = r#"creator Update 1 {"f:data":{".":{},"f:a":{}}}"#;
    let entry = |fields: Value| {
        json!({"manager": "other", "operation": "Apply", "apiVersion": "v1", "time": T2,
            "fieldsType": "FieldsV1", "fieldsV1": fields})
    };
    let mut wrong = entry(json!({"f:data": {"f:a": {}}}));
    wrong["operation"] = json!("Guess");
    for (sent, others) in [
        (Value::Null, None),
        (json!([]), None),
        (json!([{}]), None),
        (json!([wrong]), None),
        // The create sets the field anew, so that no one else owns it.
        (json!([entry(json!({"f:data": {"f:a": {}}}))]), None),
        (
            json!([entry(json!({"f:data": {"f:a": {}, "f:b": {}}}))]),
            Some(r#"other Apply 2 {"f:data":{"f:b":{}}}"#),
        ),
    ] {
        let mut object = map(json!({"a": "1"}));
        object["metadata"]["managedFields"] = sent.clone();
        let expected: Vec<&str> = others.into_iter().chain([own]).collect();
        assert_eq!(
            owners(&created("configmaps", object, "creator")),
            expected,
            "{sent}"
        );
    }
}

#[test]
fn objects_that_differ_only_in_times_are_equal() {
    let old = created("configmaps", map(json!({"a": "1"})), "x");
    let mut new = old.clone();
    new["metadata"]["managedFields"][0]["time"] = json!(T2);
    let mut changed = new.clone();
    changed["data"]["a"] = json!("2");
    ignore_timestamps(&old, &mut new);
    assert_eq!(new, old);
    let before = changed.clone();
    ignore_timestamps(&old, &mut changed);
    assert_eq!(changed, before);
}
