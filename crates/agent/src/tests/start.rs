//! Pods start, and start again.

use std::time::Duration;

use serde_json::json;

use super::node::{Node, pod, uid};

#[tokio::test]
async fn a_pod_of_this_node_starts_and_is_reported() {
    let node = Node::start();
    node.api.apply(&pod("p", &[("c", "image:1")]));
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    let changes: Vec<_> = node
        .runtime
        .calls()
        .into_iter()
        .filter(|call| call.starts_with("run_") || call.contains("_container "))
        .filter(|call| !call.starts_with("list_"))
        .collect();
    assert_eq!(
        changes,
        [
            "run_sandbox p",
            "create_container c",
            "start_container container2"
        ]
    );
    node.api.look(|state| {
        let status = state.status("p").unwrap();
        assert_eq!(status["phase"], "Running");
        assert_eq!(status["podIP"], "10.0.0.1");
        let container = &status["containerStatuses"][0];
        assert_eq!(container["containerID"], "containerd://container2");
        assert_eq!(container["restartCount"], 0);
    });
    let saved = node.paths().saved_pods().join(format!("{}.json", uid("p")));
    assert!(saved.is_file(), "the pod is saved for a reboot");
    node.api
        .until("the event", |state| {
            state.events.contains(&"Started container c".to_owned())
        })
        .await;
}

#[tokio::test]
async fn a_container_that_crashes_is_restarted_with_a_growing_back_off() {
    let node = Node::start();
    node.api.apply(&pod("p", &[("c", "image:1")]));
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;

    // The first restart does not wait.
    node.exit("p", "c", 1);
    node.called("start_container container3").await;
    node.exit("p", "c", 1);
    let waiting = Some("waiting CrashLoopBackOff".to_owned());
    node.api
        .until("the back-off", |state| {
            state.container_state("p") == waiting
        })
        .await;
    node.advance(Duration::from_millis(9_999));
    node.settle("p").await;
    assert_eq!(node.calls("create_container c").len(), 2, "not before 10 s");
    node.advance(Duration::from_millis(1));
    node.called("start_container container4").await;
    node.exit("p", "c", 1);
    node.api
        .until("the longer back-off", |state| {
            let status = state.status("p").unwrap();
            let message = &status["containerStatuses"][0]["state"]["waiting"]["message"];
            message
                .as_str()
                .is_some_and(|text| text.starts_with("back-off 20s"))
        })
        .await;
}

#[tokio::test]
async fn an_exit_is_noticed_by_listing_the_runtime() {
    let node = Node::start();
    node.api.apply(&pod("p", &[("c", "image:1")]));
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    // Unlike `Node::exit`, this tells the worker nothing.
    node.runtime.exit("container2", 1, 1);
    node.called("start_container container3").await;
}

#[tokio::test]
async fn a_sandbox_that_cannot_be_created_is_tried_again() {
    let node = Node::start();
    node.runtime.fail("run_sandbox", "no more addresses");
    node.api.apply(&pod("p", &[("c", "image:1")]));
    node.api
        .until("the event", |state| {
            let message = "Failed to create pod sandbox: rpc error: code = Unknown desc = no more \
                           addresses";
            state.events.contains(&message.to_owned())
        })
        .await;
    node.runtime.recover("run_sandbox");
    node.advance(Duration::from_secs(1));
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
}

#[tokio::test]
async fn a_container_whose_process_succeeds_completes_a_pod_that_is_never_restarted() {
    let node = Node::start();
    let mut once = pod("p", &[("c", "image:1")]);
    once["spec"]["restartPolicy"] = json!("Never");
    node.api.apply(&once);
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    node.exit("p", "c", 0);
    node.api
        .until("p has succeeded", |state| {
            state.status("p").unwrap()["phase"] == "Succeeded"
        })
        .await;
    // A new agent, as after a reboot that left nothing in the runtime, does not run it again.
    node.called("stop_sandbox sandbox1").await;
    let node = node.restart().await;
    node.settle("p").await;
    assert_eq!(node.calls("run_sandbox p").len(), 1);
    assert_eq!(node.calls("create_container c").len(), 1);
}
