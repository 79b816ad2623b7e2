//! The scheduler binds pods to nodes.

use pandaemon_client::rest::Patch;
use serde_json::{Value, json};

use super::control_plane::{ControlPlane, PODS, condition};

fn requests(cpu: &str) -> Value {
    json!([{ "name": "c", "image": "test:v1", "resources": { "requests": { "cpu": cpu } } }])
}

fn on(node: &'static str) -> impl Fn(&Value) -> bool {
    move |pod| pod["spec"]["nodeName"] == node
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_bound_or_get_the_reason_why_not() {
    let plane = ControlPlane::start("scheduler,nodelifecycle").await;
    plane
        .pod("p", json!({ "containers": requests("1500m") }))
        .await;
    let pod = plane
        .until(&format!("{PODS}/p"), |pod| {
            condition(pod, "PodScheduled") == "False"
        })
        .await;
    let text = pod["status"]["conditions"][0]["message"].as_str().unwrap();
    assert_eq!(text, "no nodes available to schedule pods");
    plane.ready_node("n1").await;
    plane.until(&format!("{PODS}/p"), on("n1")).await;
    plane.pod("q", json!({ "containers": requests("1") })).await;
    let pod = plane
        .until(&format!("{PODS}/q"), |pod| {
            condition(pod, "PodScheduled") == "False"
        })
        .await;
    let text = pod["status"]["conditions"][0]["message"].as_str().unwrap();
    assert!(
        text.starts_with("0/1 nodes are available: 1 Insufficient cpu."),
        "{text}"
    );
    // The deletion of p frees its cpu.
    plane
        .delete(&format!("{PODS}/p"), json!({ "gracePeriodSeconds": 0 }))
        .await;
    let pod = plane.until(&format!("{PODS}/q"), on("n1")).await;
    assert_eq!(condition(&pod, "PodScheduled"), "True", "{pod:#}");
    let events = plane
        .until(
            "/api/v1/namespaces/default/events?fieldSelector=reason%3DScheduled",
            |list| {
                list["items"]
                    .as_array()
                    .is_some_and(|items| items.len() == 2)
            },
        )
        .await;
    assert_eq!(
        events["items"][0]["source"]["component"],
        "default-scheduler"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_bound_when_a_node_gets_the_label_it_selects() {
    let plane = ControlPlane::start("scheduler,nodelifecycle").await;
    plane.ready_node("n1").await;
    plane
        .pod("p", json!({ "nodeSelector": { "disk": "ssd" } }))
        .await;
    plane
        .until(&format!("{PODS}/p"), |pod| {
            condition(pod, "PodScheduled") == "False"
        })
        .await;
    let label = json!({ "metadata": { "labels": { "disk": "ssd" } } });
    plane.patch("/api/v1/nodes/n1", Patch::Merge, label).await;
    plane.until(&format!("{PODS}/p"), on("n1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_higher_priority_preempts() {
    let plane = ControlPlane::start("scheduler,nodelifecycle").await;
    plane.ready_node("n1").await;
    let class = json!({ "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": { "name": "high" }, "value": 1000 });
    plane
        .create("/apis/scheduling.k8s.io/v1/priorityclasses", class)
        .await;
    plane
        .pod("low", json!({ "containers": requests("2") }))
        .await;
    plane.until(&format!("{PODS}/low"), on("n1")).await;
    plane
        .pod(
            "high",
            json!({ "containers": requests("2"), "priorityClassName": "high" }),
        )
        .await;
    let pod = plane
        .until(&format!("{PODS}/high"), |pod| {
            pod["status"]["nominatedNodeName"] == "n1" || on("n1")(pod)
        })
        .await;
    assert!(pod.is_object());
    // As the agent does, end the victim.
    let low = plane
        .until(&format!("{PODS}/low"), |pod| {
            pod.is_null() || !pod["metadata"]["deletionTimestamp"].is_null()
        })
        .await;
    if !low.is_null() {
        plane
            .delete(&format!("{PODS}/low"), json!({ "gracePeriodSeconds": 0 }))
            .await;
    }
    plane.until(&format!("{PODS}/high"), on("n1")).await;
}
