//! Each verb through the whole server, with the in-process client.

use crate::harness::{Server, json_of};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn config(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

#[tokio::test]
async fn an_object_is_created_read_replaced_patched_and_deleted() {
    let server = Server::start().await;
    let (code, made) = server.post(MAPS, &config("c")).await;
    assert_eq!(code, 201, "{made}");
    assert!(!made["metadata"]["uid"].as_str().unwrap().is_empty());
    let (code, read) = server.get(&format!("{MAPS}/c")).await;
    assert_eq!((code, &read), (200, &made));
    let mut wanted = read.clone();
    wanted["data"]["a"] = "2".into();
    let (code, replaced) = server.send("PUT", &format!("{MAPS}/c"), "", &wanted).await;
    assert_eq!((code, &replaced["data"]["a"]), (200, &json!("2")));
    let (code, stale) = server.send("PUT", &format!("{MAPS}/c"), "", &wanted).await;
    assert_eq!((code, &stale["reason"]), (409, &json!("Conflict")));
    let merge = "application/merge-patch+json";
    let patch = json!({"data": {"b": "3"}});
    let (code, patched) = server
        .send("PATCH", &format!("{MAPS}/c"), merge, &patch)
        .await;
    assert_eq!(
        (code, &patched["data"]),
        (200, &json!({"a": "2", "b": "3"}))
    );
    let (_, again) = server
        .send("PATCH", &format!("{MAPS}/c"), merge, &patch)
        .await;
    assert_eq!(
        again["metadata"]["resourceVersion"],
        patched["metadata"]["resourceVersion"]
    );
    let (code, gone) = server
        .send("DELETE", &format!("{MAPS}/c"), "", &Value::Null)
        .await;
    assert_eq!((code, &gone["status"]), (200, &json!("Success")));
    assert_eq!(server.get(&format!("{MAPS}/c")).await.0, 404);
}

#[tokio::test]
async fn a_dry_run_stores_nothing() {
    let server = Server::start().await;
    let (code, made) = server
        .post(&format!("{MAPS}?dryRun=All"), &config("c"))
        .await;
    assert_eq!(code, 201);
    assert!(made["metadata"].get("resourceVersion").is_none(), "{made}");
    assert_eq!(server.get(&format!("{MAPS}/c")).await.0, 404);
}

#[tokio::test]
async fn pages_show_one_state() {
    let server = Server::start().await;
    for at in 0..5 {
        server.post(MAPS, &config(&format!("c{at}"))).await;
    }
    let (_, first) = server.get(&format!("{MAPS}?limit=2")).await;
    server
        .send("DELETE", &format!("{MAPS}/c3"), "", &Value::Null)
        .await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    let (_, second) = server
        .get(&format!("{MAPS}?limit=9&continue={token}"))
        .await;
    let names: Vec<_> = second["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| &i["metadata"]["name"])
        .collect();
    assert_eq!(names, ["c2", "c3", "c4"]);
    assert_eq!(
        first["metadata"]["resourceVersion"],
        second["metadata"]["resourceVersion"]
    );
    assert!(first["items"][0].get("kind").is_none());
}

#[tokio::test]
async fn a_watch_sends_the_initial_objects_changes_and_bookmarks() {
    let server = Server::start().await;
    server.post(MAPS, &config("a")).await;
    let path = format!(
        "{MAPS}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    );
    let request = http::Request::get(path).body(kube::client::Body::empty());
    let watch = server.client().send(request.unwrap()).await.unwrap();
    assert_eq!(watch.status(), 200);
    // The watch has started when its head is answered.
    server.post(MAPS, &config("b")).await;
    server
        .send("DELETE", &format!("{MAPS}/a"), "", &Value::Null)
        .await;
    let bytes = watch.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let lines: Vec<Value> = text.lines().map(json_of).collect();
    let shown: Vec<String> = lines
        .iter()
        .map(|l| {
            format!(
                "{} {}",
                l["type"].as_str().unwrap(),
                l["object"]["metadata"]["name"].as_str().unwrap_or("-")
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "ADDED a",
            "BOOKMARK -",
            "ADDED b",
            "DELETED a",
            "BOOKMARK -"
        ]
    );
    assert_eq!(
        lines[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
}

#[tokio::test]
async fn a_watch_of_tables_shows_ages_at_the_time_of_the_event() {
    let server = Server::start().await;
    let request = http::Request::get(format!("{MAPS}?watch=true&timeoutSeconds=3"))
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())
        .unwrap();
    let client = server.client();
    let watching = client.request_text(request);
    let changing = async {
        // Longer than an age may lie in the future.
        tokio::time::sleep(std::time::Duration::from_millis(2200)).await;
        server.post(MAPS, &config("late")).await;
    };
    let (text, ()) = tokio::join!(watching, changing);
    let rows: Vec<Value> = text.unwrap().lines().map(json_of).collect();
    let late: Vec<&Value> = rows
        .iter()
        .map(|row| &row["object"]["rows"][0]["cells"])
        .filter(|cells| cells[0] == "late")
        .collect();
    assert!(
        matches!(late[..], [cells] if cells[2] == "0s" || cells[2] == "1s"),
        "{rows:?}"
    );
}

#[tokio::test]
async fn objects_are_created_in_existing_active_namespaces_only() {
    let server = Server::start().await;
    let (code, status) = server
        .post("/api/v1/namespaces/nope/configmaps", &config("c"))
        .await;
    assert_eq!(
        (code, &status["message"]),
        (404, &json!("namespaces \"nope\" not found"))
    );
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}});
    assert_eq!(server.post("/api/v1/namespaces", &space).await.0, 201);
    let (_, dying) = server
        .send("DELETE", "/api/v1/namespaces/x", "", &Value::Null)
        .await;
    assert_eq!(dying["status"]["phase"], "Terminating");
    let (code, status) = server
        .post("/api/v1/namespaces/x/configmaps", &config("c"))
        .await;
    assert_eq!(code, 403, "{status}");
    let done =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}, "spec": {}});
    let (code, _) = server
        .send("PUT", "/api/v1/namespaces/x/finalize", "", &done)
        .await;
    assert_eq!(code, 200);
    assert_eq!(server.get("/api/v1/namespaces/x").await.0, 404);
}

