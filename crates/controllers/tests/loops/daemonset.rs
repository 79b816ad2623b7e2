//! The DaemonSet controller creates pods and writes the status.

use std::sync::Arc;

use pandaemon_client::{object_meta::Key, rest::Patch};
use pandaemon_controllers::{
    daemonset::{self, Setup},
    scheduler::{self, shared_cache::SharedCache},
    views::SharedInformers,
};
use pandaemon_runtime::Shutdown;
use pandaemon_types::{PodResources, pod_resources::PodResourceSpec};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::control_plane::{ControlPlane, PODS, condition, now};

const SETS: &str = "/apis/apps/v1/namespaces/default/daemonsets";
const SET: &str = "/apis/apps/v1/namespaces/default/daemonsets/agent";

async fn cluster(nodes: &[&str]) -> ControlPlane {
    let plane = ControlPlane::start("daemonset,garbagecollector,nodelifecycle").await;
    for node in nodes {
        plane.ready_node(node).await;
    }
    let template = json!({
        "metadata": {"labels": {"app": "agent"}},
        "spec": {"containers": [{"name": "c", "image": "agent:v1"}]},
    });
    let set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template},
    });
    plane.create(SETS, set).await;
    plane
}

/// Acts as the nodes' agents: pods become ready, terminating ones end. Returns the pods as they
/// were before.
async fn agents(plane: &ControlPlane) -> Vec<Value> {
    let pods = plane.get(PODS).await["items"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for pod in &pods {
        let path = format!("{PODS}/{}", pod["metadata"]["name"].as_str().unwrap());
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            plane.delete(&path, json!({"gracePeriodSeconds": 0})).await;
        } else if condition(pod, "Ready") != "True" {
            let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": now()}]);
            let status = json!({"status": {"phase": "Running", "conditions": ready}});
            plane
                .patch(&format!("{path}/status"), Patch::Strategic, status)
                .await;
        }
    }
    pods
}

