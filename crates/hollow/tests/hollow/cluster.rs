//! Hollow nodes against this project's API server, in one process.

use clap::Parser;
use pandaemon_client::rest::Patch;
use pandaemon_hollow::HollowArgs;
use pandaemon_runtime::spawn;
use pandaemon_testkit::Server;
use serde_json::{Value, json};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    hollow: HollowArgs,
}

fn pod(name: &str, node: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": image}]},
    })
}

fn condition(object: &Value, kind: &str) -> Option<String> {
    let conditions = object["status"]["conditions"].as_array()?;
    let condition = conditions
        .iter()
        .find(|condition| condition["type"] == kind)?;
    Some(condition["status"].as_str()?.to_owned())
}

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn pods_run_and_end(server: &Server) {
    // Its controller does not run here.
    let account = json!({"metadata": {"name": "default"}});
    server
        .create("/api/v1/namespaces/default/serviceaccounts", account)
        .await;
    server.create(PODS, pod("good", "hollow-7", "img:1")).await;
    server
        .create(PODS, pod("slow", "hollow-8", "img:notready"))
        .await;
    server
        .create(PODS, pod("bad", "hollow-9", "example.com/non-existent:1"))
        .await;
    let good = format!("{PODS}/good");
    let good = server
        .until(&good, |pod| {
            condition(pod, "Ready").as_deref() == Some("True")
        })
        .await;
    assert_eq!(good["status"]["phase"], "Running");
    assert_eq!(good["status"]["hostIP"], "10.64.0.8");
    let slow = server
        .until(&format!("{PODS}/slow"), |pod| {
            pod["status"]["phase"] == "Running"
        })
        .await;
    assert_eq!(condition(&slow, "Ready").as_deref(), Some("False"));
    server
        .until(&format!("{PODS}/bad"), |pod| {
            let state = &pod["status"]["containerStatuses"][0]["state"];
            state["waiting"]["reason"] == "ErrImagePull"
        })
        .await;

    // A deletion with grace ends when the node says so.
    server.delete(&format!("{PODS}/good"), json!({})).await;
    server.until(&format!("{PODS}/good"), Value::is_null).await;
}

async fn unreachable_nodes_are_reported_ready_again(server: &Server) {
    let unknown = json!([{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]);
    let patch = json!({"status": {"conditions": unknown}});
    let path = "/api/v1/nodes/hollow-3";
    server
        .patch(&format!("{path}/status"), Patch::Strategic, patch)
        .await;
    server
        .until(path, |node| {
            condition(node, "Ready").as_deref() == Some("True")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_join_run_pods_and_leave() {
    let server = Server::start().await;
    let words = [
        "hollow",
        "--count",
        "60",
        "--lease-interval",
        "500ms",
        "--cleanup",
    ];
    let args = Line::parse_from(words.into_iter().chain(["--labels", "zone=a"])).hollow;
    let stop = server.shutdown().child();
    let hollow = spawn(
        "hollow",
        pandaemon_hollow::run(server.client(), args, stop.clone()),
    );

    let all = "/api/v1/nodes?labelSelector=zone%3Da";
    let nodes = server
        .until(all, |list| {
            list["items"].as_array().is_some_and(|l| l.len() == 60)
        })
        .await;
    assert!(nodes["items"].as_array().unwrap().iter().all(|node| {
        condition(node, "Ready").as_deref() == Some("True")
            && node["status"]["allocatable"]["pods"] == "110"
    }));

    // Leases are made, and renewed.
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/hollow-59";
    let first = server
        .until(lease, |lease| lease["spec"]["renewTime"].is_string())
        .await;
    server
        .until(lease, |lease| {
            lease["spec"]["renewTime"] != first["spec"]["renewTime"]
        })
        .await;

    pods_run_and_end(&server).await;
    unreachable_nodes_are_reported_ready_again(&server).await;

    stop.trigger();
    hollow.await.unwrap().unwrap().unwrap();
    assert_eq!(server.get(all).await["items"], json!([]));
    server.shutdown().trigger();
}

/// Runs hollow nodes until the nodes of the API are as they should be.
async fn run_until(server: &Server, words: &[&str], good: impl Fn(&[Value]) -> bool) {
    let args = Line::parse_from(["hollow"].iter().chain(words)).hollow;
    let stop = server.shutdown().child();
    let hollow = spawn(
        "hollow",
        pandaemon_hollow::run(server.client(), args, stop.clone()),
    );
    let nodes = |list: &Value| list["items"].as_array().cloned().unwrap_or_default();
    server
        .until("/api/v1/nodes", |list| good(&nodes(list)))
        .await;
    stop.trigger();
    hollow.await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_takes_over_the_nodes_of_the_first() {
    let server = Server::start().await;
    run_until(&server, &["--count", "3"], |nodes| nodes.len() == 3).await;
    let labelled = |node: &&Value| node["metadata"]["labels"]["run"] == "second";
    run_until(&server, &["--labels", "run=second"], |nodes| {
        nodes.iter().filter(labelled).count() == 1
    })
    .await;
    let nodes = server.items("/api/v1/nodes").await;
    assert_eq!(nodes.len(), 3, "nodes stay without --cleanup");
    server.shutdown().trigger();
}
