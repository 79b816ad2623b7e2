//! ConfigMaps that pods reference, with and without the API server.

use serde_json::{Value, json};

use super::node::{Node, pod, until};

/// A pod whose container takes a variable from the config map `settings`.
fn pod_with_settings() -> Value {
    let mut pod = pod("p", &[("c", "image:1")]);
    let key = json!({ "name": "settings", "key": "colour" });
    pod["spec"]["containers"][0]["env"] =
        json!([{ "name": "COLOUR", "valueFrom": { "configMapKeyRef": key } }]);
    pod
}

#[tokio::test]
async fn a_container_waits_for_its_config_map() {
    let node = Node::start();
    node.api.apply(&pod_with_settings());
    let waiting = Some("waiting CreateContainerConfigError".to_owned());
    node.api
        .until("the error is reported", |state| {
            state.container_state("p") == waiting
        })
        .await;
    node.api.look(|state| {
        let status = state.status("p").unwrap();
        let message = &status["containerStatuses"][0]["state"]["waiting"]["message"];
        assert_eq!(message, "configmap \"settings\" not found");
    });
    // No clock advances: the change alone lets the start be tried again.
    node.api.apply_config_map("settings", "colour", "red");
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
}

#[tokio::test]
async fn a_new_agent_without_the_api_starts_containers_with_saved_config_maps() {
    let node = Node::start();
    node.api.apply_config_map("settings", "colour", "red");
    node.api.apply(&pod_with_settings());
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    node.api.set_down(true);
    let node = node.restart().await;
    node.exit("p", "c", 1);
    node.called("start_container container3").await;
}

#[tokio::test]
async fn the_copy_of_an_object_is_kept_while_a_pod_uses_it() {
    let node = Node::start();
    node.api.apply_config_map("settings", "colour", "red");
    node.api.apply(&pod_with_settings());
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    let copies = node.paths().saved_objects().join("configmap/default");
    let copy = copies.join("settings.sealed");
    node.object_cache().remove_unreferenced();
    assert!(copy.is_file());
    node.api.remove("p");
    until("the copy is removed", || {
        node.object_cache().remove_unreferenced();
        !copy.exists()
    })
    .await;
}