#[tokio::test]
async fn a_pod_is_bound_once_and_deleted_with_a_grace_period() {
    let server = Server::start().await;
    server
        .post(
            "/api/v1/namespaces/default/serviceaccounts",
            &json!({"metadata": {"name": "default"}}),
        )
        .await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pods = "/api/v1/namespaces/default/pods";
    let (code, made) = server.post(pods, &pod).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"]["tolerations"].as_array().unwrap().len(), 2);
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n"}});
    let (code, answer) = server.post(&format!("{pods}/p/binding"), &binding).await;
    assert_eq!(code, 201, "{answer}");
    assert_eq!(
        server.post(&format!("{pods}/p/binding"), &binding).await.0,
        409
    );
    let (_, bound) = server
        .get(&format!("{pods}?fieldSelector=spec.nodeName%3Dn"))
        .await;
    assert_eq!(bound["items"][0]["metadata"]["name"], "p");
    let (code, marked) = server
        .send("DELETE", &format!("{pods}/p"), "", &Value::Null)
        .await;
    assert_eq!(
        (code, &marked["metadata"]["deletionGracePeriodSeconds"]),
        (200, &json!(30))
    );
    let at_once = json!({"gracePeriodSeconds": 0});
    assert_eq!(
        server
            .send("DELETE", &format!("{pods}/p"), "", &at_once)
            .await
            .0,
        200
    );
    assert_eq!(server.get(&format!("{pods}/p")).await.0, 404);
}