async fn settled(plane: &ControlPlane, generation: i64, nodes: u64) -> Value {
    for _ in 0..100 {
        let set = plane.get(SET).await;
        let status = &set["status"];
        if status["observedGeneration"] == generation
            && status["numberAvailable"] == nodes
            && status["updatedNumberScheduled"] == nodes
            && status["desiredNumberScheduled"] == nodes
        {
            return set;
        }
        agents(plane).await;
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    panic!("stayed {:#}", plane.get(SET).await["status"]);
}

#[tokio::test]
async fn every_node_gets_a_daemon_and_the_status_counts_it() {
    let plane = cluster(&["a", "b", "c"]).await;
    let pods = plane
        .until(PODS, |pods| {
            pods["items"].as_array().is_some_and(|pods| pods.len() == 3)
        })
        .await;
    let mut nodes: Vec<&str> = Vec::new();
    for pod in pods["items"].as_array().unwrap() {
        nodes.push(pod["spec"]["nodeName"].as_str().unwrap());
        assert_eq!(pod["metadata"]["generateName"], "agent-");
        assert_eq!(pod["metadata"]["labels"]["pod-template-generation"], "1");
    }
    nodes.sort_unstable();
    assert_eq!(nodes, ["a", "b", "c"]);
    let set = settled(&plane, 1, 3).await;
    assert!(set["status"]["numberUnavailable"].is_null());
    let revisions = plane
        .get("/apis/apps/v1/namespaces/default/controllerrevisions")
        .await;
    assert_eq!(revisions["items"].as_array().unwrap().len(), 1);
    assert_eq!(revisions["items"][0]["revision"], 1);
    plane
        .until("/api/v1/namespaces/default/events", |events| {
            events["items"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|event| {
                    let message = event["message"].as_str().unwrap_or_default();
                    event["reason"] == "SuccessfulCreate"
                        && message.starts_with("Created pod: agent-")
                })
        })
        .await;
}

#[tokio::test]
async fn a_rolling_update_and_its_undo_go_node_by_node() {
    let plane = cluster(&["a", "b", "c"]).await;
    settled(&plane, 1, 3).await;
    let image = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    plane.patch(SET, Patch::Strategic, image("agent:v2")).await;
    for _ in 0..200 {
        let pods = agents(&plane).await;
        let serving = pods.iter().filter(|pod| {
            condition(pod, "Ready") == "True" && pod["metadata"]["deletionTimestamp"].is_null()
        });
        assert!(
            serving.count() >= 2,
            "more than one node is down: {pods:#?}"
        );
        let set = plane.get(SET).await;
        if set["status"]["updatedNumberScheduled"] == 3 && set["status"]["numberAvailable"] == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    settled(&plane, 2, 3).await;
    plane.patch(SET, Patch::Strategic, image("agent:v1")).await;
    settled(&plane, 3, 3).await;
    let revisions = plane
        .get("/apis/apps/v1/namespaces/default/controllerrevisions")
        .await;
    let mut numbers: Vec<i64> = revisions["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|revision| revision["revision"].as_i64())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3], "going back renumbers the old revision");
}

#[tokio::test]
async fn daemons_follow_new_and_tainted_nodes() {
    let plane = cluster(&["a", "b"]).await;
    settled(&plane, 1, 2).await;
    plane.ready_node("c").await;
    settled(&plane, 1, 3).await;
    let evict = json!({"spec": {"taints": [{"key": "x", "effect": "NoExecute"}]}});
    plane.patch("/api/v1/nodes/a", Patch::Merge, evict).await;
    settled(&plane, 1, 2).await;
    let keep = json!({"spec": {"taints": [{"key": "x", "effect": "NoSchedule"}]}});
    plane.patch("/api/v1/nodes/b", Patch::Merge, keep).await;
    settled(&plane, 1, 1).await;
    // Until its agent has ended it, the evicted pod counts, too.
    while agents(&plane).await.len() > 2 {}
    // NoSchedule keeps what runs.
    plane
        .until(SET, |set| set["status"]["numberMisscheduled"] == 1)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_is_left_to_the_scheduler_where_it_has_given_the_room_away() {
    let plane = ControlPlane::start("nodelifecycle").await;
    let (client, stop) = (plane.client(), Shutdown::default());
    let (shared, cache) = (
        SharedInformers::start(&client, &stop),
        SharedCache::default(),
    );
    let scheduling = scheduler::run(client.clone(), shared, cache.clone(), stop.clone());
    pandaemon_runtime::spawn("scheduler", scheduling);
    plane.ready_node("a").await;
    plane.pod("seen", json!({})).await;
    plane
        .until(&format!("{PODS}/seen"), |pod| {
            pod["spec"]["nodeName"] == "a"
        })
        .await;
    // As a binding that is under way: the planner cannot know of it.
    let requests = json!({ "containers": [{ "resources": { "requests": { "cpu": "1500m" } } }] });
    let resources = PodResourceSpec::deserialize(&requests).unwrap();
    let (key, resources) = (Key::new("default", "p"), PodResources::from(&resources));
    let taken = cache.reserve(&key, "a", &Arc::new(resources)).unwrap();
    let setup = Setup {
        scheduler: Some(cache),
        ..Setup::new(client, true)
    };
    pandaemon_runtime::spawn("daemonset", daemonset::run(setup, stop.clone()));
    let container = json!({
        "name": "c", "image": "agent:v1", "resources": { "requests": { "cpu": "1" } },
    });
    let set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {
                "metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [container]},
            },
        },
    });
    plane.create(SETS, set).await;
    let daemons = format!("{PODS}?labelSelector=app%3Dagent");
    let list = plane
        .until(&daemons, |list| {
            condition(&list["items"][0], "PodScheduled") == "False"
        })
        .await;
    assert!(list["items"][0]["spec"]["nodeName"].is_null(), "{list:#}");
    drop(taken);
    plane
        .until(&daemons, |list| list["items"][0]["spec"]["nodeName"] == "a")
        .await;
    stop.trigger();
}
