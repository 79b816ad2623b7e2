//! Tests of the view of pods.

use serde_json::json;

use super::*;

/// What the planner reads does not depend on the way: from an object, or from what all
/// controllers share.
#[test]
fn the_planner_view_is_what_the_planner_would_decode() {
    let mut object = json!({
        "metadata": {
            "name": "agent-x", "namespace": "kube-system", "uid": "u1", "resourceVersion": "17",
            "labels": {"app": "a"}, "creationTimestamp": "2026-01-01T00:00:00Z",
            "deletionTimestamp": "2026-01-01T00:10:00Z",
            "ownerReferences": [{"kind": "DaemonSet", "uid": "s1", "controller": true,
                "apiVersion": "apps/v1", "name": "agent"}],
        },
        "spec": {
            "hostNetwork": true,
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}},
                "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchFields": [
                    {"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]}}},
        },
        "status": {"phase": "Running", "reason": "Evicted", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"}]},
    });
    for status in ["True", "False"] {
        object["status"]["conditions"][0]["status"] = json!(status);
        let decoded = PodView::deserialize(&object).unwrap();
        assert_eq!(Pod::deserialize(&object).unwrap().planner_view(), decoded);
    }
    object["spec"]["nodeName"] = json!("n1");
    let decoded = PodView::deserialize(&object).unwrap();
    let view = Pod::deserialize(&object).unwrap().planner_view();
    // Only a pod without a node is looked up by its affinity.
    assert_eq!(
        view,
        PodView {
            target: None,
            ..decoded
        }
    );
    let bare = json!({"metadata": {"name": "p", "uid": "u"}});
    let decoded = PodView::deserialize(&bare).unwrap();
    assert_eq!(Pod::deserialize(&bare).unwrap().planner_view(), decoded);
}

#[test]
fn a_pod_without_a_node_keeps_its_demands() {
    let mut object = json!({
        "metadata": { "name": "p", "namespace": "a", "uid": "u" },
        "spec": {
            "schedulerName": "default-scheduler", "priority": 7,
            "containers": [{ "name": "c", "ports": [{ "name": "web", "containerPort": 80 }] }],
            "tolerations": [{ "key": "k", "operator": "Exists", "tolerationSeconds": 30 }],
        },
        "status": { "podIP": "10.0.0.1", "conditions": [{ "type": "Ready", "status": "False" }] },
    });
    let pod = Pod::deserialize(&object).unwrap();
    assert_eq!(
        pod.pending.as_ref().map(|p| p.scheduler.as_str()),
        Some("default-scheduler")
    );
    assert_eq!(
        (pod.priority, pod.ready, pod.ips.len()),
        (7, Some(false), 1)
    );
    assert_eq!(
        (pod.ports[0].container_port, pod.tolerations[0].seconds),
        (80, Some(30))
    );
    object["spec"]["nodeName"] = json!("n1");
    let bound = Pod::deserialize(&object).unwrap();
    assert!(bound.pending.is_none() && bound.holds_node());
}
