//! The status manager: every status arrives in the end.

use super::node::{Node, pod};

const PATCH: &str = "PATCH /api/v1/namespaces/default/pods/p/status";

#[tokio::test]
async fn a_status_is_sent_again_until_the_server_accepts_it() {
    let node = Node::start();
    node.api.refuse(Some(PATCH));
    node.api.apply(&pod("p", &[("c", "image:1")]));
    node.api
        .until("the second attempt", |state| {
            state.requests.iter().filter(|one| *one == PATCH).count() >= 2
        })
        .await;
    assert!(node.api.look(|state| state.status("p").is_none()));
    // Meanwhile the container started: only the newest status counts.
    node.called("start_container").await;
    node.api.refuse(None);
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
}

#[tokio::test]
async fn a_deleted_pod_keeps_its_object_until_its_last_status_was_accepted() {
    let node = Node::start();
    node.api.apply(&pod("p", &[("c", "image:1")]));
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    node.api.refuse(Some(PATCH));
    node.api.delete("p", 1);
    node.called("remove_sandbox sandbox1").await;
    let refused =
        |state: &super::fake_api::State| state.requests.iter().filter(|one| *one == PATCH).count();
    let before = node.api.look(refused);
    node.api
        .until("two more attempts", |state| refused(state) >= before + 2)
        .await;
    assert!(node.api.look(|state| state.status("p").is_some()));
    node.api.refuse(None);
    node.api
        .until("the object is deleted", |state| state.status("p").is_none())
        .await;
    let about_pod = node.api.look(|state| {
        let about_pod = state.requests.iter().filter(|one| one.contains("/pods/p"));
        about_pod.cloned().collect::<Vec<_>>()
    });
    let ended = &about_pod[about_pod.len() - 2..];
    assert_eq!(ended, [PATCH, "DELETE /api/v1/namespaces/default/pods/p"]);
}

#[tokio::test]
async fn a_status_of_a_replaced_pod_is_dropped() {
    let node = Node::start();
    node.api.apply(&pod("p", &[("c", "image:1")]));
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    // Another pod of that name, on another node as far as this agent knows.
    let mut other = pod("p", &[("c", "image:1")]);
    other["metadata"]["uid"] = serde_json::json!("other");
    node.api.set_down(true);
    node.exit("p", "c", 1);
    node.called("start_container container3").await;
    node.api.remove("p");
    node.api.apply(&other);
    node.api.set_down(false);
    node.called("remove_sandbox sandbox1").await;
    node.api
        .until("the other pod is ready", |state| state.is_ready("p"))
        .await;
    node.api.look(|state| {
        let status = state.status("p").unwrap();
        assert_eq!(status["containerStatuses"][0]["restartCount"], 0);
    });
}

#[tokio::test]
async fn a_condition_that_another_client_has_changed_is_reported_again() {
    let node = Node::start();
    node.api.apply(&pod("p", &[("c", "image:1")]));
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    let patches =
        |state: &super::fake_api::State| state.requests.iter().filter(|one| *one == PATCH).count();
    let before = node.api.look(patches);
    // As the node life cycle controller does while the node cannot be reached.
    node.api.set_condition("p", "Ready", "False");
    node.api
        .until("p is ready again", |state| state.is_ready("p"))
        .await;
    // A condition that another client owns stays.
    node.api.set_condition("p", "example.com/checked", "False");
    node.exit("p", "c", 1);
    node.api
        .until("the container has started again", |state| {
            state.container_state("p").as_deref() == Some("running")
                && state.status("p").unwrap()["containerStatuses"][0]["restartCount"] == 1
        })
        .await;
    node.api.look(|state| {
        let conditions = state.status("p").unwrap()["conditions"].as_array().unwrap();
        let checked = conditions
            .iter()
            .find(|one| one["type"] == "example.com/checked");
        assert_eq!(checked.unwrap()["status"], "False");
        assert!(patches(state) > before);
    });
}

#[tokio::test]
async fn a_condition_that_another_client_sets_just_before_a_report_is_kept() {
    let node = Node::start();
    node.api.apply(&pod("p", &[("c", "image:1")]));
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    // The agent hears of it only after its next report.
    node.api.set_silent(true);
    node.api.set_condition("p", "example.com/checked", "False");
    node.exit("p", "c", 1);
    node.api
        .until("the container has started again", |state| {
            state.container_state("p").as_deref() == Some("running")
                && state.status("p").unwrap()["containerStatuses"][0]["restartCount"] == 1
        })
        .await;
    node.api.look(|state| {
        let conditions = state.status("p").unwrap()["conditions"].as_array().unwrap();
        let types: Vec<_> = conditions.iter().map(|one| &one["type"]).collect();
        assert_eq!(types.len(), 6, "{types:?}");
        assert_eq!(types[5], "example.com/checked");
    });
}