#[tokio::test]
async fn services_get_distinct_cluster_ips() {
    let server = Server::start().await;
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [{"port": 80}]}})
    };
    let (code, one) = server.post(services, &service("one")).await;
    assert_eq!(code, 201, "{one}");
    let (_, two) = server.post(services, &service("two")).await;
    assert!(
        one["spec"]["clusterIP"]
            .as_str()
            .unwrap()
            .starts_with("10.")
    );
    assert_ne!(one["spec"]["clusterIP"], two["spec"]["clusterIP"]);
    let mut third = service("three");
    third["spec"]["clusterIP"] = one["spec"]["clusterIP"].clone();
    assert_eq!(server.post(services, &third).await.0, 422);
}

#[tokio::test]
async fn invalid_requests_get_their_status() {
    let server = Server::start().await;
    let huge = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "h"},
        "data": {"a": "x".repeat(4 << 20)}});
    assert_eq!(server.post(MAPS, &huge).await.0, 413);
    assert_eq!(server.send("PUT", MAPS, "", &config("c")).await.0, 405);
    assert_eq!(
        server
            .send("PATCH", &format!("{MAPS}/c"), "text/plain", &config("c"))
            .await
            .0,
        415
    );
    assert_eq!(server.get("/api/v1/namespaces/default/podz").await.0, 404);
    assert_eq!(server.get("/nope").await.0, 404);
    let (code, status) = server.get(&format!("{MAPS}?labelSelector=a%20b")).await;
    assert_eq!((code, &status["kind"]), (400, &json!("Status")));
    let (code, text) = server.get_text("/readyz?verbose").await;
    assert!(code == 200 && text.contains("[+]store ok"), "{text}");
    let (_, text) = server.get_text("/metrics").await;
    assert!(text.contains("apiserver_request_total"), "{text}");
}

#[tokio::test]
async fn an_invalid_patch_is_reported_as_upstream_does() {
    let server = Server::start().await;
    assert_eq!(server.post(MAPS, &config("c")).await.0, 201);
    let path = format!("{MAPS}/c?fieldValidation=Strict");
    let wrong = json!({"datum": {}});
    let cases = [
        (
            "application/strategic-merge-patch+json",
            "patch: Invalid value: \"map[datum:map[]]\": strict decoding error: unknown field \"datum\"",
        ),
        (
            "application/merge-patch+json",
            "strict decoding error: unknown field \"datum\"",
        ),
    ];
    for (form, expected) in cases {
        let (code, status) = server.send("PATCH", &path, form, &wrong).await;
        let cause = &status["details"]["causes"][0];
        assert_eq!(
            (code, &cause["field"]),
            (422, &json!("patch")),
            "{form}: {status}"
        );
        let message = status["message"].as_str().unwrap();
        assert!(message.ends_with(expected), "{form}: {message}");
    }
}

#[tokio::test]
async fn an_unknown_field_of_an_applied_object_is_a_schema_error() {
    let server = Server::start().await;
    for mode in ["Strict", "Ignore"] {
        let path = format!("{MAPS}/c?fieldManager=m&fieldValidation={mode}");
        let mut wrong = config("c");
        wrong["datum"] = json!({});
        let (code, status) = server
            .send("PATCH", &path, "application/apply-patch+yaml", &wrong)
            .await;
        let message = status["message"].as_str().unwrap();
        assert_eq!(code, 500, "{status}");
        assert!(
            message.ends_with("(/c; /v1, Kind=ConfigMap): .datum: field not declared in schema"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn the_list_of_custom_resource_definitions_is_empty() {
    let server = Server::start().await;
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let (code, list) = server.get(path).await;
    assert_eq!((code, &list["items"]), (200, &json!([])));
    assert_eq!(server.get(&format!("{path}/x")).await.0, 404);
}

#[tokio::test]
async fn the_in_process_client_has_a_field_manager() {
    let server = Server::start().await;
    let (_, made) = server.post(MAPS, &config("c")).await;
    assert_eq!(
        made["metadata"]["managedFields"][0]["manager"],
        "pandaemon-controllers"
    );
}
