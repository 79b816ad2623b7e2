//! RBAC: rights by roles, rules reviews, and checks of what is given to others.

use std::sync::Arc;

use http::{HeaderValue, Request};
use kube::client::Body;
use pandaemon_store::double::{Double, Faults};
use pandaemon_testkit::ServerOptions;
use serde_json::{Value, json};

use super::{
    authorization::{read_as, send_as},
    harness::Server,
};

const GROUP: &str = "rbac.authorization.k8s.io";
const CLUSTER: &str = "/apis/rbac.authorization.k8s.io/v1";
const DEFAULT: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";

fn role(kind: &str, name: &str, rules: &Value) -> Value {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": {"name": name}, "rules": rules})
}

fn binding(kind: &str, name: &str, role: (&str, &str), user: &str) -> Value {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": {"name": name},
        "roleRef": {"apiGroup": GROUP, "kind": role.0, "name": role.1},
        "subjects": [{"kind": "User", "name": user}]})
}

/// Creates a ClusterRole with these rules, and a binding of it to a user: in the namespace
/// `default`, or in the whole cluster.
async fn allow(server: &Server, user: &str, in_cluster: bool, rules: Value) {
    let name = format!("{user}-{in_cluster}");
    let of_role = role("ClusterRole", &name, &rules);
    server
        .create(&format!("{CLUSTER}/clusterroles"), of_role)
        .await;
    let (place, kind) = match in_cluster {
        true => (
            format!("{CLUSTER}/clusterrolebindings"),
            "ClusterRoleBinding",
        ),
        false => (format!("{DEFAULT}/rolebindings"), "RoleBinding"),
    };
    let of_user = binding(kind, &name, ("ClusterRole", &name), user);
    server.create(&place, of_user).await;
}

#[tokio::test]
async fn a_user_may_do_what_its_roles_say() {
    let server = Server::start().await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    server.create(MAPS, map.clone()).await;
    let read_pods = json!([
        {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods", "pods/log"]},
    ]);
    allow(&server, "reader", false, read_pods.clone()).await;
    allow(&server, "everywhere", true, read_pods).await;
    allow(
        &server,
        "one",
        false,
        json!([
            {"verbs": ["get", "delete"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"]},
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*/status"]},
        ]),
    )
    .await;
    let paths = json!([{"verbs": ["get"], "nonResourceURLs": ["/metrics", "/debug/*"]}]);
    allow(&server, "paths", true, paths.clone()).await;
    allow(&server, "nowhere", false, paths).await;
    let table = [
        ("reader", "GET", PODS, 200),
        (
            "reader",
            "GET",
            "/api/v1/namespaces/default/pods?watch=true&timeoutSeconds=1",
            200,
        ),
        // It does not exist.
        ("reader", "GET", "/api/v1/namespaces/default/pods/p", 404),
        (
            "reader",
            "GET",
            "/api/v1/namespaces/default/pods/p/log",
            404,
        ),
        (
            "reader",
            "GET",
            "/api/v1/namespaces/default/pods/p/status",
            403,
        ),
        ("reader", "DELETE", "/api/v1/namespaces/default/pods/p", 403),
        ("reader", "DELETE", PODS, 403),
        ("reader", "GET", "/api/v1/pods", 403),
        ("reader", "GET", "/api/v1/namespaces/kube-system/pods", 403),
        ("reader", "GET", MAPS, 403),
        ("everywhere", "GET", "/api/v1/pods", 200),
        (
            "everywhere",
            "GET",
            "/api/v1/namespaces/kube-system/pods",
            200,
        ),
        ("everywhere", "GET", "/api/v1/nodes", 403),
        ("one", "GET", "/api/v1/namespaces/default/configmaps/a", 200),
        ("one", "GET", "/api/v1/namespaces/default/configmaps/b", 403),
        ("one", "GET", MAPS, 403),
        (
            "one",
            "GET",
            "/api/v1/namespaces/default/pods/p/status",
            404,
        ),
        (
            "one",
            "GET",
            "/apis/apps/v1/namespaces/default/daemonsets/d/status",
            404,
        ),
        (
            "one",
            "GET",
            "/apis/apps/v1/namespaces/default/daemonsets/d",
            403,
        ),
        ("paths", "GET", "/metrics", 200),
        ("paths", "GET", "/debug/anything", 404),
        ("paths", "POST", "/metrics", 403),
        ("paths", "GET", "/debugging", 403),
        ("nowhere", "GET", "/metrics", 403),
        (
            "one",
            "DELETE",
            "/api/v1/namespaces/default/configmaps/a",
            200,
        ),
    ];
    for (user, method, path, expected) in table {
        let (code, answer) = send_as(&server, user, (method, path), JSON, &json!({})).await;
        assert_eq!(code, expected, "{user} {method} {path}: {answer}");
    }
    let (_, status) = send_as(&server, "reader", ("POST", MAPS), JSON, &map).await;
    let expected = "configmaps is forbidden: User \"reader\" cannot create resource \"configmaps\" in API group \
                    \"\" in the namespace \"default\"";
    assert_eq!(
        (&status["code"], &status["message"]),
        (&json!(403), &json!(expected))
    );
    let lost = binding("RoleBinding", "lost", ("Role", "gone"), "reader");
    server
        .create(&format!("{DEFAULT}/rolebindings"), lost)
        .await;
    let (_, status) = read_as(&server, "reader", MAPS).await;
    let expected = "configmaps is forbidden: User \"reader\" cannot list resource \"configmaps\" in API group \
                    \"\" in the namespace \"default\": RBAC: role.rbac.authorization.k8s.io \"gone\" not found";
    assert_eq!(status["message"], expected);
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
        "user": "reader", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}});
    let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let (_, answer) = server.post(reviews, &review).await;
    let expected = "RBAC: allowed by RoleBinding \"reader-false/default\" of ClusterRole \"reader-false\" to User \
                    \"reader\"";
    assert_eq!(
        answer["status"],
        json!({"allowed": true, "reason": expected})
    );
}

