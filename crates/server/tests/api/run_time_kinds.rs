//! A kind that comes while the server runs, and goes.

use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use pandaemon_machinery::{
    Kind, Scope,
    kind::{Subresource, Usual},
    schema::Built,
};
use pandaemon_testkit::{Kubectl, skipped_here};
use serde_json::{Value, json};

use crate::harness::{Server, json_of, references};

const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";
const MERGE: &str = "application/merge-patch+json";

fn schema() -> Value {
    json!({"type": "object", "description": "A made-up thing.", "properties": {
        "spec": {"type": "object", "description": "What is wanted.", "properties": {
            "size": {"type": "integer", "format": "int32", "description": "How large it is."},
            "ports": {"type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["port"],
                "items": {"type": "object", "required": ["port"], "properties": {
                    "port": {"type": "integer"}, "name": {"type": "string"}}}},
            "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
        "status": {"type": "object", "properties": {"phase": {"type": "string"}}}}})
}

fn widget_kind() -> Kind {
    let text = |text: &str| text.to_owned();
    let verbs = |verbs: &[&str]| verbs.iter().map(|verb| text(verb)).collect();
    Kind {
        group: text("example.com"),
        version: text("v1"),
        kind: text("Widget"),
        list_kind: text("WidgetList"),
        plural: text("widgets"),
        singular: text("widget"),
        scope: Scope::Namespaced,
        short_names: vec![text("wd")],
        categories: Vec::new(),
        verbs: verbs(&[
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ]),
        subresources: vec![Subresource {
            name: text("status"),
            group: text("example.com"),
            version: text("v1"),
            kind: text("Widget"),
            verbs: verbs(&["get", "patch", "update"]),
        }],
        type_name: text("com.example.v1.Widget"),
        built_type: Some(Built::new("com.example.v1.Widget", &schema()).unwrap()),
        storage: text("example.com/widgets"),
        selectable_fields: Vec::new(),
        strategy: Box::new(Usual),
    }
}

fn widget(name: &str, size: i64) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name},
        "spec": {"size": size, "extra": {"any": ["thing", 1]}}})
}

async fn server() -> Server {
    let server = Server::start().await;
    server.running().serve_kind(widget_kind()).await.unwrap();
    server
}

#[tokio::test]
async fn it_is_served_like_any_other_kind() {
    let server = server().await;
    let (code, made) = server.post(WIDGETS, &widget("a", 1)).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"], widget("a", 1)["spec"]);
    let path = format!("{WIDGETS}/a");
    assert_eq!(server.get(&path).await, (200, made.clone()));
    let mut wanted = made.clone();
    wanted["spec"]["size"] = 2.into();
    let (code, replaced) = server.send("PUT", &path, "", &wanted).await;
    assert_eq!((code, &replaced["spec"]["size"]), (200, &json!(2)));
    assert_eq!(server.send("PUT", &path, "", &wanted).await.0, 409);
    let patch = json!({"spec": {"ports": [{"port": 80}]}});
    let (code, patched) = server.send("PATCH", &path, MERGE, &patch).await;
    assert_eq!((code, &patched["spec"]["size"]), (200, &json!(2)));
    let patch = json!([{"op": "replace", "path": "/spec/size", "value": 3}]);
    let json_patch = "application/json-patch+json";
    let (_, patched) = server.send("PATCH", &path, json_patch, &patch).await;
    assert_eq!(patched["spec"]["size"], 3);
    let (_, list) = server.get("/apis/example.com/v1/widgets").await;
    assert_eq!(
        (&list["kind"], list["items"].as_array().unwrap().len()),
        (&json!("WidgetList"), 1)
    );
    assert_eq!(server.send("DELETE", &path, "", &Value::Null).await.0, 200);
    assert_eq!(server.get(&path).await.0, 404);
}

#[tokio::test]
async fn its_objects_are_checked_against_its_schema() {
    let server = server().await;
    let mut wrong = widget("a", 1);
    wrong["spec"]["size"] = json!("large");
    let (code, refused) = server.post(WIDGETS, &wrong).await;
    let text = refused["message"].as_str().unwrap();
    assert!(code == 400 && text.contains("spec.size"), "{text}");
    let mut unknown = widget("a", 1);
    unknown["spec"]["sise"] = 1.into();
    let strict = format!("{WIDGETS}?fieldValidation=Strict");
    let (code, refused) = server.post(&strict, &unknown).await;
    let text = refused["message"].as_str().unwrap();
    assert!(
        code == 400 && text.contains("unknown field \"spec.sise\""),
        "{text}"
    );
    let (code, made) = server.post(WIDGETS, &unknown).await;
    assert_eq!((code, &made["spec"]["sise"]), (201, &Value::Null));
    let (code, refused) = server
        .send(
            "PATCH",
            &format!("{WIDGETS}/a"),
            "application/strategic-merge-patch+json",
            &json!({"spec": {"size": 1}}),
        )
        .await;
    assert_eq!(
        (code, &refused["reason"]),
        (415, &json!("UnsupportedMediaType"))
    );
}

