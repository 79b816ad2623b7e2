//! Tables of a few nodes, their pods and one pod to schedule, written as text.

use std::{collections::BTreeSet, sync::Arc};

use serde::Deserialize as _;
use serde_json::{Value, json};

use pandaemon_client::object_meta::Key;

use super::*;
use crate::views::Node;

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

/// A pod: `name cpu [on=node] [pin=node] [zone=value] [port=number] [prio=number] [never]
/// [terminating]`.
fn pod(text: &str) -> Arc<Pod> {
    let mut words = text.split_whitespace();
    let (name, cpu) = (words.next().unwrap(), words.next().unwrap());
    let mut object = json!({
        "metadata": { "name": name, "namespace": "a", "uid": name },
        "spec": { "schedulerName": "default-scheduler",
            "containers": [{ "name": "c", "resources": { "requests": { "cpu": cpu } } }] },
    });
    let spec = &mut object["spec"];
    let mut terminating = false;
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
            _ => terminating = true,
        }
    }
    if terminating {
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    Arc::new(Pod::deserialize(&object).unwrap())
}

fn pinned(node: &str) -> Value {
    json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{ "matchFields": [
            { "key": "metadata.name", "operator": "In", "values": [node] }]}]}}})
}

fn cache(nodes: &[&str], pods: &[&str]) -> SchedulerCache {
    let mut cache = SchedulerCache::default();
    for text in nodes {
        cache.update_node(&node(text));
    }
    for text in pods {
        let pod = pod(text);
        cache.add_pod(&pod, &pod.node);
    }
    cache
}

fn decision(nodes: &[&str], pods: &[&str], wanted: &str) -> String {
    match schedule_one(&pod(wanted), &cache(nodes, pods)) {
        Decision::Bind(node) => format!("bind {node}"),
        Decision::Unschedulable { message } => message,
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
fn a_pod_is_bound_to_the_node_with_most_free_resources() {
    let nodes = ["n1 2", "n2 4", "n3 4 !gpu", "n4 8 cordoned"];
    assert_eq!(decision(&nodes, &[], "p 1"), "bind n2");
    assert_eq!(decision(&nodes, &["q 3500m on=n2"], "p 1"), "bind n1");
    assert_eq!(
        decision(&["n1 2", "n2 2"], &["q 0 on=n1"], "p 0"),
        "bind n2",
        "the fewest pods"
    );
    assert_eq!(decision(&["n1 2", "n2 2"], &[], "p 0 pin=n2"), "bind n2");
}

#[test]
fn unschedulable_messages_are_upstreams() {
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
        assert_eq!(decision(&nodes, pods, wanted), expected, "{wanted}");
    }
    assert_eq!(
        decision(&[], &[], "p 1"),
        "no nodes available to schedule pods"
    );
}

#[test]
fn pods_of_lowest_priority_are_preempted() {
    let nodes = ["n1 2", "n2 2"];
    let pods = ["a 1 on=n1 prio=5", "b 1 on=n1 prio=1", "c 2 on=n2 prio=7"];
    for (wanted, expected) in [
        ("p 1 prio=9", "preempt b on n1"),
        ("p 2 prio=9", "preempt a b on n1"),
        ("p 2 prio=9 pin=n2", "preempt c on n2"),
        ("p 1 prio=3", "preempt b on n1"),
    ] {
        assert_eq!(decision(&nodes, &pods, wanted), expected, "{wanted}");
    }
    assert!(decision(&nodes, &pods, "p 1 prio=1").contains("No preemption victims found"));
    assert!(decision(&nodes, &pods, "p 3 prio=9").contains("Insufficient cpu"));
}

#[test]
fn a_nominated_node_is_reserved_while_victims_terminate() {
    let mut cache = cache(&["n1 2"], &["a 2 on=n1 prio=1 terminating"]);
    let wanted = pod("p 2 prio=9");
    cache.nominate(&wanted, "n1");
    let Decision::Unschedulable { message } = schedule_one(&wanted, &cache) else {
        panic!()
    };
    assert!(message.ends_with("not eligible due to a terminating pod on the nominated node."));
    cache.remove_pod(&Key::new("a", "a"));
    let lower = schedule_one(&pod("q 1 prio=2"), &cache);
    assert!(matches!(lower, Decision::Unschedulable { .. }), "{lower:?}");
    assert_eq!(
        schedule_one(&wanted, &cache),
        Decision::Bind("n1".to_owned())
    );
}

#[test]
fn usage_follows_pods_that_are_assumed_forgotten_and_removed() {
    let mut cache = cache(&["n1 2"], &[]);
    let first = pod("p 2");
    cache.assume_pod(&first, "n1");
    assert!(cache.is_assumed_pod(&first));
    assert!(matches!(
        schedule_one(&pod("q 1"), &cache),
        Decision::Unschedulable { .. }
    ));
    assert_eq!(
        cache
            .forget_pod(&first.meta.key())
            .map(|(_, node)| node)
            .as_deref(),
        Some("n1")
    );
    assert_eq!(
        schedule_one(&pod("q 1"), &cache),
        Decision::Bind("n1".to_owned())
    );
    cache.add_pod(&first, "n1");
    cache.add_pod(&first, "n1");
    assert_eq!(cache.remove_pod(&first.meta.key()).as_deref(), Some("n1"));
    assert_eq!(
        schedule_one(&pod("q 2"), &cache),
        Decision::Bind("n1".to_owned())
    );
}

#[test]
fn a_reservation_takes_room_until_it_is_released_or_its_pod_is_seen() {
    let mut cache = cache(&["n1 2"], &["q 1 on=n1"]);
    let daemon = pod("d 1");
    let key = daemon.meta.key();
    assert!(cache.reserve(&key, "n1", &daemon.resources));
    let other = schedule_one(&pod("p 1 prio=9"), &cache);
    let victims = match other {
        Decision::Preempt { victims, .. } => victims,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        victims[0].key.name, "q",
        "a pod that does not exist is no victim"
    );
    assert!(!cache.reserve(&Key::new("a", "e"), "n1", &daemon.resources));
    assert_eq!(cache.release(&key).as_deref(), Some("n1"));
    assert_eq!(
        schedule_one(&pod("p 1"), &cache),
        Decision::Bind("n1".to_owned())
    );
    assert!(cache.reserve(&key, "n1", &daemon.resources));
    cache.add_pod(&daemon, "n1");
    assert_eq!(cache.release(&key), None, "its pod counts now");
    assert!(!cache.reserve(&Key::new("a", "e"), "n1", &daemon.resources));
}

#[test]
fn a_reservation_outlives_one_list_and_a_restart_of_the_scheduler() {
    let mut cache = cache(&["n1 2"], &[]);
    let daemon = pod("d 2");
    assert!(cache.reserve(&daemon.meta.key(), "n1", &daemon.resources));
    cache.reset();
    cache.update_node(&node("n1 2"));
    cache.retain_pods(&BTreeSet::new());
    let full = schedule_one(&pod("p 1"), &cache);
    assert!(matches!(full, Decision::Unschedulable { .. }), "{full:?}");
    cache.retain_pods(&BTreeSet::new());
    assert_eq!(
        schedule_one(&pod("p 1"), &cache),
        Decision::Bind("n1".to_owned())
    );
}
