//! Worlds of a few nodes and one pod that wants a place, as text.

use std::sync::Arc;

use serde::Deserialize as _;
use serde_json::{Value, json};

use super::*;
use crate::views::Node;
use pandaemon_client::object_meta::Key;

/// A node: `name cpu [label=value] [!taint] [cordoned]`.
fn node(text: &str) -> Node {
    let mut words = text.split_whitespace();
    let (name, cpu) = (words.next().unwrap(), words.next().unwrap());
    let mut object = json!({
        "metadata": { "name": name, "uid": name, "labels": {} },
        "spec": { "taints": [] },
        "status": { "allocatable": { "cpu": cpu, "memory": "8Gi", "pods": "110" },
            "conditions": [{ "type": "Ready", "status": "True" }] },
    });
    for word in words {
        if let Some((key, value)) = word.split_once('=') {
            object["metadata"]["labels"][key] = json!(value);
        } else if let Some(key) = word.strip_prefix('!') {
            let taints = object["spec"]["taints"].as_array_mut().unwrap();
            taints.push(json!({ "key": key, "effect": "NoSchedule" }));
        } else {
            object["spec"]["unschedulable"] = json!(true);
        }
    }
    Node::deserialize(&object).unwrap()
}

/// A pod: `name cpu [on=node] [pin=node] [zone=value] [port=number] [prio=number] [never] [dying]`.
fn pod(text: &str) -> Arc<Pod> {
    let mut words = text.split_whitespace();
    let (name, cpu) = (words.next().unwrap(), words.next().unwrap());
    let mut object = json!({
        "metadata": { "name": name, "namespace": "a", "uid": name },
        "spec": { "schedulerName": "default-scheduler",
            "containers": [{ "name": "c", "resources": { "requests": { "cpu": cpu } } }] },
    });
    let spec = &mut object["spec"];
    let mut dying = false;
    for word in words {
        match word.split_once('=') {
            Some(("on", value)) => spec["nodeName"] = json!(value),
            Some(("zone", value)) => spec["nodeSelector"] = json!({ "zone": value }),
            Some(("prio", value)) => spec["priority"] = json!(value.parse::<i32>().unwrap()),
            Some(("port", value)) => {
                let port = value.parse::<u16>().unwrap();
                spec["containers"][0]["ports"] =
                    json!([{ "containerPort": port, "hostPort": port }]);
            }
            Some(("pin", value)) => spec["affinity"] = pinned(value),
            _ if word == "never" => spec["preemptionPolicy"] = json!("Never"),
            _ => dying = true,
        }
    }
    if dying {
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    Arc::new(Pod::deserialize(&object).unwrap())
}

fn pinned(node: &str) -> Value {
    json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{ "matchFields": [
            { "key": "metadata.name", "operator": "In", "values": [node] }]}]}}})
}

fn cluster(nodes: &[&str], pods: &[&str]) -> Cluster {
    let mut cluster = Cluster::default();
    for text in nodes {
        cluster.set_node(&node(text));
    }
    for text in pods {
        let pod = pod(text);
        cluster.hold(&pod, &pod.node);
    }
    cluster
}

fn verdict(nodes: &[&str], pods: &[&str], wanted: &str) -> String {
    match decide(&pod(wanted), &cluster(nodes, pods)) {
        Decision::Bind(node) => format!("bind {node}"),
        Decision::No { message } => message,
        Decision::Preempt { node, victims, .. } => {
            let names: Vec<&str> = victims
                .iter()
                .map(|victim| victim.key.name.as_str())
                .collect();
            format!("preempt {} on {node}", names.join(" "))
        }
    }
}

#[test]
fn a_pod_goes_where_most_is_free() {
    let nodes = ["n1 2", "n2 4", "n3 4 !gpu", "n4 8 cordoned"];
    assert_eq!(verdict(&nodes, &[], "p 1"), "bind n2");
    assert_eq!(verdict(&nodes, &["q 3500m on=n2"], "p 1"), "bind n1");
    assert_eq!(
        verdict(&["n1 2", "n2 2"], &["q 0 on=n1"], "p 0"),
        "bind n2",
        "the fewest pods"
    );
    assert_eq!(verdict(&["n1 2", "n2 2"], &[], "p 0 pin=n2"), "bind n2");
}