#[tokio::test]
async fn a_decision_sees_every_write_that_was_answered() {
    let server = Server::start().await;
    let bindings = format!("{DEFAULT}/rolebindings");
    let reads = json!([{"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"]}]);
    let roles = format!("{DEFAULT}/roles");
    server.create(&roles, role("Role", "r", &reads)).await;
    let may = async || read_as(&server, "bob", MAPS).await.0;
    for round in 0..20 {
        assert_eq!(may().await, 403, "{round}");
        let to_bob = binding("RoleBinding", "b", ("Role", "r"), "bob");
        server.create(&bindings, to_bob).await;
        assert_eq!(may().await, 200, "{round}: the binding exists");
        let patch = |rules: &Value| json!({"rules": rules});
        let path = format!("{roles}/r");
        let none = patch(&json!([]));
        assert_eq!(server.send("PATCH", &path, MERGE, &none).await.0, 200);
        assert_eq!(may().await, 403, "{round}: the role has no rules");
        let all = patch(&reads);
        assert_eq!(server.send("PATCH", &path, MERGE, &all).await.0, 200);
        assert_eq!(may().await, 200, "{round}: it has them again");
        server.delete(&format!("{bindings}/b"), json!({})).await;
    }
    assert_eq!(may().await, 403, "the binding is gone");
}

#[tokio::test]
async fn roles_count_after_a_restart_of_the_server() {
    let store = Double::new(Faults::default(), 1);
    let on_store = || ServerOptions {
        store: Some(Arc::new(store.clone())),
        ..ServerOptions::default()
    };
    let mut server = Server::start_with(on_store()).await.unwrap();
    let reads = json!([{"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"]}]);
    allow(&server, "bob", false, reads).await;
    server.stop().await;
    let server = Server::start_with(on_store()).await.unwrap();
    assert_eq!(read_as(&server, "bob", MAPS).await.0, 200);
}

/// A user that may write roles and bindings, and read pods.
async fn with_role_writer() -> Server {
    let server = Server::start().await;
    let writes = json!([
        {"verbs": ["create", "update", "patch", "delete"], "apiGroups": [GROUP],
         "resources": ["roles", "rolebindings", "clusterroles", "clusterrolebindings"]},
        {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]},
    ]);
    allow(&server, "writer", true, writes).await;
    server
}

fn rule(verbs: &[&str], resource: &str) -> Value {
    json!([{"verbs": verbs, "apiGroups": [""], "resources": [resource]}])
}

