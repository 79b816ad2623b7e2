//! The default roles and bindings at the start of a server: what is missing comes back, what was
//! added stays.

use std::sync::Arc;

use pandaemon_store::{
    Store,
    double::{Double, Faults},
};
use pandaemon_testkit::ServerOptions;
use serde_json::{Value, json};

use super::{authorization::send_as, harness::Server};

const GROUP: &str = "/apis/rbac.authorization.k8s.io/v1";
const MERGE: &str = "application/merge-patch+json";
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

async fn start(store: &Arc<dyn Store>) -> Server {
    let options = ServerOptions {
        store: Some(Arc::clone(store)),
        ..ServerOptions::default()
    };
    Server::start_with(options).await.unwrap()
}

/// Sends a request that must succeed.
async fn send(server: &Server, method: &str, path: &str, body: Value) {
    let form = match method {
        "PATCH" => MERGE,
        _ => "application/json",
    };
    let (code, answer) = server
        .send(method, &format!("{GROUP}/{path}"), form, &body)
        .await;
    assert!(code < 300, "{method} {path}: {answer}");
}

async fn get(server: &Server, path: &str) -> Value {
    let (code, object) = server.get(&format!("{GROUP}/{path}")).await;
    assert_eq!(code, 200, "{path}: {object}");
    object
}

/// The resource versions of all roles and bindings.
async fn versions(server: &Server) -> Vec<String> {
    let mut versions = Vec::new();
    for plural in [
        "clusterroles",
        "clusterrolebindings",
        "roles",
        "rolebindings",
    ] {
        let list = get(server, plural).await;
        let items = list["items"].as_array().unwrap().iter();
        versions.extend(items.map(|item| {
            let metadata = &item["metadata"];
            let (name, version) = (&metadata["name"], &metadata["resourceVersion"]);
            format!("{plural} {} {name} {version}", metadata["namespace"])
        }));
    }
    versions
}

const CLEANER: &str = "namespaces/kube-system/roles/system:controller:token-cleaner";

/// A rule that no default role has.
fn own_rule() -> Value {
    json!({"apiGroups": ["x.io"], "resources": ["things"], "verbs": ["get"]})
}

/// Takes rights away and gives others.
async fn change_rights(server: &Server) {
    let group = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "dev"});
    // Missing objects.
    for path in [
        "clusterroles/system:discovery",
        "clusterrolebindings/system:basic-user",
        "clusterrolebindings/system:monitoring",
        CLEANER,
    ] {
        send(server, "DELETE", path, Value::Null).await;
    }
    // A binding of another role.
    let other = json!({
        "metadata": {"name": "system:monitoring"}, "subjects": [group],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    });
    send(server, "POST", "clusterrolebindings", other).await;
    let labels = json!({"kubernetes.io/bootstrapping": "mine", "a": "b"});
    for (path, patch) in [
        // Missing rules, subjects and annotations; other rules, subjects and labels.
        (
            "clusterroles/system:kube-dns",
            json!({"rules": [own_rule()], "metadata": {"labels": labels}}),
        ),
        (
            "clusterrolebindings/system:discovery",
            json!({"subjects": [group], "metadata": {"annotations": null}}),
        ),
        // It opts out.
        (
            "clusterroles/system:heapster",
            json!({"rules": [], "metadata": {"annotations": {AUTO_UPDATE: "false"}}}),
        ),
        // The rules of an aggregated role are those of others.
        ("clusterroles/view", json!({"rules": [own_rule()]})),
    ] {
        send(server, "PATCH", path, patch).await;
    }
}

