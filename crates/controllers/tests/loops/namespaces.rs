//! The objects of every namespace, and the deletion of a namespace.

use pandaemon_client::rest::Patch;
use serde_json::{Value, json};

use super::control_plane::{ControlPlane, condition};

/// The message of a condition.
fn message<'a>(object: &'a Value, kind: &str) -> &'a str {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|c| c["type"] == kind);
    found
        .and_then(|c| c["message"].as_str())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_namespace_has_a_service_account_and_the_root_ca() {
    let plane = ControlPlane::start("serviceaccount,rootca").await;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "a" } });
    plane.create("/api/v1/namespaces", namespace).await;
    for namespace in ["default", "kube-system", "a"] {
        let base = format!("/api/v1/namespaces/{namespace}");
        plane
            .until(&format!("{base}/serviceaccounts/default"), |object| {
                !object.is_null()
            })
            .await;
        let ca = format!("{base}/configmaps/kube-root-ca.crt");
        plane
            .until(&ca, |object| object["data"] == json!({ "ca.crt": "PEM" }))
            .await;
    }
    let ca = "/api/v1/namespaces/a/configmaps/kube-root-ca.crt";
    plane
        .patch(
            ca,
            Patch::Merge,
            json!({ "data": { "ca.crt": "x", "y": "z" } }),
        )
        .await;
    plane
        .until(ca, |object| object["data"] == json!({ "ca.crt": "PEM" }))
        .await;
    let account = "/api/v1/namespaces/a/serviceaccounts/default";
    let uid = plane.get(account).await["metadata"]["uid"].clone();
    plane.delete(account, json!({})).await;
    plane
        .until(account, |object| {
            !object.is_null() && object["metadata"]["uid"] != uid
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_namespace_loses_its_content_and_waits_for_finalizers() {
    let plane = ControlPlane::start("namespace,serviceaccount,rootca").await;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "a" } });
    plane.create("/api/v1/namespaces", namespace).await;
    for (name, finalizers) in [("free", json!([])), ("held", json!(["a.io/x"]))] {
        let body = json!({ "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name, "finalizers": finalizers } });
        plane.create("/api/v1/namespaces/a/configmaps", body).await;
    }
    plane.delete("/api/v1/namespaces/a", json!({})).await;
    let waiting = plane
        .until("/api/v1/namespaces/a", |ns| {
            condition(ns, "NamespaceFinalizersRemaining") == "True"
        })
        .await;
    assert_eq!(
        condition(&waiting, "NamespaceContentRemaining"),
        "True",
        "{waiting:#}"
    );
    plane
        .until("/api/v1/namespaces/a/configmaps/free", |object| {
            object.is_null()
        })
        .await;
    let free = json!({ "metadata": { "finalizers": null } });
    plane
        .patch("/api/v1/namespaces/a/configmaps/held", Patch::Merge, free)
        .await;
    plane
        .until("/api/v1/namespaces/a", |object| object.is_null())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_namespace_loses_its_pods_before_everything_else() {
    let plane = ControlPlane::start("namespace,serviceaccount").await;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "a" } });
    plane.create("/api/v1/namespaces", namespace).await;
    let account = "/api/v1/namespaces/a/serviceaccounts/default";
    plane.until(account, Value::is_object).await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" },
        "spec": {
            "nodeName": "n1", "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 600,
            "containers": [{ "name": "c", "image": "test:v1" }],
        },
    });
    plane.create("/api/v1/namespaces/a/pods", pod).await;
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "m" } });
    plane.create("/api/v1/namespaces/a/configmaps", map).await;
    plane.delete("/api/v1/namespaces/a", json!({})).await;
    let waiting = plane
        .until("/api/v1/namespaces/a", |ns| {
            condition(ns, "NamespaceContentRemaining") == "True"
        })
        .await;
    assert_eq!(
        message(&waiting, "NamespaceContentRemaining"),
        "Some resources are remaining: pods. has 1 resource instances"
    );
    assert_eq!(
        condition(&waiting, "NamespaceDeletionContentFailure"),
        "False",
        "a pod may take its grace period"
    );
    let map = plane.get("/api/v1/namespaces/a/configmaps/m").await;
    assert!(map.is_object(), "other kinds wait for the pods");
    let now = json!({ "gracePeriodSeconds": 0 });
    plane.delete("/api/v1/namespaces/a/pods/p", now).await;
    plane.until("/api/v1/namespaces/a", Value::is_null).await;
}
