//! Endpoints and EndpointSlices follow pods.

use pandaemon_client::rest::Patch;
use serde_json::{Value, json};

use super::control_plane::{ControlPlane, PODS};

const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name%3Dweb";

async fn running(plane: &ControlPlane, name: &str, ip: &str, ready: &str) {
    let status = json!({ "status": { "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }],
        "conditions": [{ "type": "Ready", "status": ready }] } });
    plane
        .patch(&format!("{PODS}/{name}/status"), Patch::Strategic, status)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_pods_are_endpoints_until_the_service_goes() {
    let plane = ControlPlane::start("endpoints,endpointslice,garbagecollector").await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "labels": { "a": "b" } },
        "spec": { "selector": { "app": "p" }, "ports": [{ "port": 80, "targetPort": 8080 }] },
    });
    plane
        .create("/api/v1/namespaces/default/services", service)
        .await;
    let endpoints = "/api/v1/namespaces/default/endpoints/web";
    plane
        .until(endpoints, |object| object["metadata"]["labels"]["a"] == "b")
        .await;
    plane.pod("p", json!({ "nodeName": "n1" })).await;
    running(&plane, "p", "10.0.0.9", "False").await;
    plane
        .until(endpoints, |object| {
            object["subsets"][0]["notReadyAddresses"][0]["ip"] == "10.0.0.9"
        })
        .await;
    running(&plane, "p", "10.0.0.9", "True").await;
    let object = plane
        .until(endpoints, |object| {
            object["subsets"][0]["addresses"][0]["ip"] == "10.0.0.9"
        })
        .await;
    assert_eq!(
        object["subsets"][0]["ports"],
        json!([{ "port": 8080, "protocol": "TCP" }])
    );
    let ready = |list: &Value| {
        list["items"].as_array().is_some_and(|items| {
            items.len() == 1 && items[0]["endpoints"][0]["conditions"]["ready"] == true
        })
    };
    let list = plane.until(SLICES, ready).await;
    assert_eq!(list["items"][0]["endpoints"][0]["nodeName"], "n1");
    let name = list["items"][0]["metadata"]["name"].as_str().unwrap();
    let slice = format!("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/{name}");
    plane.delete(&slice, json!({})).await;
    plane.until(SLICES, ready).await;
    plane
        .delete("/api/v1/namespaces/default/services/web", json!({}))
        .await;
    plane.until(endpoints, Value::is_null).await;
    plane
        .until(SLICES, |list| {
            list["items"].as_array().is_some_and(Vec::is_empty)
        })
        .await;
}
