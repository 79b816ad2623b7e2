//! Encryption at rest, as clients see it: stored values that cannot be read, and the rotation of
//! the keys.

use std::{path::Path, sync::Arc};

use pandaemon_server::{resource_of_prefix, storage_prefix};
use pandaemon_store::{
    Embedded, Expect, Op, Options, Store, Transaction,
    encryption::{EncryptedStore, Encryption, Settings},
};
use pandaemon_testkit::ServerOptions;
use serde_json::{Value, json};

use super::{
    authorization::send_as,
    harness::{Server, json_of},
};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const ROTATE: &str = "/pandaemon/v1/rotate-keys";
const IGNORE: &str = "ignoreStoreReadErrorWithClusterBreakingPotential=true";

pub(crate) async fn open(directory: &Path) -> Arc<EncryptedStore> {
    let settings = Settings {
        key_file: directory.join("encryption-keys"),
        prefixes: vec![storage_prefix("secrets").unwrap()],
        keeps_encrypted: false,
        deletes_lost: false,
    };
    let encryption = Encryption::read(settings).unwrap();
    let is_outdated = |key: &str, stored: &[u8]| encryption.is_outdated(key, stored);
    let path = directory.join("store");
    let (inner, has_outdated) =
        Embedded::open_checked(path, Options::default(), is_outdated).unwrap();
    let opened = EncryptedStore::open(Arc::new(inner), encryption, has_outdated, &|_, _| {});
    Arc::new(opened.await.unwrap())
}

async fn server(store: Arc<EncryptedStore>) -> Server {
    let options = ServerOptions {
        encryption: Some(store),
        ..ServerOptions::default()
    };
    Server::start_with(options).await.unwrap()
}

fn secret(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"a": "c2VjcmV0"}})
}

/// Changes a bit of the stored form of these secrets.
async fn damage(directory: &Path, names: &[&str]) {
    let raw = Embedded::open(directory.join("store"), Options::default()).unwrap();
    for name in names {
        let key = format!("/secrets/default/{name}");
        let entry = raw.get(&key).await.unwrap().unwrap();
        let mut value = entry.value.to_vec();
        assert!(value.starts_with(b"pandaemon:"), "it is not encrypted");
        *value.last_mut().unwrap() ^= 1;
        let op = Op::Put(value.into());
        let write = Transaction::of(entry.key, Expect::At(entry.mod_revision), op);
        raw.commit(write).await.unwrap();
    }
}

#[tokio::test]
async fn reads_that_need_a_secret_that_cannot_be_read_fail_and_others_do_not() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = open(directory.path()).await;
        let mut server = server(Arc::clone(&store)).await;
        for name in ["damaged", "good"] {
            assert_eq!(server.post(SECRETS, &secret(name)).await.0, 201);
        }
        server.stop().await;
        store.store().close().await;
    }
    damage(directory.path(), &["damaged"]).await;
    let server = server(open(directory.path()).await).await;
    let text = "Internal error occurred: unable to transform key \"/secrets/default/damaged\": \
                the stored value cannot be read; the log of the server says why";
    let (maps, damaged) = ("/api/v1/configmaps", format!("{SECRETS}/damaged"));
    let selected = format!("{SECRETS}?fieldSelector=metadata.name%3D");
    let cases = [
        (format!("{SECRETS}/good"), 200),
        (damaged.clone(), 500),
        (SECRETS.to_owned(), 500),
        ("/api/v1/secrets?limit=1".to_owned(), 500),
        (format!("{SECRETS}?watch=1"), 500),
        ("/api/v1/namespaces/kube-system/secrets".to_owned(), 200),
        (format!("{selected}good"), 200),
        (format!("{selected}damaged"), 500),
        (maps.to_owned(), 200),
    ];
    for (path, expected) in cases {
        let (code, body) = server.get(&path).await;
        assert_eq!(code, expected, "{path}: {body}");
        assert!(code == 200 || body["message"] == text, "{path}: {body}");
    }
    // What cannot be read is neither missing nor deleted by accident.
    assert_eq!(server.post(SECRETS, &secret("damaged")).await.0, 409);
    let delete = async |path: &str| server.send("DELETE", path, "", &Value::Null).await;
    assert_eq!(delete(&damaged).await.0, 500);
    let (code, body) = delete(&format!("{SECRETS}/good?{IGNORE}")).await;
    let text = "secrets \"good\" is invalid: ignoreStoreReadErrorWithClusterBreakingPotential: \
                Invalid value: true: is exclusively used to delete corrupt object(s), \
                try again by removing this option";
    assert_eq!((code, body["message"].as_str()), (422, Some(text)));
    let (code, body) = delete(&format!("{damaged}?{IGNORE}")).await;
    assert_eq!(code, 200, "{body}");
    assert_eq!(server.get(&damaged).await.0, 404);
    assert_eq!(server.items(SECRETS).await.len(), 1);
    assert_eq!(server.post(SECRETS, &secret("damaged")).await.0, 201);
}

#[tokio::test]
async fn an_administrator_rotates_the_keys_and_watchers_see_the_same_secret() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(open(directory.path()).await).await;
    let keys = || std::fs::read_to_string(directory.path().join("encryption-keys")).unwrap();
    let created = server.create(SECRETS, secret("s")).await;
    let version = &created["metadata"]["resourceVersion"];
    let before = keys();
    let none = Value::Null;
    let refused = send_as(&server, "eve", ("POST", ROTATE), "", &none).await;
    assert_eq!(refused.0, 403, "{}", refused.1);
    assert_eq!(server.get(ROTATE).await.0, 405);
    assert_eq!(keys(), before);
    let (code, rotation) = server.post(ROTATE, &none).await;
    assert_eq!(code, 200, "{rotation}");
    assert_eq!(rotation["rewritten"], 1);
    assert!(keys().contains(rotation["key"].as_str().unwrap()));
    assert_ne!(keys(), before);

    let version_of_watch = version.as_str().unwrap();
    let watch = format!("{SECRETS}?watch=1&timeoutSeconds=1&resourceVersion={version_of_watch}");
    let (_, lines) = server.get_text(&watch).await;
    let events: Vec<Value> = lines.lines().map(json_of).collect();
    assert_eq!(events.len(), 1, "{lines}");
    let mut seen = events[0]["object"].clone();
    assert_eq!(events[0]["type"], "MODIFIED");
    assert_ne!(&seen["metadata"]["resourceVersion"], version);
    seen["metadata"]["resourceVersion"] = version.clone();
    assert_eq!(seen, created);

    let plain = Server::start().await;
    assert_eq!(plain.post(ROTATE, &none).await.0, 404);
}

#[test]
fn resources_have_the_prefixes_of_their_keys() {
    let cases = [
        ("secrets", Some("/secrets/")),
        ("daemonsets.apps", Some("/apps/daemonsets/")),
        ("widgets.example.com", Some("/example.com/widgets/")),
        ("secret", None),
        ("daemonsets", None),
        ("deamonsets.apps", None),
        (
            "leases.coordination.k8s.io",
            Some("/coordination.k8s.io/leases/"),
        ),
        ("tokenreviews.authentication.k8s.io", None),
        ("", None),
    ];
    for (resource, prefix) in cases {
        assert_eq!(storage_prefix(resource).as_deref(), prefix, "{resource}");
        let again = prefix.map_or_else(|| resource.to_owned(), resource_of_prefix);
        assert_eq!(again, resource);
    }
}