#[tokio::test]
async fn applied_items_of_its_lists_have_owners_of_their_own() {
    let server = server().await;
    let apply = async |manager: &str, port: i64| {
        let path = format!("{WIDGETS}/a?fieldManager={manager}");
        let body = json!({"apiVersion": "example.com/v1", "kind": "Widget",
            "metadata": {"name": "a"}, "spec": {"ports": [{"port": port, "name": manager}]}});
        let (code, applied) = server
            .send("PATCH", &path, "application/apply-patch+yaml", &body)
            .await;
        assert!(code < 300, "{applied}");
        applied["spec"]["ports"].clone()
    };
    apply("one", 1).await;
    let both = apply("two", 2).await;
    assert_eq!(
        both,
        json!([{"port": 1, "name": "one"}, {"port": 2, "name": "two"}])
    );
    // Who no longer applies an item removes it, and leaves those of others.
    let left = apply("one", 3).await;
    assert_eq!(left.as_array().unwrap().len(), 2);
    assert!(!left.to_string().contains("\"port\":1"), "{left}");
}

#[tokio::test]
async fn a_second_kind_with_one_of_its_names_is_refused() {
    let server = server().await;
    let same = server
        .running()
        .serve_kind(widget_kind())
        .await
        .unwrap_err();
    assert_eq!(
        same.to_string(),
        "the resource widgets.example.com/v1 is served already"
    );
    let other = Kind {
        plural: "gadgets".into(),
        ..widget_kind()
    };
    let same = server.running().serve_kind(other).await.unwrap_err();
    assert_eq!(
        same.to_string(),
        "the kind Widget.example.com/v1 is served already"
    );
}

