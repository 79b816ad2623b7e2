//! What service accounts do for pods: the account that a pod runs as, its token volume, its pull
//! secrets; and the CA that extension API servers trust.

use std::sync::Arc;

use pandaemon_store::{
    Store,
    double::{Double, Faults},
};
use pandaemon_testkit::ServerOptions;
use serde_json::{Value, json};

use crate::harness::Server;

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

#[tokio::test]
async fn a_pod_gets_account_token_volume_and_pull_secrets() {
    let server = Server::start().await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "default"}, "imagePullSecrets": [{"name": "pull"}]});
    server.create(ACCOUNTS, account).await;
    let made = server.create(PODS, pod("a")).await;
    let spec = &made["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    assert_eq!(spec["serviceAccount"], "default");
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "pull"}]));
    let name = spec["volumes"][0]["name"].as_str().unwrap();
    assert!(name.starts_with("kube-api-access-"), "{name}");
    assert_eq!(
        spec["volumes"],
        json!([{"name": name, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace",
                "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]}}])
    );
    assert_eq!(
        spec["containers"][0]["volumeMounts"],
        json!([{"name": name, "readOnly": true,
            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}])
    );
    assert_eq!(spec.get("initContainers"), None);
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let merge = "application/merge-patch+json";
    let patched = server
        .send("PATCH", &format!("{PODS}/a"), merge, &label)
        .await;
    assert_eq!(patched.0, 200, "{}", patched.1);
    let mut own = pod("b");
    own["spec"]["imagePullSecrets"] = json!([{"name": "own"}]);
    own["spec"]["automountServiceAccountToken"] = false.into();
    let made = server.create(PODS, own).await;
    assert_eq!(made["spec"]["imagePullSecrets"], json!([{"name": "own"}]));
    assert_eq!(made["spec"].get("volumes"), None);
    let mut other = pod("c");
    other["spec"]["serviceAccountName"] = "nope".into();
    let (code, refused) = server.post(PODS, &other).await;
    let text = "pods \"c\" is forbidden: error looking up service account default/nope: serviceaccount \
                \"nope\" not found";
    assert_eq!((code, &refused["message"]), (403, &json!(text)));
}

#[tokio::test]
async fn a_pod_waits_for_the_default_account_of_its_new_namespace() {
    let server = Server::start().await;
    let object = |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
    for at in 0..20 {
        let namespace = format!("n{at}");
        server
            .create("/api/v1/namespaces", object("Namespace", &namespace))
            .await;
        let path = |plural: &str| format!("/api/v1/namespaces/{namespace}/{plural}");
        let (pods, accounts) = (path("pods"), path("serviceaccounts"));
        let pod = pod("p");
        let account = object("ServiceAccount", "default");
        let (pod, account) =
            futures::join!(server.post(&pods, &pod), server.post(&accounts, &account));
        assert_eq!((pod.0, account.0), (201, 201), "{}", pod.1);
        assert_eq!(pod.1["spec"]["volumes"].as_array().unwrap().len(), 1);
    }
    // Nobody creates it.
    let (code, refused) = server.post(PODS, &pod("p")).await;
    let text = "pods \"p\" is forbidden: error looking up service account default/default: \
                serviceaccount \"default\" not found";
    assert_eq!((code, &refused["message"]), (403, &json!(text)));
}

#[tokio::test]
async fn mirror_pods_have_no_rights() {
    let server = Server::start().await;
    let secret = json!({"name": "v", "secret": {"secretName": "s"}});
    let token =
        json!({"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}});
    let table = [
        (
            "/spec/serviceAccountName",
            json!("default"),
            "reference service accounts",
        ),
        ("/spec/volumes", json!([secret]), "reference secrets"),
        (
            "/spec/imagePullSecrets",
            json!([{"name": "s"}]),
            "reference secrets",
        ),
        (
            "/spec/volumes",
            json!([token]),
            "use ServiceAccountToken volume projections",
        ),
    ];
    let mirror = || {
        let mut pod = pod("p");
        pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        pod["spec"]["nodeName"] = "n".into();
        pod
    };
    for (field, value, why) in table {
        let mut pod = mirror();
        let name = field.rsplit('/').next().unwrap();
        pod["spec"][name] = value;
        let (code, refused) = server.post(PODS, &pod).await;
        let text = format!("pods \"p\" is forbidden: a mirror pod may not {why}");
        assert_eq!((code, &refused["message"]), (403, &json!(text)));
    }
    let (code, made) = server.post(PODS, &mirror()).await;
    assert_eq!((code, made["spec"].get("volumes")), (201, None), "{made}");
}

#[tokio::test]
async fn an_account_restricts_the_secrets_of_its_pods() {
    let server = Server::start().await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {
        "name": "default", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}});
    server.create(ACCOUNTS, account).await;
    let mut with_secret = pod("p");
    with_secret["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "s"}}]);
    let (code, refused) = server.post(PODS, &with_secret).await;
    let text = refused["message"].as_str().unwrap();
    assert_eq!(code, 403);
    assert!(text.contains("does not reference that secret"), "{text}");
    server.create(PODS, pod("p")).await;
    let patch = json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "i",
        "envFrom": [{"secretRef": {"name": "s"}}]}]}});
    let path = format!("{PODS}/p/ephemeralcontainers");
    let form = "application/strategic-merge-patch+json";
    let (code, refused) = server.send("PATCH", &path, form, &patch).await;
    let text = refused["message"].as_str().unwrap();
    assert_eq!(code, 403);
    assert!(
        text.contains("ephemeral container e with envFrom"),
        "{text}"
    );
}

#[tokio::test]
async fn extension_servers_find_the_ca_of_client_certificates() {
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let store: Arc<dyn Store> = Arc::new(Double::new(Faults::default(), 1));
    let start = || {
        Server::start_with(ServerOptions {
            store: Some(Arc::clone(&store)),
            ..ServerOptions::default()
        })
    };
    // What the CAs of a server's data directory say, and one key of another.
    let expected = |server: &Server| {
        let ca = |name: &str| {
            let path = server.data_dir().join("pki").join(name);
            std::fs::read_to_string(path).unwrap()
        };
        json!({
            "client-ca-file": ca("client-ca.crt"),
            "requestheader-client-ca-file": ca("front-proxy-ca.crt"),
            "requestheader-allowed-names": "[\"front-proxy-client\"]",
            "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
            "requestheader-group-headers": "[\"X-Remote-Group\"]",
            "requestheader-uid-headers": "[\"X-Remote-Uid\"]",
            "requestheader-username-headers": "[\"X-Remote-User\"]",
        })
    };
    let mut server = start().await.unwrap();
    assert_eq!(server.get(path).await.1["data"], expected(&server));
    let patch = json!({"data": {"own": "kept"}});
    let merge = "application/merge-patch+json";
    assert_eq!(server.send("PATCH", path, merge, &patch).await.0, 200);
    server.stop().await;
    // Another data directory has other CAs.
    let server = start().await.unwrap();
    let mut expected = expected(&server);
    expected["own"] = "kept".into();
    assert_eq!(server.get(path).await.1["data"], expected);
}
