//! Taking over a live cluster: nothing is changed but what is due.

use std::collections::BTreeMap;

use pandaemon_testkit::fixtures::{self, Recording};
use serde_json::Value;

use super::cluster::{Cluster, Controller, QUICK, pause};

/// All objects of a recording, each with its kind.
pub(crate) fn recorded(cluster: Recording) -> Vec<Value> {
    let mut objects = Vec::new();
    for (kind, plural) in [
        ("Node", "nodes"),
        ("DaemonSet", "daemonsets"),
        ("ControllerRevision", "controllerrevisions"),
        ("Pod", "pods"),
    ] {
        for mut object in fixtures::recorded::<Value>(cluster, plural).unwrap() {
            object["kind"] = kind.into();
            objects.push(object);
        }
    }
    objects
}

/// Uid and version of every object of a collection that has nothing to do with the set being rolled
/// out.
async fn others(
    cluster: &Cluster,
    path: &str,
    rolling: &str,
) -> BTreeMap<String, (String, String)> {
    let text = |object: &Value, field: &str| object["metadata"][field].as_str().unwrap().to_owned();
    let items = cluster.items(path).await;
    items
        .iter()
        .filter(|item| !text(item, "name").starts_with(rolling))
        .map(|item| {
            (
                text(item, "name"),
                (text(item, "uid"), text(item, "resourceVersion")),
            )
        })
        .collect()
}

/// Loads the objects, runs the controller until the rolling set is through, and looks at what it
/// did.
async fn take_over(objects: Vec<Value>, namespace: &str, rolling: &str, nodes: u64) {
    let cluster = Cluster::start(&objects).await;
    let collections = [
        "/api/v1/pods",
        "/apis/apps/v1/daemonsets",
        "/apis/apps/v1/controllerrevisions",
    ];
    let mut before = Vec::new();
    for path in collections {
        before.push(others(&cluster, path, rolling).await);
    }
    let controller = Controller::start(&cluster, "newcomer", QUICK);
    let pods_listed = |asked: &super::cluster::RecordedRequest| asked.path == "/api/v1/pods";
    while !controller.requests.lock().iter().any(pods_listed) {
        pause().await;
    }
    let set = format!("/apis/apps/v1/namespaces/{namespace}/daemonsets/{rolling}");
    cluster.settled(&set, 2, nodes, |_| ()).await;
    for (path, before) in collections.iter().zip(before) {
        let mut after = others(&cluster, path, rolling).await;
        after.retain(|name, _| before.contains_key(name) || *path == "/api/v1/pods");
        assert_eq!(after, before, "{path}");
    }
    let created = objects
        .iter()
        .filter(|object| object["kind"] == "ControllerRevision");
    let revisions = cluster.items("/apis/apps/v1/controllerrevisions").await;
    assert_eq!(revisions.len(), created.count(), "no revision is due");
    for asked in controller.changes() {
        let (pods, set) = (
            format!("/api/v1/namespaces/{namespace}/pods"),
            format!("/daemonsets/{rolling}/status"),
        );
        let due = asked.path == pods && asked.body.contains(&format!("\"{rolling}-"))
            || asked.path.starts_with(&format!("{pods}/{rolling}-"))
            || asked.path.ends_with(&set);
        assert!(due, "{asked:#?}");
    }
}

#[tokio::test]
async fn a_cluster_of_ours_is_taken_over_without_a_restart() {
    take_over(recorded(Recording::Composed), "default", "rolling", 3).await;
}

#[tokio::test]
async fn a_recorded_upstream_cluster_is_taken_over_without_a_restart() {
    take_over(recorded(Recording::Upstream), "kube-system", "fluentd", 5).await;
}
