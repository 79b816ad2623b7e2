//! What the server counts, under upstream's names.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{Timestamp, tz::TimeZone};
use pandaemon_machinery::pod_security::Configuration;
use pandaemon_server::admission::AdmissionConfiguration;
use pandaemon_testkit::ServerOptions;
use serde_json::{Value, json};

use crate::harness::{Server, steady_store};

const SECRET: &str = "/api/v1/namespaces/default/secrets/s";
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const MERGE: &str = "application/merge-patch+json";

/// The values of all metrics whose names begin with this, without it.
async fn values(server: &Server, prefix: &str) -> Vec<String> {
    let (code, text) = server.get_text("/metrics").await;
    assert_eq!(code, 200);
    let lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// Why the server refuses a token; empty if it does not.
async fn refusal(server: &Server, token: &str) -> String {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let made = server.create(path, review).await;
    let error = &made["status"]["error"];
    error.as_str().unwrap_or_default().to_owned()
}

fn today() -> String {
    Timestamp::now().to_zoned(TimeZone::UTC).date().to_string()
}

async fn set_label(server: &Server, name: &str, value: &Value) {
    let patch = json!({"metadata": {"labels": {name: value}}});
    let (code, answer) = server.send("PATCH", SECRET, MERGE, &patch).await;
    assert_eq!(code, 200, "{answer}");
}

#[tokio::test]
async fn the_use_of_tokens_is_counted_and_that_of_legacy_tokens_is_written_on_their_secrets() {
    let options = ServerOptions {
        store: Some(steady_store()),
        ..ServerOptions::default()
    };
    let server = Server::start_with(options).await.unwrap();
    server.create_service_account().await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "s", "annotations": {"kubernetes.io/service-account.name": "default"}}});
    server
        .create("/api/v1/namespaces/default/secrets", secret)
        .await;
    let filled = |secret: &Value| secret["data"]["token"].is_string();
    let made = server.until(SECRET, filled).await;
    assert_eq!(made["metadata"].get("labels"), None);
    let token = STANDARD.decode(made["data"]["token"].as_str().unwrap());
    let token = String::from_utf8(token.unwrap()).unwrap();

    let mut versions = Vec::new();
    for day in [None, None, Some("2020-01-01")] {
        if let Some(day) = day {
            set_label(&server, LAST_USED, &day.into()).await;
        }
        let before = today();
        assert_eq!(refusal(&server, &token).await, "");
        let metadata = server.get(SECRET).await.1["metadata"].take();
        let label = metadata["labels"][LAST_USED].as_str().unwrap();
        assert!([before.as_str(), &today()].contains(&label), "{metadata}");
        versions.push(metadata["resourceVersion"].to_string());
    }
    assert_eq!(versions[0], versions[1], "one write a day");
    let mark = "kubernetes.io/legacy-token-invalid-since";
    set_label(&server, mark, &"2026-01-01".into()).await;
    assert_eq!(
        refusal(&server, &token).await,
        "the token in secret default/s for service account default/default has been marked invalid. Use tokens from \
         the TokenRequest API or manually created secret-based tokens, or remove the \
         'kubernetes.io/legacy-token-invalid-since' label from the secret to temporarily allow use of this token"
    );

    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    server.create("/api/v1/namespaces/default/pods", pod).await;
    // The lifetime of the tokens of pods, which are valid for a year.
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {
        "expirationSeconds": 3607, "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p"}}});
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let made = server.create(path, request).await;
    let of_pod = made["status"]["token"].as_str().unwrap();
    assert_eq!(refusal(&server, of_pod).await, "");
    let found = values(&server, "serviceaccount_").await;
    let expected = [
        "legacy_tokens_total 4",
        "stale_tokens_total 0",
        "valid_tokens_total 1",
    ];
    assert_eq!(found, expected);
}

fn namespace(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// A pod of a DaemonSet. The second is created as the first, the later ones from their template.
fn pod(name: &str) -> Value {
    let node = format!("node-of-{name}");
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "nodeName": node, "containers": [{"name": "c", "image": "i"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchFields": [
                {"key": "metadata.name", "operator": "In", "values": [node]}]}]}}}}})
}

#[tokio::test]
async fn evaluations_of_pod_security_are_counted_as_upstream_does() {
    let exempt = json!({"apiVersion": "pod-security.admission.config.k8s.io/v1",
        "kind": "PodSecurityConfiguration", "exemptions": {"namespaces": ["exempt"]}});
    let options = ServerOptions {
        store: Some(steady_store()),
        admission_configuration: AdmissionConfiguration {
            pod_security: Configuration::read(exempt).unwrap(),
        },
        ..ServerOptions::default()
    };
    let server = Server::start_with(options).await.unwrap();
    let label = |name: &str| format!("pod-security.kubernetes.io/{name}");
    let strict = json!({label("enforce"): "baseline", label("audit"): "restricted", label("warn"): "restricted",
        label("warn-version"): "v1.25"});
    let future = json!({label("enforce"): "baseline", label("enforce-version"): "v1.99"});
    for (name, labels) in [
        ("strict", &strict),
        ("future", &future),
        ("free", &json!({})),
        ("exempt", &strict),
    ] {
        server
            .create("/api/v1/namespaces", namespace(name, labels))
            .await;
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        let path = format!("/api/v1/namespaces/{name}/serviceaccounts");
        server.create(&path, account).await;
    }
    let pods = |namespace: &str| format!("/api/v1/namespaces/{namespace}/pods");
    for at in 0..6 {
        server
            .create(&pods("strict"), pod(&format!("web-{at}")))
            .await;
    }
    let mut privileged = pod("p");
    privileged["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    assert_eq!(server.post(&pods("strict"), &privileged).await.0, 403);
    for namespace in ["future", "free", "exempt"] {
        server.create(&pods(namespace), pod("p")).await;
    }
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let path = format!("{}/p", pods("free"));
    let patched = server.send("PATCH", &path, MERGE, &label);
    assert_eq!(patched.await.0, 200);
    let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let sets = "/apis/apps/v1/namespaces/strict/daemonsets";
    server.create(sets, set).await;

    let line = |decision, policy: (&str, &str), mode, (operation, resource), count: u64| {
        let (level, version) = policy;
        format!(
            "evaluations_total{{decision=\"{decision}\",policy_level=\"{level}\",policy_version=\"{version}\",\
             mode=\"{mode}\",request_operation=\"{operation}\",resource=\"{resource}\",subresource=\"\"}} {count}"
        )
    };
    let (pod, set) = (("create", "pod"), ("create", "controller"));
    let (baseline, restricted) = (("baseline", "latest"), ("restricted", "latest"));
    let free = ("privileged", "latest");
    let mut expected = vec![
        line("allow", baseline, "enforce", pod, 6),
        line("deny", baseline, "enforce", pod, 1),
        line("allow", ("baseline", "future"), "enforce", pod, 1),
        line("allow", free, "enforce", pod, 1),
        line("allow", free, "enforce", ("update", "pod"), 1),
        line("deny", restricted, "audit", pod, 7),
        line("deny", restricted, "audit", set, 1),
        line("deny", ("restricted", "v1.25"), "warn", pod, 6),
        line("deny", ("restricted", "v1.25"), "warn", set, 1),
        "exemptions_total{request_operation=\"create\",resource=\"pod\",subresource=\"\"} 1".into(),
    ];
    expected.sort_unstable();
    assert_eq!(values(&server, "pod_security_").await, expected);
}
