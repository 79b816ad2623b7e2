//! A panic ends nothing for good: each controller starts again.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{Method, Request};
use kube::{Client, client::Body};
use pandaemon_controllers::{CONTROLLER_NAMES, Options, run};
use pandaemon_testkit::Server;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{
    certificates::{REQUESTS, key, request},
    control_plane::{PODS, now},
};

/// A client that panics in its first read and in its first write.
fn panicking(inner: Client, name: &'static str, panicked: Arc<Mutex<BTreeSet<String>>>) -> Client {
    let (read, written) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, panicked) = (inner.clone(), Arc::clone(&panicked));
        let (read, written) = (Arc::clone(&read), Arc::clone(&written));
        async move {
            let (what, done) = if request.method() == Method::GET {
                ("read", read)
            } else {
                ("write", written)
            };
            if !done.swap(true, Ordering::SeqCst) {
                panicked.lock().insert(format!("{name} {what}"));
                panic!("the first {what} of {name}: {}", request.uri());
            }
            inner.send(request).await
        }
    });
    Client::new(service, "default")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_controller_starts_again_after_a_panic() {
    let server = Server::start().await;
    let panicked = Arc::new(Mutex::new(BTreeSet::new()));
    for name in CONTROLLER_NAMES {
        let client = panicking(server.client(), name, Arc::clone(&panicked));
        let options = Options {
            controllers: name.parse().unwrap(),
            ca_pem: "PEM".to_owned(),
            signer: Some(server.running().signer()),
            embedded: true,
        };
        let loops = run(client, options, server.shutdown().clone());
        pandaemon_runtime::spawn("controllers", loops);
    }
    let exists = |object: &Value| object.is_object();
    // serviceaccount, rootca
    let base = "/api/v1/namespaces/default";
    server
        .until(&format!("{base}/serviceaccounts/default"), exists)
        .await;
    server
        .until(&format!("{base}/configmaps/kube-root-ca.crt"), exists)
        .await;
    create_objects(&server).await;
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
    for name in CONTROLLER_NAMES {
        for what in ["read", "write"] {
            // It deletes what is an hour old.
            if (name, what) == ("csrcleaner", "write") {
                continue;
            }
            let event = format!("{name} {what}");
            assert!(panicked.lock().contains(&event), "no panic: {event}");
        }
    }
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