#[tokio::test]
async fn a_start_restores_what_default_roles_and_bindings_lack_and_nothing_else() {
    let store: Arc<dyn Store> = Arc::new(Double::new(Faults::default(), 1));
    let mut server = start(&store).await;
    let first = versions(&server).await;
    assert!(first.len() > 130, "{first:?}");
    server.stop().await;
    let mut server = start(&store).await;
    let second = versions(&server).await;
    assert_eq!(second, first, "a start without need writes nothing");
    change_rights(&server).await;
    server.stop().await;

    let server = start(&store).await;
    let discovery = get(&server, "clusterroles/system:discovery").await;
    let urls = discovery["rules"][0]["nonResourceURLs"].to_string();
    assert!(urls.contains("/openapi"), "{urls}");
    get(&server, "clusterrolebindings/system:basic-user").await;
    get(&server, CLEANER).await;
    let monitoring = get(&server, "clusterrolebindings/system:monitoring").await;
    assert_eq!(monitoring["roleRef"]["name"], "system:monitoring");
    assert_eq!(monitoring["subjects"][0]["name"], "system:monitoring");
    let dns = get(&server, "clusterroles/system:kube-dns").await;
    let labels = json!({"kubernetes.io/bootstrapping": "mine", "a": "b"});
    assert_eq!(dns["metadata"]["labels"], labels);
    let added = [
        ("endpoints", "list"),
        ("endpoints", "watch"),
        ("services", "list"),
        ("services", "watch"),
    ];
    let added = added.map(
        |(resource, verb)| json!({"apiGroups": [""], "resources": [resource], "verbs": [verb]}),
    );
    let rules = dns["rules"].as_array().unwrap();
    assert_eq!(rules.split_first(), Some((&own_rule(), &added[..])));
    let discovery = get(&server, "clusterrolebindings/system:discovery").await;
    let subjects = discovery["subjects"].as_array().unwrap();
    let subjects: Vec<&Value> = subjects.iter().map(|subject| &subject["name"]).collect();
    assert_eq!(subjects, ["dev", "system:authenticated"]);
    let annotations = json!({AUTO_UPDATE: "true"});
    assert_eq!(discovery["metadata"]["annotations"], annotations);
    let heapster = get(&server, "clusterroles/system:heapster").await;
    let rules = heapster["rules"].as_array();
    assert!(rules.is_none_or(Vec::is_empty), "{heapster}");
    let view = get(&server, "clusterroles/view").await;
    assert_eq!(view["rules"], json!([own_rule()]));
}

/// User, method, path, and the code of the answer.
const REQUESTS: &[(&str, &str, &str, u16)] = &[
    ("system:anonymous", "GET", "/version", 200),
    ("system:anonymous", "GET", "/version/", 200),
    // As upstream, HEAD is a verb of its own.
    ("system:anonymous", "HEAD", "/version", 401),
    ("system:anonymous", "POST", "/version", 401),
    ("system:anonymous", "GET", "/healthz", 200),
    ("system:anonymous", "GET", "/livez", 200),
    ("system:anonymous", "GET", "/readyz", 200),
    ("system:anonymous", "GET", "/readyz/ping", 401),
    ("system:anonymous", "GET", "/readyzz", 401),
    ("system:anonymous", "GET", "/cacerts", 200),
    ("system:anonymous", "GET", "/metrics", 401),
    ("system:anonymous", "GET", "/apis", 401),
    ("system:anonymous", "GET", "/api/v1/pods", 401),
    ("system:anonymous", "POST", REVIEWS, 401),
    ("bob", "GET", "/version", 200),
    ("bob", "GET", "/cacerts", 200),
    ("bob", "GET", "/apis/apps/v1", 200),
    ("bob", "GET", "/openapi/v2", 200),
    ("bob", "DELETE", "/apis/apps/v1", 403),
    ("bob", "GET", "/apish", 403),
    ("bob", "GET", "/metrics", 403),
    ("bob", "GET", "/api/v1/pods", 403),
    // Without a body it is not valid, but allowed.
    ("bob", "POST", REVIEWS, 422),
    ("bob", "GET", REVIEWS, 403),
];

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

#[tokio::test]
async fn rights_of_users_without_a_role_and_of_anonymous_ones() {
    let server = Server::start().await;
    for (user, method, path, expected) in REQUESTS {
        let to = (*method, *path);
        let (code, answer) = send_as(&server, user, to, "application/json", &json!({})).await;
        assert_eq!(code, *expected, "{user} {method} {path}: {answer}");
    }
}
