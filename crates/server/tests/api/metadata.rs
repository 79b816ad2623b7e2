//! What clients can say about an object in its `metadata`, and what the server sets.

use serde_json::{Value, json};

use crate::harness::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(metadata: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}})
}

/// The entries of managedFields as `MANAGER OPERATION FIELDS`.
fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array();
    let entries = entries.into_iter().flatten();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("-").to_owned();
    let shown = entries.map(|entry| {
        let (manager, operation) = (text(entry, "manager"), text(entry, "operation"));
        format!("{manager} {operation} {}", entry["fieldsV1"])
    });
    shown.collect()
}

#[tokio::test]
async fn managed_fields_of_a_request_do_not_end_the_tracking() {
    let server = Server::start().await;
    let own = r#"me Update {"f:data":{".":{},"f:a":{}}}"#;
    let other = json!([{"manager": "other", "operation": "Apply", "apiVersion": "v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:a": {}}}}]);
    let malformed = json!([{"manager": "other", "operation": "Guess"}]);
    let sent = [Value::Null, json!([]), json!([{}]), other, malformed];
    for (at, sent) in sent.iter().enumerate() {
        let name = format!("c{at}");
        let body = map(&json!({"name": name, "managedFields": sent}));
        let path = format!("{MAPS}?fieldManager=me");
        let (code, made) = server.post(&path, &body).await;
        assert_eq!((code, owners(&made)), (201, vec![own.to_owned()]), "{sent}");
        // A PUT keeps the owners, resets them, or takes those of the request.
        let path = format!("{MAPS}/{name}?fieldManager=me");
        let (code, put) = server.send("PUT", &path, "application/json", &body).await;
        let expected = match at {
            0 | 4 => vec![own.to_owned()],
            3 => vec![r#"other Apply {"f:data":{"f:a":{}}}"#.to_owned()],
            _ => Vec::new(),
        };
        assert_eq!((code, owners(&put)), (200, expected), "{sent}");
    }
}

const PODS: &str = "/api/v1/namespaces/default/pods";

/// A server with the pod `p`, which has no node.
async fn start_with_pod() -> (Server, Value) {
    let server = Server::start().await;
    server.create_service_account().await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "labels": {"l": "old"}, "annotations": {"a": "old"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let (code, made) = server.post(PODS, &pod).await;
    assert_eq!(code, 201, "{made}");
    (server, made)
}

#[tokio::test]
async fn a_binding_is_about_the_pod_that_it_names() {
    let (server, pod) = start_with_pod().await;
    let metadata = &pod["metadata"];
    let (uid, version) = (&metadata["uid"], &metadata["resourceVersion"]);
    let failed = |what: &str, found: &Value| {
        let found = found.as_str().unwrap();
        format!(
            "Operation cannot be fulfilled on pods \"p\": Precondition failed: {what} in precondition: 1, {what} in object meta: {found}"
        )
    };
    let mut binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {},
        "target": {"kind": "Node", "name": "n"}});
    let path = format!("{PODS}/p/binding");
    let name = "name in URL does not match name in Binding object".to_owned();
    let namespace =
        "the namespace of the provided object does not match the namespace sent on the request";
    for (metadata, code, message) in [
        (json!({}), 400, name.clone()),
        (json!({"name": "q"}), 400, name),
        (
            json!({"name": "p", "namespace": "other"}),
            400,
            namespace.to_owned(),
        ),
        (json!({"name": "p", "uid": "1"}), 409, failed("UID", uid)),
        (
            json!({"name": "p", "uid": uid, "resourceVersion": "1"}),
            409,
            failed("ResourceVersion", version),
        ),
    ] {
        binding["metadata"] = metadata;
        let (found, status) = server.post(&path, &binding).await;
        assert_eq!((found, &status["message"]), (code, &json!(message)));
    }
    binding["metadata"] = json!({"name": "p", "uid": uid, "resourceVersion": version,
        "labels": {"zone": "z"}, "annotations": {"a": "new"}});
    assert_eq!(server.post(&path, &binding).await.0, 201);
    let (_, bound) = server.get(&format!("{PODS}/p")).await;
    assert_eq!(bound["spec"]["nodeName"], "n");
    assert_eq!(
        bound["metadata"]["labels"],
        json!({"l": "old", "zone": "z"})
    );
    assert_eq!(bound["metadata"]["annotations"], json!({"a": "new"}));
    binding["metadata"] = json!({"name": "p"});
    let (code, status) = server.post(&path, &binding).await;
    let assigned = "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n\"";
    assert_eq!((code, &status["message"]), (409, &json!(assigned)));
    binding["target"] = json!({"kind": "Pod"});
    let (code, status) = server.post(&path, &binding).await;
    let target = "[target.kind: Unsupported value: \"Pod\": supported values: \"Node\", \"<empty>\", target.name: Required value]";
    assert_eq!((code, &status["message"]), (500, &json!(target)));
}

