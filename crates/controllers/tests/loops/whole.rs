//! Work for each controller, and all controllers together.

use pandaemon_testkit::Server;
use serde_json::{Value, json};

use super::{
    certificates::{REQUESTS, key, request},
    control_plane::{ControlPlane, PODS, now},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_control_plane_needs_no_more_rights_than_its_accounts_have() {
    let plane = ControlPlane::start("*").await;
    work(&plane).await;
}

/// Gives each controller something to do, and waits until it is done.
pub(crate) async fn work(server: &Server) {
    let exists = |object: &Value| object.is_object();
    // serviceaccount, rootca
    let base = "/api/v1/namespaces/default";
    server
        .until(&format!("{base}/serviceaccounts/default"), exists)
        .await;
    server
        .until(&format!("{base}/configmaps/kube-root-ca.crt"), exists)
        .await;
    create_objects(server).await;
    // nodelifecycle: the node loses the taint not-ready.
    server
        .until("/api/v1/nodes/n1", |node| node["spec"]["taints"].is_null())
        .await;
    // csrapproving, csrsigning
    let issued = |request: &Value| request["status"]["certificate"].is_string();
    server.until(&format!("{REQUESTS}/n1"), issued).await;
    // scheduler, daemonset
    let bound = |pod: &Value| pod["spec"]["nodeName"] == "n1";
    server.until(&format!("{PODS}/plain"), bound).await;
    let daemons = format!("{PODS}?labelSelector=app%3Dagent");
    let one = |pods: &Value| pods["items"].as_array().is_some_and(|pods| pods.len() == 1);
    server.until(&daemons, one).await;
    // endpoints, endpointslice
    server.until(&format!("{base}/endpoints/web"), exists).await;
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let of_web = format!("{slices}?labelSelector=kubernetes.io%2Fservice-name%3Dweb");
    server.until(&of_web, one).await;
    // garbagecollector, namespace
    server
        .until(&format!("{base}/configmaps/orphan"), Value::is_null)
        .await;
    server.until("/api/v1/namespaces/old", Value::is_null).await;
    // clusterrole-aggregation
    let admin = "/apis/rbac.authorization.k8s.io/v1/clusterroles/admin";
    let has_rules = |role: &Value| {
        role["rules"]
            .as_array()
            .is_some_and(|rules| rules.len() > 2)
    };
    server.until(admin, has_rules).await;
}

/// Objects that give each controller something to do.
async fn create_objects(server: &Server) {
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n1" } });
    server.create("/api/v1/nodes", node).await;
    let status = json!({ "status": {
        "allocatable": { "cpu": "2", "memory": "4Gi", "pods": "10" },
        "conditions": [{ "type": "Ready", "status": "True", "reason": "Test", "message": "test",
            "lastHeartbeatTime": now(), "lastTransitionTime": now() }],
    } });
    server
        .patch(
            "/api/v1/nodes/n1/status",
            pandaemon_client::rest::Patch::Strategic,
            status,
        )
        .await;
    server
        .create(REQUESTS, request("n1", "n2", &key(), false))
        .await;
    let spec = json!({ "containers": [{ "name": "c", "image": "test:v1" }] });
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "plain" },
        "spec": spec });
    server.create(PODS, pod).await;
    let labels = json!({ "app": "agent" });
    let set = json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "agent" },
        "spec": { "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": spec } } });
    server
        .create("/apis/apps/v1/namespaces/default/daemonsets", set)
        .await;
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
        "spec": { "selector": labels, "ports": [{ "port": 80 }] } });
    server
        .create("/api/v1/namespaces/default/services", service)
        .await;
    let owner = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "ghost",
        "uid": "0e6f4f7e-0000-4000-8000-000000000000" });
    let orphan = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "orphan", "ownerReferences": [owner] } });
    server
        .create("/api/v1/namespaces/default/configmaps", orphan)
        .await;
    let old = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "old" } });
    server.create("/api/v1/namespaces", old).await;
    server.delete("/api/v1/namespaces/old", json!({})).await;
}