#[tokio::test]
async fn nobody_puts_rights_into_a_role_that_it_does_not_have() {
    let server = with_role_writer().await;
    let roles = format!("{DEFAULT}/roles");
    let cluster_roles = format!("{CLUSTER}/clusterroles");
    let held = role("Role", "held", &rule(&["get"], "pods"));
    let (code, _) = send_as(&server, "writer", ("POST", &roles), JSON, &held).await;
    assert_eq!(code, 201);
    let more = role("Role", "more", &rule(&["get", "delete", "create"], "pods"));
    let refused = |resource: &str, name: &str, missing: &str| {
        json!(format!(
            "{resource}.rbac.authorization.k8s.io \"{name}\" is forbidden: user \"writer\" \
             (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{missing}"
        ))
    };
    let missing = "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\" \"create\"]}";
    let (code, status) = send_as(&server, "writer", ("POST", &roles), JSON, &more).await;
    assert_eq!(
        (code, &status["message"]),
        (403, &refused("roles", "more", missing))
    );
    let put = format!("{roles}/more");
    let (code, status) = send_as(&server, "writer", ("PUT", &put), JSON, &more).await;
    assert_eq!(
        (code, &status["message"]),
        (403, &refused("roles", "more", missing))
    );
    let patch = json!({"rules": rule(&["get"], "secrets")});
    let path = format!("{roles}/held");
    let missing = "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}";
    let (code, status) = send_as(&server, "writer", ("PATCH", &path), MERGE, &patch).await;
    assert_eq!(
        (code, &status["message"]),
        (403, &refused("roles", "held", missing))
    );
    let apply = format!("{roles}/applied?fieldManager=m");
    let mut applied = more.clone();
    applied["metadata"]["name"] = "applied".into();
    let form = "application/apply-patch+yaml";
    let (code, _) = send_as(&server, "writer", ("PATCH", &apply), form, &applied).await;
    assert_eq!(code, 403);
    // What the role has already is checked again, unless only its owners change.
    let cluster_role = role("ClusterRole", "all", &rule(&["*"], "*"));
    server.create(&cluster_roles, cluster_role).await;
    let path = format!("{cluster_roles}/all");
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    let (code, status) = send_as(&server, "writer", ("PATCH", &path), MERGE, &labels).await;
    let missing = "{APIGroups:[\"\"], Resources:[\"*\"], Verbs:[\"*\"]}";
    assert_eq!(
        (code, &status["message"]),
        (403, &refused("clusterroles", "all", missing))
    );
    let finalizers = json!({"metadata": {"finalizers": ["example.com/f"]}});
    let (code, _) = send_as(&server, "writer", ("PATCH", &path), MERGE, &finalizers).await;
    assert_eq!(code, 200);
    let escalate = json!([{"verbs": ["escalate"], "apiGroups": [GROUP], "resources": ["roles"]}]);
    allow(&server, "writer", false, escalate).await;
    let (code, _) = send_as(&server, "writer", ("POST", &roles), JSON, &more).await;
    assert_eq!(code, 201, "may escalate in this namespace");
    let (code, _) = send_as(&server, "writer", ("PATCH", &path), MERGE, &labels).await;
    assert_eq!(code, 403, "but not in the cluster");
}

#[tokio::test]
async fn an_aggregated_role_needs_all_rights() {
    let server = with_role_writer().await;
    let roles = format!("{CLUSTER}/clusterroles");
    let mut aggregated = role("ClusterRole", "sum", &json!([]));
    aggregated["aggregationRule"] =
        json!({"clusterRoleSelectors": [{"matchLabels": {"add": "true"}}]});
    let refused = json!(
        "clusterroles.rbac.authorization.k8s.io \"sum\" is forbidden: must have cluster-admin privileges to use the \
         aggregationRule"
    );
    let (code, status) = send_as(&server, "writer", ("POST", &roles), JSON, &aggregated).await;
    assert_eq!((code, &status["message"]), (403, &refused));
    server.create(&roles, aggregated).await;
    let path = format!("{roles}/sum");
    let plain = json!({"aggregationRule": null});
    let (code, status) = send_as(&server, "writer", ("PATCH", &path), MERGE, &plain).await;
    assert_eq!((code, &status["message"]), (403, &refused));
    let everything = json!([
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
        {"verbs": ["*"], "nonResourceURLs": ["*"]},
    ]);
    allow(&server, "boss", true, everything).await;
    let (code, _) = send_as(&server, "boss", ("PATCH", &path), MERGE, &plain).await;
    assert_eq!(code, 200);
}