#[tokio::test]
async fn when_it_goes_its_watches_end_and_its_objects_stay() {
    let server = server().await;
    server.post(WIDGETS, &widget("a", 1)).await;
    let request = Request::get(format!("{WIDGETS}?watch=true")).body(Body::empty());
    let watch = server.client().send(request.unwrap()).await.unwrap();
    server.post(WIDGETS, &widget("b", 1)).await;
    let groups = server.get("/apis").await.1.to_string();
    assert!(groups.contains("example.com/v1"), "{groups}");
    server
        .running()
        .stop_serving("example.com", "v1", "widgets");
    let seen = watch.into_body().collect().await.unwrap().to_bytes();
    let seen = String::from_utf8(seen.to_vec()).unwrap();
    let names: Vec<Value> = seen.lines().map(json_of).collect();
    let names: Vec<&Value> = names
        .iter()
        .map(|e| &e["object"]["metadata"]["name"])
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(server.get(&format!("{WIDGETS}/a")).await.0, 404);
    let groups = server.get("/apis").await.1.to_string();
    assert!(!groups.contains("example.com"), "{groups}");
    assert_eq!(server.get("/openapi/v3/apis/example.com/v1").await.0, 404);
    server.running().serve_kind(widget_kind()).await.unwrap();
    let (code, kept) = server.get(&format!("{WIDGETS}/a")).await;
    assert_eq!((code, &kept["spec"]["size"]), (200, &json!(1)));
    // A watch that resumes at a version from before gets 410: the history is gone.
    let version = kept["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!("{WIDGETS}?watch=true&resourceVersion={version}&timeoutSeconds=1");
    let (_, expired) = server.get_text(&path).await;
    assert!(expired.contains("\"code\":410"), "{expired}");
}

#[tokio::test]
async fn its_requests_are_counted_on_when_it_is_served_again() {
    let server = server().await;
    for _ in 0..2 {
        assert_eq!(server.get(WIDGETS).await.0, 200);
        server
            .running()
            .stop_serving("example.com", "v1", "widgets");
        server.running().serve_kind(widget_kind()).await.unwrap();
    }
    let (_, text) = server.get_text("/metrics").await;
    let labels =
        "verb=\"list\",group=\"example.com\",version=\"v1\",resource=\"widgets\",subresource=\"\"";
    let counted = format!("apiserver_request_total{{{labels},code=\"200\"}} 2\n");
    assert!(text.contains(&counted), "{text}");
}

/// The `ETag` and the body of `/openapi/v2`, as JSON or protobuf.
async fn openapi_v2(server: &Server, protobuf: bool) -> (String, Vec<u8>) {
    let accept = match protobuf {
        true => "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
        false => "application/json",
    };
    let request = Request::get("/openapi/v2").header("accept", accept);
    let request = request.body(Body::empty()).unwrap();
    let response = server.client().send(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let etag = response.headers()["etag"].to_str().unwrap().to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (etag, body.to_vec())
}

#[tokio::test]
async fn version_2_of_openapi_shows_it_while_it_is_served() {
    let server = Server::start().await;
    let holds = |body: &[u8], text: &str| body.windows(text.len()).any(|at| at == text.as_bytes());
    let before = [false, true].map(|protobuf| openapi_v2(&server, protobuf));
    let before = futures::future::join_all(before).await;
    for (_, body) in &before {
        assert!(!holds(body, "com.example") && holds(body, "io.k8s.api.core.v1.PodSpec"));
    }
    server.running().serve_kind(widget_kind()).await.unwrap();
    for (protobuf, (old, _)) in [false, true].into_iter().zip(&before) {
        let (etag, body) = openapi_v2(&server, protobuf).await;
        assert_ne!(etag, *old);
        assert_eq!(openapi_v2(&server, protobuf).await, (etag, body.clone()));
        for text in [
            "com.example.v1.Widget",
            "com.example.v1.WidgetList",
            "/apis/example.com/v1/namespaces/{namespace}/widgets/{name}/status",
            "How large it is.",
            r#"[{"group":"example.com","kind":"Widget","version":"v1"}]"#,
            "io.k8s.api.core.v1.PodSpec",
        ] {
            assert!(holds(&body, text), "protobuf {protobuf}: {text}");
        }
        if !protobuf {
            let document = json_of(std::str::from_utf8(&body).unwrap());
            let (_, dangling) = references(&document);
            assert_eq!(dangling, Vec::<String>::new());
            let spec = &document["definitions"]["com.example.v1.Widget"]["properties"]["spec"];
            let extra = json!({"x-kubernetes-preserve-unknown-fields": true});
            assert_eq!(spec["properties"]["extra"], extra);
        }
    }
    server
        .running()
        .stop_serving("example.com", "v1", "widgets");
    for (protobuf, old) in [false, true].into_iter().zip(&before) {
        assert!(openapi_v2(&server, protobuf).await == *old, "{protobuf}");
    }
}

#[tokio::test]
async fn every_reference_of_its_openapi_document_resolves() {
    let server = server().await;
    let (code, document) = server.get("/openapi/v3/apis/example.com/v1").await;
    assert_eq!(code, 200);
    let (count, dangling) = references(&document);
    assert_eq!(dangling, Vec::<String>::new());
    assert!(count > 3, "{count}");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in ["Widget", "WidgetList"] {
        let schema = &schemas[&format!("com.example.v1.{name}")];
        let identity = json!([{"group": "example.com", "version": "v1", "kind": name}]);
        assert_eq!(schema["x-kubernetes-group-version-kind"], identity);
    }
    let object = "/apis/example.com/v1/namespaces/{namespace}/widgets/{name}";
    let operations = &document["paths"][object];
    assert!(
        operations["delete"]["requestBody"].is_object(),
        "{operations}"
    );
    let status = &document["paths"][&format!("{object}/status")];
    assert!(status["patch"].is_object(), "{status}");
    let index = server.get("/openapi/v3").await.1.to_string();
    assert!(index.contains("/openapi/v3/apis/example.com/v1?hash="));
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_gets_explains_and_applies_it() {
    let server = server().await;
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config");
    std::fs::write(&config, server.kubeconfig()).unwrap();
    let kubectl = Kubectl::new(&config, directory.path());
    let Ok(version) = kubectl.try_run("version --client") else {
        return skipped_here("there is no kubectl");
    };
    assert_eq!(version.code, 0, "{version:?}");
    let file = directory.path().join("widget.json");
    std::fs::write(&file, widget("a", 7).to_string()).unwrap();
    let file = file.display();
    let ran = |line: &str| {
        let output = kubectl.try_run(line).unwrap();
        assert_eq!(output.code, 0, "{line}: {output:?}");
        output.stdout
    };
    assert_eq!(
        ran(&format!("apply -f {file}")).trim(),
        "widget.example.com/a created"
    );
    assert!(ran("get wd").starts_with("NAME   CREATED AT\na "));
    assert_eq!(ran("get widget a -o jsonpath={.spec.size}"), "7");
    let explained = ran("explain widgets.spec");
    assert!(explained.contains("How large it is."), "{explained}");
    let explained = ran("explain widgets.spec --output plaintext-openapiv2");
    assert!(explained.contains("How large it is."), "{explained}");
    // kubectl validates the items of a List with version 2 of OpenAPI.
    let mut wrong = widget("b", 1);
    wrong["spec"]["sise"] = 2.into();
    let list = directory.path().join("list.json");
    let items = json!({"apiVersion": "v1", "kind": "List", "items": [wrong]});
    std::fs::write(&list, items.to_string()).unwrap();
    let line = format!("create --dry-run=client -f {}", list.display());
    let refused = kubectl.try_run(&line).unwrap();
    assert!(
        refused.stderr.contains("unknown field \"sise\""),
        "{refused:?}"
    );
    assert_eq!(
        ran("delete widget a").trim(),
        "widget.example.com \"a\" deleted"
    );
}
