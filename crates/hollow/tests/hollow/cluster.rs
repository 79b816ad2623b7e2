//! Hollow nodes against this project's API server, in one process.

use std::{sync::Arc, time::Duration};

use clap::Parser;
use kube::Client;
use pandaemon_hollow::HollowArgs;
use pandaemon_runtime::{Shutdown, spawn};
use pandaemon_server::{Config, Running, start};
use pandaemon_store::{Embedded, Options};
use serde_json::{Value, json};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    hollow: HollowArgs,
}

pub(crate) struct World {
    _directory: tempfile::TempDir,
    _server: Running,
    client: Client,
    shutdown: Shutdown,
}

impl World {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(directory.path().join("store"), Options::default()).unwrap();
        let shutdown = Shutdown::default();
        let config = Config {
            data_dir: directory.path().to_owned(),
            listen: "127.0.0.1:0".parse().unwrap(),
            extra_sans: Vec::new(),
            store: Arc::new(store),
            metrics: pandaemon_runtime::metrics::Metrics::default(),
        };
        let server = start(config, &shutdown).await.unwrap();
        let client = server.client();
        Self {
            _directory: directory,
            _server: server,
            client,
            shutdown,
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) const fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        self.client.request(request).await.unwrap_or(Value::Null)
    }

    pub(crate) async fn post(&self, path: &str, object: &Value) -> Value {
        let request = http::Request::post(path).header("content-type", "application/json");
        let request = request.body(serde_json::to_vec(object).unwrap()).unwrap();
        self.client.request(request).await.unwrap()
    }

    /// Asks until the answer is as it should be.
    pub(crate) async fn until(&self, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..600 {
            last = self.get(path).await;
            if holds(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path}: {last:#}");
    }
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

async fn pods_run_and_end(world: &World) {
    // Its controller does not run here.
    let account = json!({"metadata": {"name": "default"}});
    world
        .post("/api/v1/namespaces/default/serviceaccounts", &account)
        .await;
    world.post(PODS, &pod("good", "hollow-7", "img:1")).await;
    world
        .post(PODS, &pod("slow", "hollow-8", "img:notready"))
        .await;
    world
        .post(PODS, &pod("bad", "hollow-9", "example.com/non-existent:1"))
        .await;
    let good = format!("{PODS}/good");
    let good = world
        .until(&good, |pod| {
            condition(pod, "Ready").as_deref() == Some("True")
        })
        .await;
    assert_eq!(good["status"]["phase"], "Running");
    assert_eq!(good["status"]["hostIP"], "10.64.0.8");
    let slow = world
        .until(&format!("{PODS}/slow"), |pod| {
            pod["status"]["phase"] == "Running"
        })
        .await;
    assert_eq!(condition(&slow, "Ready").as_deref(), Some("False"));
    world
        .until(&format!("{PODS}/bad"), |pod| {
            let state = &pod["status"]["containerStatuses"][0]["state"];
            state["waiting"]["reason"] == "ErrImagePull"
        })
        .await;

    // A deletion with grace ends when the node says so.
    let delete = http::Request::delete(format!("{PODS}/good"))
        .body(Vec::new())
        .unwrap();
    let _deleting: Value = world.client.request(delete).await.unwrap();
    world.until(&format!("{PODS}/good"), Value::is_null).await;
}

async fn given_up_nodes_return(world: &World) {
    let unknown = json!([{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]);
    let patch = json!({"status": {"conditions": unknown}});
    let path = "/api/v1/nodes/hollow-3";
    let request = http::Request::patch(format!("{path}/status"))
        .header("content-type", "application/strategic-merge-patch+json")
        .body(serde_json::to_vec(&patch).unwrap())
        .unwrap();
    let given_up: Value = world.client.request(request).await.unwrap();
    assert_eq!(condition(&given_up, "Ready").as_deref(), Some("Unknown"));
    world
        .until(path, |node| {
            condition(node, "Ready").as_deref() == Some("True")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_join_run_pods_and_leave() {
    let world = World::new().await;
    let words = [
        "hollow",
        "--count",
        "60",
        "--lease-interval",
        "500ms",
        "--cleanup",
    ];
    let args = Line::parse_from(words.into_iter().chain(["--labels", "zone=a"])).hollow;
    let stop = world.shutdown.child();
    let hollow = spawn(
        "hollow",
        pandaemon_hollow::run(world.client.clone(), args, stop.clone()),
    );

    let all = "/api/v1/nodes?labelSelector=zone%3Da";
    let nodes = world
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
    let first = world
        .until(lease, |lease| lease["spec"]["renewTime"].is_string())
        .await;
    world
        .until(lease, |lease| {
            lease["spec"]["renewTime"] != first["spec"]["renewTime"]
        })
        .await;

    pods_run_and_end(&world).await;
    given_up_nodes_return(&world).await;

    stop.trigger();
    hollow.await.unwrap().unwrap().unwrap();
    assert_eq!(world.get(all).await["items"], json!([]));
    world.shutdown.trigger();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_takes_the_nodes_over() {
    let world = World::new().await;
    for words in [
        ["hollow", "--count", "3"],
        ["hollow", "--labels", "run=second"],
    ] {
        let args = Line::parse_from(words).hollow;
        let stop = world.shutdown.child();
        let hollow = spawn(
            "hollow",
            pandaemon_hollow::run(world.client.clone(), args, stop.clone()),
        );
        let second = words[1] == "--labels";
        world
            .until("/api/v1/nodes/hollow-0", |node| {
                !node.is_null() && (!second || node["metadata"]["labels"]["run"] == "second")
            })
            .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.trigger();
        hollow.await.unwrap().unwrap().unwrap();
    }
    // They stay.
    let nodes = world.get("/api/v1/nodes").await;
    assert_eq!(nodes["items"].as_array().map(Vec::len), Some(3));
    world.shutdown.trigger();
}