#[test]
fn why_not_in_upstreams_words() {
    let nodes = ["n1 1 zone=a", "n2 1 zone=b", "n3 1 zone=b !gpu"];
    for (pods, wanted, expected) in [
        (
            &[][..],
            "p 2 zone=a",
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node \
            affinity/selector, 1 node(s) had untolerated taint {gpu: }. preemption: 0/3 nodes are available: 1 No preemption \
            victims found for incoming pod, 2 Preemption is not helpful for scheduling.",
        ),
        (
            &[],
            "p 2 pin=n1",
            "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't match Pod's node \
            affinity/selector. preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 \
            Preemption is not helpful for scheduling.",
        ),
        (
            &[],
            "p 0 pin=gone",
            "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: \
            0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
        ),
        (
            &["q 0 port=80 on=n1"],
            "p 0 port=80 zone=a never",
            "0/3 nodes are available: 1 node(s) didn't have free ports \
            for the requested pod ports, 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated \
            taint {gpu: }. preemption: not eligible due to preemptionPolicy=Never.",
        ),
    ] {
        assert_eq!(verdict(&nodes, pods, wanted), expected, "{wanted}");
    }
    assert_eq!(
        verdict(&[], &[], "p 1"),
        "no nodes available to schedule pods"
    );
}

#[test]
fn the_least_important_make_room() {
    let nodes = ["n1 2", "n2 2"];
    let pods = ["a 1 on=n1 prio=5", "b 1 on=n1 prio=1", "c 2 on=n2 prio=7"];
    for (wanted, expected) in [
        ("p 1 prio=9", "preempt b on n1"),
        ("p 2 prio=9", "preempt a b on n1"),
        ("p 2 prio=9 pin=n2", "preempt c on n2"),
        ("p 1 prio=3", "preempt b on n1"),
    ] {
        assert_eq!(verdict(&nodes, &pods, wanted), expected, "{wanted}");
    }
    assert!(verdict(&nodes, &pods, "p 1 prio=1").contains("No preemption victims found"));
    assert!(verdict(&nodes, &pods, "p 3 prio=9").contains("Insufficient cpu"));
}

#[test]
fn room_that_is_being_made_is_waited_for_and_kept() {
    let mut cluster = cluster(&["n1 2"], &["a 2 on=n1 prio=1 dying"]);
    let wanted = pod("p 2 prio=9");
    cluster.nominate(&wanted, "n1");
    let Decision::No { message } = decide(&wanted, &cluster) else {
        panic!()
    };
    assert!(message.ends_with("not eligible due to a terminating pod on the nominated node."));
    cluster.release(&Key::new("a", "a"));
    let lower = decide(&pod("q 1 prio=2"), &cluster);
    assert!(matches!(lower, Decision::No { .. }), "{lower:?}");
    assert_eq!(decide(&wanted, &cluster), Decision::Bind("n1".to_owned()));
}

#[test]
fn sums_follow_pods_as_they_come_and_go() {
    let mut cluster = cluster(&["n1 2"], &[]);
    let first = pod("p 2");
    cluster.assume(&first, "n1");
    assert!(cluster.is_assumed(&first));
    assert!(matches!(decide(&pod("q 1"), &cluster), Decision::No { .. }));
    assert_eq!(
        cluster
            .forget_assumed(&first.meta.key())
            .map(|(_, node)| node)
            .as_deref(),
        Some("n1")
    );
    assert_eq!(
        decide(&pod("q 1"), &cluster),
        Decision::Bind("n1".to_owned())
    );
    cluster.hold(&first, "n1");
    cluster.hold(&first, "n1");
    assert_eq!(cluster.release(&first.meta.key()).as_deref(), Some("n1"));
    assert_eq!(
        decide(&pod("q 2"), &cluster),
        Decision::Bind("n1".to_owned())
    );
}
