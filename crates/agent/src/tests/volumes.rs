//! The volumes of pods while the API server is slow or absent.

use std::time::Duration;

use serde_json::{Value, json};

use super::node::{BEGIN, Node, pod};

/// The request for a token of the service account that pods have.
const TOKEN: &str = "POST /api/v1/namespaces/default/serviceaccounts/default/token";

/// A volume with a token for this audience.
fn token_volume(name: &str, audience: &str) -> Value {
    let token = json!({ "path": "token", "audience": audience, "expirationSeconds": 3600 });
    let sources = [json!({ "serviceAccountToken": token })];
    json!({ "name": name, "projected": { "sources": sources } })
}

/// Adds a volume with a token to a pod.
fn with_token(mut pod: Value) -> Value {
    pod["spec"]["volumes"] = json!([token_volume("token", "api")]);
    pod
}

#[tokio::test]
async fn a_volume_update_that_is_due_while_a_start_waits_for_a_token_blocks_nothing() {
    let node = Node::start();
    // Each set-up of the volumes asks for a new token.
    node.api.set_token_expiry(BEGIN / 1000);
    node.api
        .apply(&with_token(pod("p", &[("a", "image:1"), ("b", "image:1")])));
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    node.api.hang(Some(TOKEN));
    let asked =
        |state: &super::fake_api::State| state.requests.iter().filter(|one| *one == TOKEN).count();
    let before = node.api.look(asked);
    node.exit("p", "b", 1);
    node.api
        .until("the start asks for a token", |state| asked(state) > before)
        .await;
    node.advance(Duration::from_secs(60));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    node.api.hang(None);
    node.api
        .until("b runs again", |state| {
            let status = &state.status("p").unwrap()["containerStatuses"][1];
            status["restartCount"] == 1 && status["state"]["running"].is_object()
        })
        .await;
}
