//! The pod template cache: pods created from a template equal pods created through the full path.

use serde_json::{Value, json};

use crate::harness::Server;

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "generateName": "web-", "labels": {"app": "web"}},
        "spec": {
            "nodeName": node, "containers": [{"name": "c", "image": "i", "args": ["web-1"]}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchFields": [
                    {"key": "metadata.name", "operator": "In", "values": [node]}]}]}}},
        },
    })
}

/// A pod with its name, node, uid, version and time replaced by placeholders.
fn without_own_values(pod: &Value, name: &str, node: &str) -> String {
    let metadata = &pod["metadata"];
    assert_eq!(metadata["name"], name);
    assert_eq!(pod["spec"]["nodeName"], node);
    let mut text = pod.to_string();
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        text = text.replace(&metadata[field].to_string(), "\"-\"");
    }
    text.replace(&format!("\"{name}\""), "\"NAME\"")
        .replace(&format!("\"{node}\""), "\"NODE\"")
}

#[tokio::test]
async fn pods_from_a_template_equal_pods_of_the_full_path() {
    let server = Server::start().await;
    server.create_service_account().await;
    let mut all = Vec::new();
    for at in 2..8 {
        let (name, node) = (format!("web-{at}"), format!("n{at}"));
        let (code, made) = server.post(PODS, &pod(&name, &node)).await;
        assert_eq!(code, 201, "{made}");
        assert_eq!(
            server.get(&format!("{PODS}/{name}")).await,
            (200, made.clone())
        );
        all.push((
            made["metadata"]["uid"].to_string(),
            without_own_values(&made, &name, &node),
        ));
    }
    let (_, first) = all[0].clone();
    assert!(
        first.contains("managedFields") && first.contains("\"web-1\""),
        "{first}"
    );
    assert!(all.iter().all(|(_, text)| *text == first));
    all.sort_unstable();
    all.dedup_by(|a, b| a.0 == b.0);
    assert_eq!(all.len(), 6, "each pod has its own uid");
}

#[tokio::test]
async fn a_template_is_not_used_after_a_dependency_changed() {
    let server = Server::start().await;
    server.create_service_account().await;
    for at in 2..6 {
        assert_eq!(
            server.post(PODS, &pod(&format!("web-{at}"), "n1")).await.0,
            201
        );
    }
    let (code, taken) = server.post(PODS, &pod("web-3", "n1")).await;
    assert_eq!(
        (code, &taken["message"]),
        (409, &json!("pods \"web-3\" already exists"))
    );
    let (code, odd) = server.post(PODS, &pod("Web_9", "n1")).await;
    assert_eq!((code, &odd["reason"]), (422, &json!("Invalid")));
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": "high"}, "value": 1000, "globalDefault": true});
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    assert_eq!(server.post(classes, &class).await.0, 201);
    for at in 6..9 {
        let (_, made) = server.post(PODS, &pod(&format!("web-{at}"), "n1")).await;
        assert_eq!(made["spec"]["priority"], 1000, "{made}");
    }
    let accounts = "/api/v1/namespaces/default/serviceaccounts/default";
    assert_eq!(
        server.send("DELETE", accounts, "", &Value::Null).await.0,
        200
    );
    let (code, refused) = server.post(PODS, &pod("web-9", "n1")).await;
    assert_eq!(code, 403, "{refused}");
}

/// The rules of a field are checked for each pod, also when earlier pods with the same text passed.
#[tokio::test]
async fn a_node_that_also_stands_in_another_field_is_checked_there() {
    let server = Server::start().await;
    server.create_service_account().await;
    for at in 2..6 {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": format!("n{at}")}});
        let accounts = "/api/v1/namespaces/default/serviceaccounts";
        assert_eq!(server.post(accounts, &account).await.0, 201);
    }
    let long = "n".repeat(100);
    for (field, node, message) in [
        (
            "/metadata/labels/app",
            long.as_str(),
            "must be no more than 63 characters",
        ),
        ("/spec/hostname", "n9.example", "must not contain dots"),
        (
            "/spec/serviceAccountName",
            "n9",
            "error looking up service account default/n9",
        ),
        (
            "/spec/containers/0/name",
            "n9.example",
            "must not contain dots",
        ),
    ] {
        let with = |name: &str, node: &str| {
            let mut pod = pod(name, node);
            pod["spec"]["hostname"] = "h".into();
            pod["spec"]["serviceAccountName"] = "default".into();
            *pod.pointer_mut(field).unwrap() = node.into();
            pod
        };
        for at in 2..6 {
            let (name, node) = (format!("web-{at}"), format!("n{at}"));
            let (code, made) = server.post(PODS, &with(&name, &node)).await;
            assert_eq!(code, 201, "{field}: {made}");
            server
                .send(
                    "DELETE",
                    &format!("{PODS}/{name}?gracePeriodSeconds=0"),
                    "",
                    &Value::Null,
                )
                .await;
        }
        let (code, refused) = server.post(PODS, &with("web-9", node)).await;
        assert!(matches!(code, 403 | 422), "{field}: {refused}");
        let text = refused["message"].as_str().unwrap();
        assert!(text.contains(message), "{field}: {text}");
    }
}
