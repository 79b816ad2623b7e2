//! Handing a cluster back: what we write is what upstream would have written, so it finds nothing
//! to do.

use pandaemon_testkit::fixtures::Recording;
use serde_json::{Value, json};

use super::{
    cluster::{Cluster, Controller, QUICK, node_of},
    takeover::recorded,
};

/// The parts of a pod that the DaemonSet controller writes.
fn written(pod: &Value) -> Value {
    let mut labels = pod["metadata"]["labels"].clone();
    labels
        .as_object_mut()
        .unwrap()
        .remove("controller-revision-hash");
    let mut owner = pod["metadata"]["ownerReferences"].clone();
    owner[0].as_object_mut().unwrap().remove("uid");
    let mut tolerations = pod["spec"]["tolerations"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    tolerations.sort_by_key(Value::to_string);
    json!({
        "generateName": pod["metadata"]["generateName"], "labels": labels, "owner": owner,
        "affinity": pod["spec"]["affinity"], "tolerations": tolerations,
        "restartPolicy": pod["spec"]["restartPolicy"],
    })
}

/// The revision of a set as it was posted, against upstream's of the same template.
fn compare_revision(controller: &Controller, name: &str, set: &Value, upstream: &Value) {
    let posted = controller.changes().into_iter().find(|request| {
        request.method == "POST"
            && request.path.ends_with("/controllerrevisions")
            && request.body.contains(&format!("\"name\":\"{name}-"))
    });
    let posted = posted.unwrap().body;
    // Go writes maps in the order of their keys, and these characters escaped.
    let bytes = upstream["data"].to_string().replace('<', "\\u003c");
    let bytes = bytes.replace('>', "\\u003e").replace('&', "\\u0026");
    assert!(
        posted.contains(&format!("\"data\":{bytes}")),
        "{posted}\n{bytes}"
    );
    let ours: Value = serde_json::from_str(&posted).unwrap();
    let labels = &ours["metadata"]["labels"];
    let selector = &set["spec"]["selector"]["matchLabels"];
    for (label, value) in selector.as_object().unwrap() {
        assert_eq!(labels[label], *value);
    }
    let hash = labels["controller-revision-hash"].as_str().unwrap();
    assert_eq!(ours["metadata"]["name"], format!("{name}-{hash}"));
}

/// Takes the recorded sets without their revisions and pods, and compares what the controller makes
/// of them.
async fn compare(objects: Vec<Value>) {
    let of_kind = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
    let text = |object: &Value, field: &str| object["metadata"][field].as_str().unwrap().to_owned();
    // As an API server of that version sends them, every null in its place: revisions are compared
    // by bytes.
    let mut alone: Vec<Value> = of_kind("Node")
        .chain(of_kind("DaemonSet"))
        .cloned()
        .collect();
    for object in alone
        .iter_mut()
        .filter(|object| object["kind"] == "DaemonSet")
    {
        object["status"] = json!({});
    }
    let cluster = Cluster::start(&alone).await;
    for set in of_kind("DaemonSet") {
        let account = &set["spec"]["template"]["spec"]["serviceAccountName"];
        let accounts = format!(
            "/api/v1/namespaces/{}/serviceaccounts",
            text(set, "namespace")
        );
        let body =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}});
        if account.is_string() {
            cluster.create(&accounts, body).await;
        }
    }
    let controller = Controller::start(&cluster, "newcomer", QUICK);
    for set in of_kind("DaemonSet") {
        let (namespace, name) = (text(set, "namespace"), text(set, "name"));
        let sets = format!("/apis/apps/v1/namespaces/{namespace}/daemonsets");
        let scheduled = |set: &Value| {
            let desired = &set["status"]["desiredNumberScheduled"];
            desired.as_u64() > Some(0) && set["status"]["currentNumberScheduled"] == *desired
        };
        cluster.until(&format!("{sets}/{name}"), scheduled).await;
        let upstream = of_kind("ControllerRevision")
            .find(|revision| {
                let same = &revision["data"]["spec"]["template"]["spec"];
                revision["metadata"]["ownerReferences"][0]["name"] == *name
                    && *same == set["spec"]["template"]["spec"]
            })
            .unwrap();
        compare_revision(&controller, &name, set, upstream);
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        for pod in cluster.items(&pods).await {
            let like = of_kind("Pod").find(|like| {
                text(like, "name").starts_with(&format!("{name}-"))
                    && node_of(like) == node_of(&pod)
            });
            let Some(like) = like.filter(|_| text(&pod, "name").starts_with(&format!("{name}-")))
            else {
                continue;
            };
            let (mut ours, mut theirs) = (written(&pod), written(like));
            for pod in [&mut ours, &mut theirs] {
                // How often the set has been updated before.
                pod["labels"]
                    .as_object_mut()
                    .unwrap()
                    .remove("pod-template-generation");
            }
            assert_eq!(ours, theirs, "{name}");
        }
    }
}

#[tokio::test]
async fn what_we_write_is_what_upstream_writes() {
    compare(recorded(Recording::Composed)).await;
    compare(recorded(Recording::Upstream)).await;
}
