//! A new agent adopts what runs.

use super::node::{Node, pod};

#[tokio::test]
async fn a_new_agent_adopts_running_pods_without_the_api() {
    let node = Node::start();
    node.api.apply(&pod("p", &[("c", "image:1")]));
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    node.exit("p", "c", 1);
    node.api
        .until("p was restarted", |state| {
            let status = state.status("p").unwrap();
            status["containerStatuses"][0]["restartCount"] == 1 && state.is_ready("p")
        })
        .await;
    let before = node.api.look(|state| state.status("p").cloned());

    node.api.set_down(true);
    let node = node.restart().await;
    assert_eq!(node.pods.count(), 1, "the saved pod");
    node.settle("p").await;
    node.api.set_down(false);
    node.api.remove("p");
    node.called("stop_container").await;
    // The new agent changed nothing until the pod was removed.
    assert_eq!(node.calls("run_sandbox").len(), 1);
    assert_eq!(node.calls("create_container").len(), 2);
    assert_eq!(
        node.calls("stop_container"),
        ["stop_container container3 30s"]
    );
    let container = &before.unwrap()["containerStatuses"][0];
    assert_eq!(container["containerID"], "containerd://container3");
}

#[tokio::test]
async fn an_adopted_container_is_reported_with_the_same_id_and_restart_count() {
    let node = Node::start();
    node.api.apply(&pod("p", &[("c", "image:1")]));
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    let node = node.restart().await;
    node.settle("p").await;
    // The container crashes under the new agent: counting goes on, in the same sandbox.
    node.exit("p", "c", 1);
    node.api
        .until("the restart is reported", |state| {
            state.status("p").unwrap()["containerStatuses"][0]["restartCount"] == 1
        })
        .await;
    assert_eq!(node.calls("run_sandbox").len(), 1);
}
