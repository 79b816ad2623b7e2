//! Node lifecycle, with short delays.

use std::time::Duration;

use pandaemon_client::rest::Patch;
use serde_json::{Value, json};

use super::control_plane::{ControlPlane, PODS, condition};

fn taints(node: &Value) -> Vec<String> {
    let list = node["spec"]["taints"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let text = |taint: &Value, field: &str| taint[field].as_str().unwrap_or_default().to_owned();
    list.iter()
        .map(|taint| format!("{}:{}", text(taint, "key"), text(taint, "effect")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unresponsive_node_is_unreachable_until_its_next_heartbeat() {
    let plane = ControlPlane::start_with_short_grace_period("nodelifecycle").await;
    for node in ["n1", "n2"] {
        plane.ready_node(node).await;
    }
    let pod = json!({ "nodeName": "n1", "tolerations": [{ "operator": "Exists" }] });
    plane.pod("p", pod).await;
    let ready = json!({ "status": { "phase": "Running", "conditions": [
        { "type": "Ready", "status": "True" }] } });
    plane
        .patch(&format!("{PODS}/p/status"), Patch::Strategic, ready)
        .await;
    // Only n2 renews its lease; its clock is ten years behind.
    for second in 0..8 {
        plane
            .renew("n2", &format!("2016-01-01T00:00:{second:02}.000000Z"))
            .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let node = plane.get("/api/v1/nodes/n1").await;
    assert_eq!(condition(&node, "Ready"), "Unknown", "{node:#}");
    assert_eq!(
        taints(&node),
        [
            "node.kubernetes.io/unreachable:NoSchedule",
            "node.kubernetes.io/unreachable:NoExecute"
        ]
    );
    assert_eq!(
        condition(&plane.get(&format!("{PODS}/p")).await, "Ready"),
        "False"
    );
    assert_eq!(
        condition(&plane.get("/api/v1/nodes/n2").await, "Ready"),
        "True"
    );
    plane.report_node("n1", "True", Value::Null).await;
    plane
        .until("/api/v1/nodes/n1", |node| taints(node).is_empty())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_noexecute_taint_evicts_pods_after_their_toleration_seconds() {
    let plane = ControlPlane::start("nodelifecycle").await;
    plane.ready_node("n1").await;
    plane.pod("now", json!({ "nodeName": "n1" })).await;
    let tolerate = |seconds: Value| {
        json!({ "nodeName": "n1", "tolerations": [
            { "key": "dead", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds }] })
    };
    plane.pod("soon", tolerate(json!(1))).await;
    plane.pod("never", tolerate(Value::Null)).await;
    let taint = json!({ "spec": { "taints": [{ "key": "dead", "effect": "NoExecute" }] } });
    plane.patch("/api/v1/nodes/n1", Patch::Merge, taint).await;
    plane.until(&format!("{PODS}/now"), gone).await;
    assert!(!gone(&plane.get(&format!("{PODS}/soon")).await));
    plane.until(&format!("{PODS}/soon"), gone).await;
    assert!(!gone(&plane.get(&format!("{PODS}/never")).await));
}

/// No agent ends pods here, so a terminating pod counts as deleted.
fn gone(pod: &Value) -> bool {
    pod.is_null() || !pod["metadata"]["deletionTimestamp"].is_null()
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_a_deleted_node_are_deleted() {
    let plane = ControlPlane::start("nodelifecycle").await;
    plane.ready_node("n1").await;
    plane
        .pod(
            "p",
            json!({ "nodeName": "n1", "terminationGracePeriodSeconds": 30 }),
        )
        .await;
    plane
        .pod(
            "q",
            json!({ "nodeName": "never-was", "terminationGracePeriodSeconds": 30 }),
        )
        .await;
    plane.delete("/api/v1/nodes/n1", json!({})).await;
    plane.until(&format!("{PODS}/p"), Value::is_null).await;
    plane.until(&format!("{PODS}/q"), Value::is_null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cordoned_node_gets_the_unschedulable_taint() {
    let plane = ControlPlane::start("nodelifecycle").await;
    plane.ready_node("n1").await;
    let cordon = |on: bool| json!({ "spec": { "unschedulable": on } });
    plane
        .patch("/api/v1/nodes/n1", Patch::Merge, cordon(true))
        .await;
    plane
        .until("/api/v1/nodes/n1", |node| {
            taints(node) == ["node.kubernetes.io/unschedulable:NoSchedule"]
        })
        .await;
    plane
        .patch("/api/v1/nodes/n1", Patch::Merge, cordon(false))
        .await;
    plane
        .until("/api/v1/nodes/n1", |node| taints(node).is_empty())
        .await;
}