#[tokio::test]
async fn an_eviction_is_about_the_pod_that_it_names() {
    let (server, pod) = start_with_pod().await;
    let (uid, version) = (&pod["metadata"]["uid"], &pod["metadata"]["resourceVersion"]);
    let path = format!("{PODS}/p/eviction");
    for (metadata, preconditions, code) in [
        (json!({}), json!({}), 400),
        (json!({"name": "q"}), json!({}), 400),
        (json!({"name": "p", "namespace": "other"}), json!({}), 400),
        (json!({"name": "p"}), json!({"uid": "1"}), 409),
        (json!({"name": "p"}), json!({"resourceVersion": "1"}), 409),
        (
            json!({"name": "p"}),
            json!({"uid": uid, "resourceVersion": version}),
            201,
        ),
    ] {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata,
            "deleteOptions": {"preconditions": preconditions}});
        let (found, status) = server.post(&path, &eviction).await;
        assert_eq!(found, code, "{eviction}: {status}");
    }
    assert_eq!(server.get(&format!("{PODS}/p")).await.0, 404);
}

#[tokio::test]
async fn a_write_to_a_part_of_an_object_changes_that_part() {
    let (server, mut pod) = start_with_pod().await;
    let kept = [
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "generation",
    ];
    let before = pod["metadata"].clone();
    pod["metadata"]["labels"] = json!({"l": "new"});
    pod["metadata"]["annotations"] = json!({"b": "new"});
    pod["metadata"]["finalizers"] = json!(["a/b"]);
    pod["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "o"}]);
    pod["status"]["phase"] = json!("Running");
    pod["spec"]["activeDeadlineSeconds"] = json!(5);
    pod["spec"]["ephemeralContainers"] = json!([{"name": "e", "image": "i"}]);
    let path = format!("{PODS}/p/ephemeralcontainers");
    let (code, written) = server.send("PUT", &path, "", &pod).await;
    assert_eq!(code, 200, "{written}");
    for field in kept {
        assert_eq!(written["metadata"][field], before[field], "{field}");
    }
    assert_eq!(written["status"]["phase"], "Pending");
    assert_eq!(written["spec"]["activeDeadlineSeconds"], Value::Null);
    assert_eq!(written["spec"]["ephemeralContainers"][0]["name"], "e");
    // The finalizers of a namespace, of that namespace.
    let path = "/api/v1/namespaces/default/finalize";
    let mut space = server.get("/api/v1/namespaces/default").await.1;
    space["metadata"]["uid"] = "1".into();
    space["spec"]["finalizers"] = json!([]);
    let (code, status) = server.send("PUT", path, "", &space).await;
    assert_eq!((code, &status["reason"]), (409, &json!("Conflict")));
    space["metadata"]["uid"] = Value::Null;
    space["metadata"]["labels"]["a"] = "b".into();
    space["status"]["phase"] = "Terminating".into();
    let (code, written) = server.send("PUT", path, "", &space).await;
    assert_eq!(
        (code, &written["metadata"]["labels"]["a"]),
        (200, &json!("b"))
    );
    assert_eq!(
        (&written["spec"], &written["status"]["phase"]),
        (&json!({}), &json!("Active"))
    );
}

#[tokio::test]
async fn a_put_names_the_object_of_its_path() {
    let server = Server::start().await;
    let (_, made) = server.post(MAPS, &map(&json!({"name": "c"}))).await;
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let modified = "Operation cannot be fulfilled on configmaps \"c\": the object has been modified; please apply your changes to the latest version and try again";
    let undeterminable =
        "the name of the object (c based on URL) was undeterminable: name must be provided";
    let immutable = |field: &str, shown: &str| {
        let why = "field is immutable";
        format!("ConfigMap \"c\" is invalid: metadata.{field}: Invalid value: {shown}: {why}")
    };
    let time = "2026-01-01T00:00:00Z";
    for (metadata, code, message) in [
        (json!({}), 400, undeterminable.to_owned()),
        (
            json!({"name": "d"}),
            400,
            "the name of the object (d) does not match the name on the URL (c)".to_owned(),
        ),
        (
            json!({"name": "c", "namespace": "x"}),
            400,
            "the namespace of the object (x) does not match the namespace on the request (default)"
                .to_owned(),
        ),
        (
            json!({"name": "c", "uid": "x"}),
            409,
            format!(
                "Operation cannot be fulfilled on configmaps \"c\": Precondition failed: UID in precondition: x, UID in object meta: {uid}"
            ),
        ),
        (
            json!({"name": "c", "resourceVersion": "1"}),
            409,
            modified.to_owned(),
        ),
        (
            json!({"name": "c", "resourceVersion": "x"}),
            400,
            "strconv.ParseUint: parsing \"x\": invalid syntax".to_owned(),
        ),
        (
            json!({"name": "c", "deletionTimestamp": time}),
            422,
            immutable("deletionTimestamp", time),
        ),
        (
            json!({"name": "c", "deletionGracePeriodSeconds": 5}),
            422,
            immutable("deletionGracePeriodSeconds", "5"),
        ),
    ] {
        let path = format!("{MAPS}/c");
        let (found, status) = server.send("PUT", &path, "", &map(&metadata)).await;
        assert_eq!(
            (found, &status["message"]),
            (code, &json!(message)),
            "{metadata}"
        );
    }
}

#[tokio::test]
async fn a_put_keeps_what_only_the_server_sets() {
    let server = Server::start().await;
    let (_, made) = server.post(MAPS, &map(&json!({"name": "c"}))).await;
    let time = "2026-01-01T00:00:00Z";
    let metadata = json!({"name": "c", "resourceVersion": "0", "creationTimestamp": time, "generation": 7, "selfLink": "/x"});
    let (code, put) = server
        .send("PUT", &format!("{MAPS}/c"), "", &map(&metadata))
        .await;
    assert_eq!(code, 200, "{put}");
    let (_, stored) = server.get(&format!("{MAPS}/c")).await;
    for field in ["uid", "creationTimestamp", "generation", "selfLink"] {
        assert_eq!(
            stored["metadata"][field], made["metadata"][field],
            "{field}"
        );
    }
    for (metadata, code) in [
        (json!({"name": "e", "resourceVersion": "0"}), 201),
        (json!({"name": "f", "resourceVersion": "5"}), 400),
    ] {
        assert_eq!(
            server.post(MAPS, &map(&metadata)).await.0,
            code,
            "{metadata}"
        );
    }
}

#[tokio::test]
async fn an_update_of_some_kinds_needs_a_version() {
    let server = Server::start().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = |metadata: Value| json!({"metadata": metadata, "spec": {"holderIdentity": "me"}});
    // A PUT creates it, whatever version it names; not if it is about another one.
    let path = format!("{leases}/l");
    let put = async |metadata: Value| server.send("PUT", &path, "", &lease(metadata)).await;
    assert_eq!(put(json!({"name": "l", "uid": "x"})).await.0, 409);
    assert_eq!(
        put(json!({"name": "l", "resourceVersion": "5"})).await.0,
        201
    );
    let required = "leases.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update";
    for version in [Value::Null, json!(""), json!("0")] {
        let (code, status) = put(json!({"name": "l", "resourceVersion": version})).await;
        assert_eq!((code, &status["message"]), (422, &json!(required)));
    }
    let merge = "application/merge-patch+json";
    let without = json!({"metadata": {"resourceVersion": null}, "spec": {"holderIdentity": "you"}});
    let (code, status) = server.send("PATCH", &path, merge, &without).await;
    assert_eq!((code, &status["message"]), (422, &json!(required)));
}

/// Changes of one field of the metadata of the ConfigMap `c` by a patch: the code and the text of
/// the answer.
fn metadata_changes() -> Vec<(&'static str, Value, u16, &'static str)> {
    let named = "the name of the object (d) does not match the name on the URL (c)";
    let nameless =
        "the name of the object (c based on URL) was undeterminable: name must be provided";
    let elsewhere =
        "the namespace of the provided object does not match the namespace sent on the request";
    let uid = "ConfigMap \"c\" is invalid: metadata.uid: Invalid value: \"x\": field is immutable";
    let deleted = "ConfigMap \"c\" is invalid: metadata.deletionTimestamp: Invalid value: 2026-01-01T00:00:00Z: field is immutable";
    let modified = "Operation cannot be fulfilled on configmaps \"c\": the object has been modified; please apply your changes to the latest version and try again";
    let unchanged = "";
    vec![
        ("name", json!("d"), 400, named),
        ("name", Value::Null, 400, nameless),
        ("namespace", json!("x"), 400, elsewhere),
        ("namespace", Value::Null, 200, unchanged),
        ("uid", json!("x"), 422, uid),
        ("uid", Value::Null, 200, unchanged),
        ("resourceVersion", json!("1"), 409, modified),
        ("resourceVersion", Value::Null, 200, unchanged),
        (
            "creationTimestamp",
            json!("2026-01-01T00:00:00Z"),
            200,
            unchanged,
        ),
        ("creationTimestamp", Value::Null, 200, unchanged),
        ("generation", json!(7), 200, unchanged),
        ("selfLink", json!("/x"), 200, unchanged),
        (
            "deletionTimestamp",
            json!("2026-01-01T00:00:00Z"),
            422,
            deleted,
        ),
    ]
}

#[tokio::test]
async fn no_patch_changes_what_only_the_server_sets() {
    let server = Server::start().await;
    let path = format!("{MAPS}/c?fieldManager=m");
    let body = map(&json!({"name": "c", "labels": {"l": "1"}}));
    let (_, made) = server.post(MAPS, &body).await;
    let (merge, strategic) = (
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    );
    let (json_patch, apply) = (
        "application/json-patch+json",
        "application/apply-patch+yaml",
    );
    for (field, value, code, message) in metadata_changes() {
        let merged = json!({"metadata": {field: value}});
        let mut applied = map(&json!({"name": "c", field: value}));
        applied.as_object_mut().unwrap().remove("data");
        let operation = if value.is_null() { "remove" } else { "add" };
        let pointer = format!("/metadata/{field}");
        let operations = json!([{"op": operation, "path": pointer, "value": value}]);
        for (form, patch) in [
            (merge, &merged),
            (strategic, &merged),
            (json_patch, &operations),
            (apply, &applied),
        ] {
            // What an apply does not name stays.
            if form == apply && value.is_null() {
                continue;
            }
            let (found, answer) = server.send("PATCH", &path, form, patch).await;
            assert_eq!(found, code, "{form} {field}: {answer}");
            if code != 200 {
                assert_eq!(answer["message"], message, "{form} {field}");
            }
            let (_, stored) = server.get(&format!("{MAPS}/c")).await;
            for kept in [
                "name",
                "namespace",
                "uid",
                "creationTimestamp",
                "generation",
                "selfLink",
                "deletionTimestamp",
                "labels",
            ] {
                assert_eq!(
                    stored["metadata"][kept], made["metadata"][kept],
                    "{form} {field}"
                );
            }
        }
    }
}

#[tokio::test]
async fn an_apply_that_creates_has_a_name_and_no_uid() {
    let server = Server::start().await;
    let apply = "application/apply-patch+yaml";
    let path = format!("{MAPS}/new?fieldManager=m");
    for (metadata, code, message) in [
        (
            json!({}),
            400,
            "the name of the object (new based on URL) was undeterminable: name must be provided",
        ),
        (
            json!({"name": "new", "uid": "x"}),
            409,
            "Operation cannot be fulfilled on configmaps \"new\": uid mismatch: the provided object specified uid x, and no existing object was found",
        ),
    ] {
        let (found, status) = server.send("PATCH", &path, apply, &map(&metadata)).await;
        assert_eq!((found, &status["message"]), (code, &json!(message)));
    }
}
