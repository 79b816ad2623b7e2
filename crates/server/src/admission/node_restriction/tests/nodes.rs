//! What a node changes of its Node.

use serde_json::{Value, json};

use super::{super::super::rule::Operation, check_all, with};

fn node() -> Value {
    json!({
        "metadata": {"name": "a", "labels": {"kubernetes.io/os": "linux", "k8s.io/fixed": "x"}},
        "spec": {"taints": [{"key": "t", "effect": "NoSchedule"}]},
        "status": {},
    })
}

fn check_updates<const N: usize>(updates: [(&str, Value, Option<&str>); N]) {
    let node = node();
    let updates = updates.map(|(pointer, value, why)| (with(&node, pointer, value), why));
    for resource in ["nodes", "nodes/status"] {
        check_all((Operation::Update, resource, "a"), &node, updates.clone());
    }
}

#[test]
fn a_node_changes_neither_what_keeps_pods_away_from_it_nor_its_owners() {
    let taints = Some("node \"a\" is not allowed to modify taints");
    let owners = Some("node \"a\" is not allowed to modify ownerReferences");
    let source =
        Some("node \"a\" is not allowed to update configSource to a new non-nil configSource");
    check_updates([
        ("/status", json!({"phase": "Running"}), None),
        ("/spec/taints", json!([]), taints),
        ("/spec/taints", Value::Null, taints),
        ("/spec/taints/0/effect", json!("NoExecute"), taints),
        ("/metadata/ownerReferences", json!([]), None),
        ("/metadata/ownerReferences", json!([{"name": "x"}]), owners),
        ("/spec/configSource", json!({"configMap": {}}), source),
    ]);
}

#[test]
fn a_node_changes_no_labels_that_steer_pods_to_it() {
    for (label, may) in [
        ("example.com/x", true),
        ("plain", true),
        ("kubernetes.io/hostname", true),
        ("topology.kubernetes.io/zone", true),
        ("node.kubernetes.io/any", true),
        ("x.kubelet.kubernetes.io/any", true),
        ("notkubernetes.io/any", true),
        ("node-role.kubernetes.io/control-plane", false),
        ("kubernetes.io/any", false),
        ("k8s.io/any", false),
        ("node-restriction.kubernetes.io/x", false),
        ("x.node-restriction.kubernetes.io/y", false),
    ] {
        let why = format!("is not allowed to modify labels: {label}");
        let pointer = format!("/metadata/labels/{}", label.replace('/', "~1"));
        check_updates([(&pointer, json!("v"), (!may).then_some(&*why))]);
    }
    let labels = json!({"kubernetes.io/x": "v", "a.k8s.io/y": "v"});
    let why = "is not allowed to modify labels: a.k8s.io/y, k8s.io/fixed, kubernetes.io/x";
    check_updates([("/metadata/labels", labels, Some(why))]);
}

#[test]
fn a_node_registers_under_its_own_name() {
    let named =
        |name: Value| json!({"metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}}});
    let own = named("a".into());
    let taints = json!({"taints": [{"key": "t", "effect": "NoSchedule"}]});
    let source = json!({"configSource": {"configMap": {}}});
    let create = [
        (own.clone(), None),
        (with(&own, "/spec", taints), None),
        (
            named("b".into()),
            Some("node \"a\" is not allowed to modify node \"b\""),
        ),
        // With `generateName`.
        (
            named(Value::Null),
            Some("node \"a\" is not allowed to modify node \"\""),
        ),
        (
            with(&own, "/spec", source),
            Some("node \"a\" is not allowed to create pods with a non-nil configSource"),
        ),
        (
            node(),
            Some("node \"a\" is not allowed to set the following labels: k8s.io/fixed"),
        ),
    ];
    check_all((Operation::Create, "nodes", "a"), &Value::Null, create);
    let other = "node \"a\" is not allowed to modify node \"b\"";
    for (operation, resource) in [
        (Operation::Update, "nodes"),
        (Operation::Update, "nodes/status"),
        (Operation::Delete, "nodes"),
    ] {
        check_all((operation, resource, "b"), &node(), [(node(), Some(other))]);
    }
}
