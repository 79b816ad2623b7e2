//! Backups over the API: who takes one, what is in it, and that one which is read slowly holds up
//! nothing.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use pandaemon_server::backup::{Manifest, key_files, manifest};
use pandaemon_store::{BackupReader, Contents, encryption::EncryptedStore};
use pandaemon_testkit::ServerOptions;
use serde_json::{Value, json};

use super::{
    audit::audit_config,
    authorization::send_as,
    encryption::open,
    harness::{Server, json_of},
};

const BACKUP: &str = "/pandaemon/v1/backup";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn server(store: Arc<EncryptedStore>, log: &Path) -> Server {
    let policy = log.with_extension("yaml");
    let text = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: RequestResponse}]";
    std::fs::write(&policy, text).unwrap();
    let options = ServerOptions {
        encryption: Some(store),
        audit: audit_config(log, Some(&policy)),
        ..ServerOptions::default()
    };
    Server::start_with(options).await.unwrap()
}

async fn begin(server: &Server, path: &str) -> Response<Body> {
    let request = Request::post(path).body(Body::empty());
    server.client().send(request.unwrap()).await.unwrap()
}

fn read(parts: &[Bytes]) -> Contents {
    let mut reader = BackupReader::checking();
    for part in parts {
        reader.read(part).unwrap();
    }
    reader.finish().unwrap()
}

/// Takes a backup: its bytes and what is in them.
async fn take(server: &Server, path: &str) -> (Bytes, Contents) {
    let response = begin(server, path).await;
    let kind = response.headers()["content-type"].clone();
    assert_eq!(
        (response.status().as_u16(), kind.as_bytes()),
        (200, &b"application/octet-stream"[..])
    );
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let contents = read(std::slice::from_ref(&bytes));
    (bytes, contents)
}

fn map(name: &str, length: usize) -> Value {
    let text = "x".repeat(length);
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": text}})
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

/// A user who may read every path.
async fn reader_of_all_paths(server: &Server, name: &str) {
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let rules = json!([{"nonResourceURLs": ["*"], "verbs": ["get"]},
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "reader"}, "rules": rules});
    server.create(roles, role).await;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}]});
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    server.create(bindings, binding).await;
}

#[tokio::test]
async fn an_administrator_takes_a_backup_and_keys_are_in_it_on_request_only() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit.log");
    let mut server = server(open(directory.path()).await, &log).await;
    let plain = "dGhlLXNlY3JldC10ZXh0";
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": plain}});
    server
        .create("/api/v1/namespaces/default/secrets", secret)
        .await;
    server.create(MAPS, map("m", 3)).await;
    reader_of_all_paths(&server, "eve").await;
    let none = Value::Null;
    for (method, code) in [("POST", 403), ("GET", 405)] {
        let answer = send_as(&server, "eve", (method, BACKUP), "", &none).await;
        assert_eq!(answer.0, code, "{}", answer.1);
    }
    assert_eq!(server.get(BACKUP).await.0, 405);

    let (bytes, contents) = take(&server, BACKUP).await;
    let (_, namespace) = server.get("/api/v1/namespaces/kube-system").await;
    let found = manifest(&contents).unwrap();
    let Manifest { identity, .. } = found.clone();
    assert_eq!(
        found.cluster.as_deref(),
        namespace["metadata"]["uid"].as_str()
    );
    assert!(
        server
            .running()
            .agent_token()
            .starts_with(&identity.ca.unwrap())
    );
    assert_eq!((identity.signing_keys.len(), found.has_keys), (1, false));
    let keys = std::fs::read_to_string(directory.path().join("encryption-keys")).unwrap();
    let needed: Vec<String> = contents.keys.iter().map(ToString::to_string).collect();
    assert!(needed.len() == 1 && keys.contains(&needed[0]), "{needed:?}");
    assert_eq!(
        contents.counts["/configmaps/"],
        server.items("/api/v1/configmaps").await.len() as u64
    );
    assert_eq!(contents.files.len(), 1);
    assert!(has(&bytes, "\"name\":\"m\"") && !has(&bytes, plain) && !has(&bytes, "PRIVATE KEY"));

    check_keys(&server, &keys).await;
    server.stop().await;
    check_audit_log(&std::fs::read_to_string(&log).unwrap());
}

