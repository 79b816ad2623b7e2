//! Results, ownership, conflicts and errors of server-side apply.

use serde_json::{Value, json};

use super::{
    applied, by, created, daemonset, defaulted, kind, later, map, owners, refused, updated,
};
use crate::managed_fields::apply;

#[test]
fn apply_creates_an_object_and_owns_its_configuration() {
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
fn second_applier_adds_and_removes_its_own_container() {
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
fn equal_values_are_shared_and_force_takes_ownership() {
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
fn force_takes_the_keys_of_a_map_but_not_the_map() {
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
fn fields_no_longer_applied_are_removed_unless_another_manager_owns_them() {
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
fn applied_list_items_keep_their_order() {
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
fn key_field_with_a_default_may_be_left_out() {
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
fn first_apply_to_an_untracked_object_adds_before_first_apply() {
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
fn apply_to_the_object_does_not_own_the_status() {
    let mut config = daemonset("a:v1");
    config["status"] = json!({"collisionCount": 1});
    let object = applied("daemonsets", None, config, by("m1"));
    assert!(!owners(&object)[0].contains("f:status"));
}

#[test]
fn invalid_configurations_are_refused_with_upstreams_texts() {
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
fn a_hundred_conflicts_and_errors_are_listed_and_the_others_counted() {
    let data = |text: &str| {
        let pairs = (0..300).map(|at| (format!("k{at:03}"), json!(text)));
        map(Value::Object(pairs.collect()))
    };
    let object = applied("configmaps", None, data("a"), by("m1"));
    let status = refused("configmaps", &object, data("b"), "m2");
    let message = &status.message;
    assert!(message.starts_with("Apply failed with 300 conflicts: conflicts with \"m1\":"));
    assert!(message.ends_with("- .data.k098\nand 200 more"), "{message}");
    assert_eq!(status.details.unwrap().causes.len(), 100);
    let mut config = map(json!({}));
    for at in 0..300 {
        config[format!("x{at:03}")] = json!(1);
    }
    let message = refused("configmaps", &object, config, "m2").message;
    assert!(message.contains(".x099: field not declared in schema"));
    assert!(message.ends_with("and 200 more errors"), "{message}");
}
