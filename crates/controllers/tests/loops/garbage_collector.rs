//! The garbage collector: owners and dependents.

use pandaemon_client::rest::Patch;
use serde_json::{Value, json};

use super::control_plane::ControlPlane;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn map(plane: &ControlPlane, name: &str, owners: &[&Value]) -> Value {
    let owner = |owner: &&Value| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true,
        })
    };
    let owners: Vec<Value> = owners.iter().map(owner).collect();
    let body = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "ownerReferences": owners } });
    plane.create(MAPS, body).await
}

fn path(name: &str) -> String {
    format!("{MAPS}/{name}")
}

#[tokio::test(flavor = "multi_thread")]
async fn dependents_of_a_deleted_owner_are_deleted_recursively() {
    let plane = ControlPlane::start("garbagecollector").await;
    let owner = map(&plane, "owner", &[]).await;
    let other = map(&plane, "other", &[]).await;
    let child = map(&plane, "child", &[&owner]).await;
    map(&plane, "grandchild", &[&child]).await;
    map(&plane, "shared", &[&owner, &other]).await;
    plane
        .delete(&path("owner"), json!({ "propagationPolicy": "Background" }))
        .await;
    plane.until(&path("grandchild"), Value::is_null).await;
    plane.until(&path("child"), Value::is_null).await;
    let shared = plane
        .until(&path("shared"), |map| {
            map["metadata"]["ownerReferences"]
                .as_array()
                .is_some_and(|owners| owners.len() == 1)
        })
        .await;
    assert_eq!(shared["metadata"]["ownerReferences"][0]["name"], "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependent_of_an_owner_that_never_existed_is_deleted() {
    let plane = ControlPlane::start("garbagecollector").await;
    let ghost =
        json!({ "metadata": { "name": "ghost", "uid": "0e6f4f7e-0000-4000-8000-000000000000" } });
    map(&plane, "child", &[&ghost]).await;
    plane.until(&path("child"), Value::is_null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreground_deletion_deletes_dependents_first() {
    let plane = ControlPlane::start("garbagecollector").await;
    let owner = map(&plane, "owner", &[]).await;
    map(&plane, "child", &[&owner]).await;
    let hold = json!({ "metadata": { "finalizers": ["a.io/x"] } });
    plane.patch(&path("child"), Patch::Merge, hold).await;
    plane
        .delete(&path("owner"), json!({ "propagationPolicy": "Foreground" }))
        .await;
    plane
        .until(&path("child"), |map| {
            !map["metadata"]["deletionTimestamp"].is_null()
        })
        .await;
    let waiting = plane.get(&path("owner")).await;
    assert_eq!(
        waiting["metadata"]["finalizers"],
        json!(["foregroundDeletion"])
    );
    let free = json!({ "metadata": { "finalizers": null } });
    plane.patch(&path("child"), Patch::Merge, free).await;
    plane.until(&path("owner"), Value::is_null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphan_deletion_keeps_dependents() {
    let plane = ControlPlane::start("garbagecollector").await;
    let owner = map(&plane, "owner", &[]).await;
    map(&plane, "child", &[&owner]).await;
    // The collector must have seen the child, as upstream's must.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    plane
        .delete(&path("owner"), json!({ "propagationPolicy": "Orphan" }))
        .await;
    plane.until(&path("owner"), Value::is_null).await;
    let child = plane.get(&path("child")).await;
    assert!(child["metadata"]["ownerReferences"].is_null(), "{child:#}");
}
