//! No pod holds up another one.

use super::node::{Node, pod, uid};

#[tokio::test]
async fn a_pull_that_never_ends_holds_up_nothing_else() {
    let node = Node::start();
    node.runtime.hang("pull_image slow:1");
    node.api
        .apply(&pod("slow", &[("waits", "slow:1"), ("runs", "image:1")]));
    node.called("pull_image slow:1").await;
    node.api.apply(&pod("p", &[("c", "image:1")]));
    node.api
        .until("another pod is ready", |state| state.is_ready("p"))
        .await;
    node.api
        .until("the other container of the pod runs", |state| {
            let status = state.status("slow");
            status.is_some_and(|status| {
                status["containerStatuses"][1]["state"]["running"].is_object()
            })
        })
        .await;
    // Nor does it hold up the deletion of its own pod.
    node.api.delete("slow", 1);
    node.api
        .until("the pod is deleted", |state| state.status("slow").is_none())
        .await;
}

#[tokio::test]
async fn a_panic_ends_only_its_worker_and_that_is_started_again() {
    let node = Node::start();
    for name in ["a", "b"] {
        node.api.apply(&pod(name, &[(name, "image:1")]));
    }
    node.api
        .until("both are ready", |state| {
            state.is_ready("a") && state.is_ready("b")
        })
        .await;
    let panics = format!("list_sandboxes {}", uid("a"));
    node.runtime.panic_once(&panics);
    node.exit("a", "a", 1);
    node.exit("b", "b", 1);
    node.api
        .until("both are ready again", |state| {
            let restarted = |name: &str| {
                let status = state.status(name).unwrap();
                status["containerStatuses"][0]["restartCount"] == 1 && state.is_ready(name)
            };
            restarted("a") && restarted("b")
        })
        .await;
    assert_eq!(node.calls("run_sandbox a").len(), 1, "its sandbox was kept");
}

#[tokio::test]
async fn a_panic_in_an_action_restarts_the_worker_too() {
    let node = Node::start();
    node.runtime.panic_once("create_container c");
    node.api.apply(&pod("p", &[("c", "image:1")]));
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    assert_eq!(node.calls("create_container c").len(), 2);
    assert_eq!(node.calls("run_sandbox p").len(), 1);
}
