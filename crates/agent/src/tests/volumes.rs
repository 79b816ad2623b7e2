//! The volumes of pods while the API server is slow or absent.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    fake_api::State,
    node::{BEGIN, Node, pod, uid, until},
};

/// The request for a token of the service account that pods have.
const TOKEN: &str = "POST /api/v1/namespaces/default/serviceaccounts/default/token";

/// How often a token was asked for.
fn asked(state: &State) -> usize {
    state.requests.iter().filter(|one| *one == TOKEN).count()
}

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

/// The path of a volume of pod `p`.
fn volume(node: &Node, kind: &str, name: &str) -> PathBuf {
    let kind = format!("volumes/kubernetes.io~{kind}");
    node.paths().pod(&uid("p")).join(kind).join(name)
}

/// The files below a directory that are on disk and contain this text.
fn on_disk(dir: &Path, mounted: &[PathBuf], text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() && !mounted.contains(&path) {
            found.extend(on_disk(&path, mounted, text));
        } else if kind.is_file()
            && fs::read(&path)
                .unwrap()
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        {
            found.push(path);
        }
    }
    found
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

#[tokio::test]
async fn secrets_tokens_and_downward_data_are_on_no_disk_and_outlive_a_reboot_without_the_api() {
    let node = Node::start();
    node.api.set_token_expiry(BEGIN / 1000 + 3600);
    node.api.apply_secret("login", "password", "hunter2");
    node.api.apply_config_map("settings", "colour", "red");
    let mut pod = pod("p", &[("c", "image:1")]);
    let label = json!({ "path": "name", "fieldRef": { "fieldPath": "metadata.name" } });
    pod["spec"]["volumes"] = json!([
        { "name": "login", "secret": { "secretName": "login" } },
        { "name": "settings", "configMap": { "name": "settings" } },
        { "name": "about", "downwardAPI": { "items": [label] } },
        token_volume("token", "api"),
        token_volume("other", "vault"),
        { "name": "scratch", "emptyDir": { "medium": "Memory" } },
        { "name": "work", "emptyDir": {} },
    ]);
    node.api.apply(&pod);
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    let memory = |node: &Node| {
        [
            volume(node, "secret", "login"),
            volume(node, "downward-api", "about"),
            volume(node, "projected", "token"),
            volume(node, "projected", "other"),
            volume(node, "empty-dir", "scratch"),
        ]
    };
    let as_wanted = |node: &Node| {
        assert_eq!(node.mounted(), memory(node));
        let read = |kind, name, file| {
            fs::read_to_string(volume(node, kind, name).join(file)).unwrap_or_default()
        };
        let wanted = [
            ("secret", "login", "password", "hunter2"),
            ("configmap", "settings", "colour", "red"),
            ("downward-api", "about", "name", "p"),
            ("projected", "token", "token", "token-1"),
            ("projected", "other", "token", "token-2"),
        ];
        for (kind, name, file, content) in wanted {
            assert_eq!(read(kind, name, file), content, "{kind} {name}");
        }
        let data = node.paths().pods().parent().unwrap().to_owned();
        for text in ["hunter2", "token-1", "token-2"] {
            let found = on_disk(&data, &node.mounted(), text);
            assert!(found.is_empty(), "{text} is in {found:?}");
        }
    };
    as_wanted(&node);

    node.api.set_down(true);
    let node = node.restart().await;
    node.exit("p", "c", 1);
    node.called("start_container container3").await;
    as_wanted(&node);

    let node = node.reboot().await;
    node.called("start_container container2").await;
    as_wanted(&node);
}

#[tokio::test]
async fn a_token_is_renewed_in_the_running_pod_after_most_of_its_lifetime() {
    let node = Node::start();
    node.api.set_token_expiry(BEGIN / 1000 + 3600);
    node.api.apply(&with_token(pod("p", &[("c", "image:1")])));
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    let file = volume(&node, "projected", "token").join("token");
    let token = || fs::read_to_string(&file).unwrap();
    node.advance(Duration::from_secs(47 * 60));
    node.settle("p").await;
    assert_eq!(token(), "token-1");
    node.advance(Duration::from_secs(60));
    until("another token", || token() == "token-2").await;
}

#[tokio::test]
async fn an_update_that_is_due_while_another_one_waits_for_a_token_follows_it() {
    let node = Node::start();
    node.api.set_token_expiry(BEGIN / 1000);
    node.api.apply_config_map("settings", "colour", "red");
    let mut pod = with_token(pod("p", &[("c", "image:1")]));
    let volumes = pod["spec"]["volumes"].as_array_mut().unwrap();
    volumes.push(json!({ "name": "settings", "configMap": { "name": "settings" } }));
    node.api.apply(&pod);
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;
    node.api.hang(Some(TOKEN));
    let before = node.api.look(asked);
    node.api.apply_config_map("settings", "colour", "green");
    node.api
        .until("an update asks for a token", |state| asked(state) > before)
        .await;
    node.api.apply_config_map("settings", "colour", "blue");
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    node.api.hang(None);
    let file = volume(&node, "configmap", "settings").join("colour");
    let is_blue = || fs::read_to_string(&file).unwrap() == "blue";
    until("the newest content", is_blue).await;
}
