//! Pods are deleted, and what is left of pods is removed.

use serde_json::json;

use super::{
    fake_api::FakeApi,
    node::{Node, pod, uid, until},
};
use crate::pod::sandbox::POD_UID;
use pandaemon_cri::{FakeRuntime, Runtime as _, pb};

#[tokio::test]
async fn a_deleted_pod_gets_its_grace_period_and_leaves_nothing() {
    let node = Node::start();
    let mut pod = pod("p", &[("c", "image:1")]);
    pod["spec"]["containers"][0]["lifecycle"] =
        json!({ "preStop": { "exec": { "command": ["drain"] } } });
    node.api.apply(&pod);
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    node.api.delete("p", 7);
    node.api
        .until("the object is deleted", |state| state.status("p").is_none())
        .await;
    let calls = node.runtime.calls();
    let position = |call: &str| calls.iter().position(|one| one == call).unwrap();
    let order = [
        position("exec_sync container2 drain"),
        position("stop_container container2 7s"),
        position("stop_sandbox sandbox1"),
        position("remove_sandbox sandbox1"),
    ];
    assert!(order.is_sorted(), "{calls:#?}");
    assert!(!node.paths().pod(&uid("p")).exists());
    until("the pod is forgotten", || node.pods.count() == 0).await;
    node.api.look(|state| {
        let last = state
            .requests
            .iter()
            .rev()
            .find(|one| !one.starts_with("POST"));
        assert_eq!(last.unwrap(), "DELETE /api/v1/namespaces/default/pods/p");
    });
}

#[tokio::test]
async fn a_shorter_grace_period_takes_effect_at_once() {
    let node = Node::start();
    node.api.apply(&pod("p", &[("c", "image:1")]));
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    node.runtime.hang("stop_container container2 30s");
    node.api.delete("p", 30);
    node.called("stop_container container2 30s").await;
    node.api.delete("p", 3);
    node.called("stop_container container2 3s").await;
    node.api
        .until("the object is deleted", |state| state.status("p").is_none())
        .await;
}

#[tokio::test]
async fn a_pod_whose_object_is_gone_is_removed_without_a_report() {
    let node = Node::start();
    node.api.apply(&pod("p", &[("c", "image:1")]));
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    let patches = |state: &super::fake_api::State| {
        let of_pod = state.requests.iter().filter(|one| one.contains("/pods/p"));
        of_pod.count()
    };
    let before = node.api.look(patches);
    node.api.remove("p");
    node.called("remove_sandbox sandbox1").await;
    until("the pod is forgotten", || node.pods.count() == 0).await;
    assert_eq!(node.api.look(patches), before, "no request about the pod");
    let saved = node.paths().saved_pods().join(format!("{}.json", uid("p")));
    assert!(!saved.exists(), "it is not started after a reboot");
}

#[tokio::test]
async fn orphans_are_removed_and_nothing_else() {
    let runtime = FakeRuntime::with_images(&["image:1"]);
    let sandbox = |name: &str, uid: Option<&str>| pb::PodSandboxConfig {
        metadata: Some(pb::PodSandboxMetadata {
            name: name.to_owned(),
            ..Default::default()
        }),
        labels: uid
            .map(|uid| (POD_UID.to_owned(), uid.to_owned()))
            .into_iter()
            .collect(),
        ..Default::default()
    };
    let orphan = runtime.run_sandbox(sandbox("orphan", Some("ghost")));
    let orphan = orphan.await.unwrap();
    let foreign = runtime.run_sandbox(sandbox("foreign", None)).await.unwrap();
    let api = FakeApi::default();
    api.set_down(true);
    let node = Node::start_with(api, runtime);
    let dirs = [
        node.paths().pod("ghost").join("volumes"),
        node.paths().pod_logs("default", "old", "ghost"),
    ];
    let copies = node.paths().saved_objects().join("secret/default");
    let copy = copies.join("ghost.sealed");
    std::fs::create_dir_all(copies).unwrap();
    std::fs::write(&copy, "").unwrap();
    for dir in &dirs {
        std::fs::create_dir_all(dir).unwrap();
    }

    // Nothing is an orphan before a list of pods was received.
    node.called("list_sandboxes").await;
    tokio::task::yield_now().await;
    assert_eq!(node.calls("remove_sandbox"), Vec::<String>::new());

    node.api.apply(&pod("p", &[("c", "image:1")]));
    node.api.set_down(false);
    node.called(&format!("remove_sandbox {orphan}")).await;
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    let left = node.runtime.list_sandboxes(Default::default()).await;
    let left: Vec<_> = left.unwrap().into_iter().map(|one| one.id).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(
        left.contains(&foreign),
        "a sandbox without the label is not ours"
    );
    assert!(
        dirs.iter().chain([&copy]).all(|path| !path.exists()),
        "volumes, logs and copies are removed"
    );
}
