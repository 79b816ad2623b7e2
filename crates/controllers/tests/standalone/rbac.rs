//! The requests of a whole life, against the rights that the manifests ask for.

use std::{collections::BTreeSet, sync::Arc};

use http::Request;
use kube::{Client, client::Body};
use pandaemon_testkit::rights::{right_of, rights_in};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{
    cluster::{Cluster, Controller, QUICK, RecordedRequest, daemon, pause},
    manifests::manifest,
};

const SETS: &str = "/apis/apps/v1/namespaces/default/daemonsets";
const SET: &str = "/apis/apps/v1/namespaces/default/daemonsets/agent";
const REVISIONS: &str = "/apis/apps/v1/namespaces/default/controllerrevisions";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn right(asked: &RecordedRequest) -> String {
    right_of(&asked.method, &asked.path, &asked.query)
}

/// Creations whose answers are lost, an update, a way back, forgotten revisions, an orphan, a
/// released pod.
async fn live(cluster: &Cluster, controller: &Controller) {
    controller
        .lost
        .lock()
        .extend([("/default/pods", 1), ("/controllerrevisions", 1)]);
    cluster.node("a").await;
    let mut orphan = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "orphan", "labels": {"app": "agent"}},
        "spec": {"nodeName": "a", "containers": [{"name": "c", "image": "agent:v1"}]},
    });
    cluster.create(PODS, orphan.take()).await;
    let mut set = daemon("agent", "agent:v1");
    set["spec"]["revisionHistoryLimit"] = json!(0);
    cluster.create(SETS, set).await;
    cluster.settled(SET, 1, 1, |_| ()).await;
    cluster.node("b").await;
    cluster.settled(SET, 1, 2, |_| ()).await;
    let image = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    cluster.strategic_patch(SET, image("agent:v2")).await;
    cluster.settled(SET, 2, 2, |_| ()).await;
    cluster
        .until(REVISIONS, |list| {
            list["items"]
                .as_array()
                .is_some_and(|items| items.len() == 1)
        })
        .await;
    cluster
        .strategic_patch(SET, json!({"spec": {"revisionHistoryLimit": 5}}))
        .await;
    cluster.strategic_patch(SET, image("agent:v3")).await;
    cluster.settled(SET, 4, 2, |_| ()).await;
    cluster.strategic_patch(SET, image("agent:v2")).await;
    cluster.settled(SET, 5, 2, |_| ()).await;
}

/// Creates what the manifests say about rights, and returns a client of their service account. It
/// notes what it is refused.
async fn account(cluster: &Cluster, refused: &Arc<Mutex<Vec<String>>>) -> Client {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let system = "namespaces/kube-system";
    for (path, file) in [
        (
            format!("/api/v1/{system}/serviceaccounts"),
            "serviceaccount.yaml",
        ),
        (format!("{rbac}/clusterroles"), "clusterrole.yaml"),
        (
            format!("{rbac}/clusterrolebindings"),
            "clusterrolebinding.yaml",
        ),
        (format!("{rbac}/{system}/roles"), "role.yaml"),
        (format!("{rbac}/{system}/rolebindings"), "rolebinding.yaml"),
    ] {
        cluster.create(&path, manifest(file)).await;
    }
    let clients = cluster.running().clients();
    let inner = clients.service_account("kube-system", "pandaemon-controller");
    let refused = Arc::clone(refused);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, refused) = (inner.clone(), Arc::clone(&refused));
        let asked = format!("{} {}", request.method(), request.uri());
        async move {
            let answer = inner.send(request).await;
            if answer.as_ref().is_ok_and(|answer| answer.status() == 403) {
                refused.lock().push(asked);
            }
            answer.map_err(tower::BoxError::from)
        }
    });
    Client::new(service, "default")
}

#[tokio::test]
async fn the_rights_asked_for_are_those_used() {
    let cluster = Cluster::start(&[]).await;
    let refused = Arc::default();
    let client = account(&cluster, &refused).await;
    let lease = "pandaemon-daemonset-controller";
    let controller = Controller::start_as(&client, lease, "leader", QUICK);
    live(&cluster, &controller).await;
    assert_eq!(*refused.lock(), [""; 0]);
    // A repeated event is counted by a patch.
    let files = ["clusterrole.yaml", "role.yaml"];
    let granted = files.map(|file| rights_in(&manifest(file)));
    let granted: BTreeSet<String> = granted.into_iter().flatten().collect();
    let mut used: BTreeSet<String> = controller.requests.lock().iter().map(right).collect();
    for right in [
        // In pages, where the server cannot stream: the list-watch has its own test.
        "list apps/daemonsets",
        "list apps/controllerrevisions",
        "list /nodes",
        "list /pods",
        // No request: see the manifest.
        "update apps/daemonsets/finalizers",
        // An event that is recorded again within its life.
        "patch /events",
    ] {
        used.insert(right.to_owned());
    }
    pause().await;
    let (used, granted): (Vec<_>, Vec<_>) = (used.iter().collect(), granted.iter().collect());
    assert_eq!(used, granted);
    let asked = controller.requests.lock();
    let named = |asked: &&RecordedRequest| asked.path.contains("/leases/");
    for lease in asked.iter().filter(named) {
        assert!(
            lease
                .path
                .starts_with("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/")
        );
    }
    assert_eq!(
        manifest("role.yaml")["rules"][1]["resourceNames"],
        Value::from(vec!["pandaemon-daemonset-controller"])
    );
}