#[tokio::test]
async fn nobody_binds_a_role_with_rights_that_it_does_not_have() {
    let server = with_role_writer().await;
    let bindings = format!("{DEFAULT}/rolebindings");
    let cluster_bindings = format!("{CLUSTER}/clusterrolebindings");
    let roles = format!("{DEFAULT}/roles");
    for (name, rules) in [
        ("held", rule(&["list"], "pods")),
        ("more", rule(&["get"], "secrets")),
    ] {
        server.create(&roles, role("Role", name, &rules)).await;
    }
    let secrets = role("ClusterRole", "secrets", &rule(&["get"], "secrets"));
    server
        .create(&format!("{CLUSTER}/clusterroles"), secrets)
        .await;
    let refused = "is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], \
                   Resources:[\"secrets\"], Verbs:[\"get\"]}";
    let namespaced = |name: &str, role| binding("RoleBinding", name, role, "eve");
    let in_cluster = |name: &str, role| binding("ClusterRoleBinding", name, role, "eve");
    let table = [
        (&bindings, namespaced("a", ("Role", "held")), 201, ""),
        (&bindings, namespaced("b", ("Role", "more")), 403, refused),
        (
            &bindings,
            namespaced("c", ("ClusterRole", "secrets")),
            403,
            refused,
        ),
        (
            &bindings,
            namespaced("d", ("Role", "none")),
            404,
            "roles.rbac.authorization.k8s.io \"none\" not found",
        ),
        (
            &bindings,
            namespaced("e", ("Robot", "none")),
            422,
            "roleRef.kind: Unsupported value: \"Robot\"",
        ),
        (
            &cluster_bindings,
            in_cluster("f", ("ClusterRole", "secrets")),
            403,
            refused,
        ),
    ];
    for (path, body, expected, text) in &table {
        let (code, answer) = send_as(&server, "writer", ("POST", path), JSON, body).await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(
            code == *expected && message.contains(text),
            "{body}: {answer}"
        );
    }
    let bind = json!([{"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"],
        "resourceNames": ["secrets"]}]);
    allow(&server, "writer", false, bind).await;
    let codes = [0, 403, 201, 404, 422, 403];
    for ((path, body, ..), expected) in table.iter().zip(codes).skip(1) {
        let (code, answer) = send_as(&server, "writer", ("POST", path), JSON, body).await;
        assert_eq!(code, expected, "{body}: {answer}");
    }
    // A change of a binding is checked as its creation.
    server
        .create(&bindings, namespaced("b", ("Role", "more")))
        .await;
    let me = json!({"subjects": [{"kind": "User", "name": "writer"}]});
    let path = format!("{bindings}/b");
    let (code, _) = send_as(&server, "writer", ("PATCH", &path), MERGE, &me).await;
    assert_eq!(code, 403);
    let (code, _) = send_as(&server, "writer", ("DELETE", &path), JSON, &json!({})).await;
    assert_eq!(code, 200);
}

#[tokio::test]
async fn a_rules_review_answers_with_the_rules_of_the_roles() {
    let server = Server::start().await;
    let names = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"]}]);
    allow(&server, "bob", false, names).await;
    let paths = json!([{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]);
    allow(&server, "bob", true, paths).await;
    let lost = binding("RoleBinding", "lost", ("Role", "gone"), "bob");
    server
        .create(&format!("{DEFAULT}/rolebindings"), lost)
        .await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let review = |namespace: &str| json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}});
    let send = async |user: &str, namespace: &str| {
        let review = review(namespace);
        let (code, answer) = send_as(&server, user, ("POST", path), JSON, &review).await;
        assert_eq!((code, &answer["spec"]), (201, &json!({})), "{answer}");
        answer["status"].clone()
    };
    let status = send("bob", "default").await;
    let of_map = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"]});
    let of_path = json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]});
    let contains = |status: &Value, field: &str, rule: &Value| {
        status[field].as_array().unwrap().contains(rule)
    };
    assert!(contains(&status, "resourceRules", &of_map), "{status}");
    assert!(contains(&status, "nonResourceRules", &of_path), "{status}");
    let lost = "role.rbac.authorization.k8s.io \"gone\" not found";
    assert_eq!(status["evaluationError"], lost);
    let status = send("bob", "kube-system").await;
    assert!(!contains(&status, "resourceRules", &of_map), "{status}");
    assert_eq!(status["evaluationError"], Value::Null);
    let (code, status) = server.post(path, &review("")).await;
    let expected = json!("no namespace on request");
    assert_eq!((code, &status["message"]), (400, &expected));
    // A member of `system:masters` that has a role with all rights: each rule once.
    let all = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
    allow(&server, "pandaemon-admin", true, json!([all])).await;
    let (_, answer) = server.post(path, &review("default")).await;
    let found = answer["status"]["resourceRules"].as_array().unwrap();
    assert_eq!(found.iter().filter(|rule| **rule == all).count(), 1);
}