/// Takes a backup with keys: all files that cannot be made anew are in it.
async fn check_keys(server: &Server, keys: &str) {
    let (_, contents) = take(server, &format!("{BACKUP}?includeKeys=true")).await;
    assert!(manifest(&contents).unwrap().has_keys);
    assert_eq!(contents.files["encryption-keys"], keys.as_bytes());
    let files: Vec<(&str, &[u8])> = key_files(&contents).collect();
    assert_eq!(files.len() + 2, contents.files.len());
    for (name, content) in files {
        assert_eq!(
            std::fs::read(server.data_dir().join(name)).unwrap(),
            content,
            "{name}"
        );
    }
    let names: Vec<&str> = contents.files.keys().map(String::as_str).collect();
    let expected = [
        "admin-token",
        "encryption-keys",
        "manifest.json",
        "pki/agent-ca.crt",
        "pki/agent-ca.key",
        "pki/ca.crt",
        "pki/ca.key",
        "pki/client-ca.crt",
        "pki/client-ca.key",
        "pki/front-proxy-ca.crt",
        "pki/front-proxy-ca.key",
        "pki/service-account-keys.json",
        "token",
    ];
    assert_eq!(names, expected);
}

/// The audit log names both requests, and has no part of the answers.
fn check_audit_log(text: &str) {
    let events: Vec<Value> = text.lines().map(json_of).collect();
    let of = |uri: &str| -> Vec<String> {
        let is_taken = |event: &&Value| {
            let is_first = event["stage"] == "RequestReceived";
            event["requestURI"] == uri && event["verb"] == "post" && !is_first
        };
        let taken = events.iter().filter(is_taken);
        let taken = taken.filter(|event| event["impersonatedUser"].is_null());
        let shown = taken.map(|event| {
            let (stage, code) = (&event["stage"], &event["responseStatus"]["code"]);
            format!("{stage} {code} {}", event["responseObject"])
        });
        shown.collect()
    };
    let expected = [
        "\"ResponseStarted\" 200 null",
        "\"ResponseComplete\" 200 null",
    ];
    assert_eq!(of(BACKUP), expected);
    assert_eq!(of(&format!("{BACKUP}?includeKeys=true")), expected);
    assert!(!has(text.as_bytes(), "PRIVATE KEY"));
}

#[tokio::test]
async fn a_backup_that_is_read_slowly_shows_one_state_and_holds_up_no_write() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let server = server(Arc::clone(&store), &directory.path().join("audit.log")).await;
    for number in 0..10 {
        server
            .create(MAPS, map(&format!("m{number}"), 100_000))
            .await;
    }
    let before = server.items("/api/v1/configmaps").await.len() as u64;
    let mut body = begin(&server, BACKUP).await.into_body();
    let mut parts = Vec::new();
    // The client stops reading after the first parts.
    for _ in 0..3 {
        parts.push(body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    for number in 0..10 {
        server
            .create(MAPS, map(&format!("later{number}"), 1000))
            .await;
        let path = format!("{MAPS}/m{number}");
        assert_eq!(server.send("DELETE", &path, "", &Value::Null).await.0, 200);
    }
    store.store().compact().await.unwrap();
    let (code, answer) = server.post(BACKUP, &Value::Null).await;
    assert_eq!(code, 409, "{answer}");
    let text = "another backup is being taken; take this one when that is over";
    assert_eq!(answer["message"], text);
    assert_eq!(
        server
            .post("/pandaemon/v1/rotate-keys", &Value::Null)
            .await
            .0,
        200
    );
    while let Some(frame) = body.frame().await {
        let part = frame.unwrap().into_data().unwrap();
        assert!(
            part.len() <= 16 << 10,
            "what a client does not read is in memory"
        );
        parts.push(part);
    }
    let contents = read(&parts);
    assert_eq!(contents.counts["/configmaps/"], before);
    drop(body);

    // A client that leaves does not keep others from taking one.
    let mut left = begin(&server, BACKUP).await.into_body();
    let _first = left.frame().await.unwrap().unwrap();
    assert_eq!(server.post(BACKUP, &Value::Null).await.0, 409);
    drop(left);
    let (_, contents) = take(&server, BACKUP).await;
    assert_eq!(
        contents.counts["/configmaps/"],
        server.items("/api/v1/configmaps").await.len() as u64
    );
    let plain = Server::start().await;
    assert_eq!(plain.post(BACKUP, &Value::Null).await.0, 404);
}