#[tokio::test]
async fn a_local_review_is_about_its_namespace() {
    let server = Server::start().await;
    let path = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews";
    let table = [
        (
            json!({"resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}}),
            201,
            "",
        ),
        (
            json!({"resourceAttributes": {"namespace": "kube-system", "verb": "get", "resource": "pods"}}),
            422,
            "spec.resourceAttributes.namespace: Invalid value: \"kube-system\": must match metadata.namespace",
        ),
        (
            json!({"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}),
            422,
            "disallowed on this kind of request",
        ),
    ];
    for (mut spec, expected, text) in table {
        spec["user"] = "bob".into();
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "LocalSubjectAccessReview",
            "metadata": {"namespace": "default"}, "spec": spec});
        let (code, answer) = server.post(path, &review).await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(code == expected && message.contains(text), "{answer}");
    }
}

#[tokio::test]
async fn a_get_that_opens_a_stream_needs_the_right_to_create_it() {
    let server = Server::start().await;
    let streams = ["pods/exec", "pods/attach", "pods/portforward"];
    let with = |verbs: &[&str]| json!([{"verbs": verbs, "apiGroups": [""], "resources": streams}]);
    allow(&server, "reader", false, with(&["get"])).await;
    allow(&server, "creator", false, with(&["create"])).await;
    allow(&server, "both", false, with(&["get", "create"])).await;
    for stream in ["exec", "attach", "portforward"] {
        let path = format!("{PODS}/p/{stream}");
        let asked = |verb: &str, user: &str| {
            format!(
                "pods \"p\" is forbidden: User \"{user}\" cannot {verb} resource \"pods/{stream}\" in API group \"\" \
                 in the namespace \"default\""
            )
        };
        let missing = "pods \"p\" not found".to_owned();
        let table = [
            ("reader", "GET", 403, "pods \"p\" is forbidden: ".to_owned()),
            ("reader", "POST", 403, asked("create", "reader")),
            ("creator", "GET", 403, asked("get", "creator")),
            ("creator", "POST", 404, missing.clone()),
            ("both", "GET", 404, missing.clone()),
            ("both", "POST", 404, missing),
        ];
        for (user, method, expected, text) in table {
            let to = (method, &*path);
            let (code, status) = send_as(&server, user, to, JSON, &Value::Null).await;
            assert_eq!(
                (code, &status["message"]),
                (expected, &json!(text)),
                "{user}"
            );
        }
    }
}

/// The rest of an `Impersonate-` header, and its value.
type Header<'a> = (&'a str, &'a [u8]);

#[tokio::test]
async fn impersonation_needs_a_user_and_headers_that_can_be_decoded() {
    let server = Server::start().await;
    let table: [(&[Header<'_>], u16); 9] = [
        (&[], 200),
        (
            &[
                ("user", b"bob"),
                ("group", b"dev"),
                ("uid", b"u-1"),
                ("extra-team", b"red"),
            ],
            403,
        ),
        (&[("group", b"system:masters")], 400),
        (&[("uid", b"u-1")], 400),
        (&[("extra-team", b"red")], 400),
        (&[("user", b""), ("group", b"dev")], 400),
        (&[("user", b"b\xffb")], 400),
        (&[("user", b"bob"), ("group", b"\xff")], 400),
        (&[("user", b"bob"), ("extra-%ff", b"red")], 400),
    ];
    for (named, expected) in table {
        let mut request = Request::get(MAPS);
        for (name, value) in named {
            let value = HeaderValue::from_bytes(value).unwrap();
            request = request.header(format!("impersonate-{name}"), value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = server.client().send(request).await.unwrap();
        assert_eq!(response.status().as_u16(), expected, "{named:?}");
    }
}

#[tokio::test]
async fn rights_to_impersonate_come_from_roles() {
    let server = Server::start().await;
    let own = "authentication.k8s.io";
    let may_be = |resource: &str, group: &str, name: &str| json!({"verbs": ["impersonate"], "apiGroups": [group], "resources": [resource], "resourceNames": [name]});
    let rules = json!([
        may_be("users", "", "ann"),
        may_be("groups", "", "dev"),
        may_be("uids", own, "u-1"),
        may_be("userextras/team", own, "red"),
    ]);
    allow(&server, "bob", true, rules).await;
    let table = [
        ("users", "", "", "ann", true),
        ("users", "", "", "eve", false),
        ("groups", "", "", "dev", true),
        ("groups", "", "", "system:masters", false),
        ("uids", "", own, "u-1", true),
        ("uids", "", "", "u-1", false),
        ("userextras", "team", own, "red", true),
        ("userextras", "team", own, "blue", false),
        ("userextras", "other", own, "red", false),
        ("serviceaccounts", "", "", "ann", false),
    ];
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    for (resource, subresource, group, name, expected) in table {
        let attributes = json!({"verb": "impersonate", "group": group, "resource": resource,
            "subresource": subresource, "name": name});
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": "bob", "resourceAttributes": attributes}});
        let (_, answer) = server.post(path, &review).await;
        assert_eq!(
            answer["status"]["allowed"], expected,
            "{resource} {name}: {answer}"
        );
    }
}
