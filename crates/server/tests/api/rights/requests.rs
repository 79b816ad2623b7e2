//! The requests of the table. None of them changes anything: writes are dry runs.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Request, header};
use pandaemon_testkit::Server;
use serde_json::{Value, json};

/// The request of a verb and a path.
pub(super) async fn of(server: &Server, verb: &str, path: &str) -> Request<Vec<u8>> {
    let (method, option) = match verb {
        "get" | "list" | "impersonate" => ("GET", ""),
        "watch" => ("GET", "watch=true&timeoutSeconds=1"),
        "create" => ("POST", "dryRun=All"),
        "post" => ("POST", ""),
        "update" => ("PUT", "dryRun=All"),
        "patch" => ("PATCH", "dryRun=All"),
        "delete" | "deletecollection" => ("DELETE", "dryRun=All"),
        verb => panic!("no verb: {verb}"),
    };
    let body = match verb {
        "create" => new_object(path),
        "post" => json!({}),
        "patch" => json!({"metadata": {"annotations": {"a": "b"}}}),
        // As it is.
        "update" => server.get(path).await,
        _ => Value::Null,
    };
    let body = match body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    let sign = if path.contains('?') { '&' } else { '?' };
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{path}{sign}{option}"))
        .header(
            header::CONTENT_TYPE,
            match verb {
                "patch" => "application/merge-patch+json",
                _ => "application/json",
            },
        );
    if verb == "impersonate" {
        request = request.header("impersonate-user", "jane");
    }
    request.body(body).unwrap()
}

/// A request for a certificate of a client.
pub(super) fn certificate_request(name: &str) -> Value {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "eve");
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": STANDARD.encode(pem), "usages": ["client auth"],
            "signerName": "kubernetes.io/kube-apiserver-client",
        },
    })
}

/// The object that a POST to this path creates.
fn new_object(path: &str) -> Value {
    let words: Vec<&str> = path.split('/').collect();
    let version = match words[1] {
        "api" => "v1".to_owned(),
        _ => format!("{}/{}", words[2], words[3]),
    };
    let of = |kind: &str| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "new"}});
    let with = |kind: &str, field: &str, value: Value| {
        let mut object = of(kind);
        object[field] = value;
        object
    };
    let role =
        |kind: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "view"});
    let rules = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]);
    match *words.last().unwrap() {
        "secrets" => of("Secret"),
        "configmaps" => of("ConfigMap"),
        "serviceaccounts" => of("ServiceAccount"),
        "nodes" => of("Node"),
        "leases" => of("Lease"),
        "pods" => with(
            "Pod",
            "spec",
            json!({"containers": [{"name": "c", "image": "i"}]}),
        ),
        "roles" => with("Role", "rules", rules),
        "clusterroles" => with("ClusterRole", "rules", rules),
        "rolebindings" => with("RoleBinding", "roleRef", role("ClusterRole")),
        "clusterrolebindings" => with("ClusterRoleBinding", "roleRef", role("ClusterRole")),
        "certificatesigningrequests" => certificate_request("new"),
        "token" => {
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
        }
        "tokenreviews" => with("TokenReview", "spec", json!({"token": "x"})),
        "selfsubjectaccessreviews" => with(
            "SelfSubjectAccessReview",
            "spec",
            json!({"nonResourceAttributes": {"path": "/", "verb": "get"}}),
        ),
        "subjectaccessreviews" => with(
            "SubjectAccessReview",
            "spec",
            json!({"user": "eve", "nonResourceAttributes": {"path": "/", "verb": "get"}}),
        ),
        "eviction" => json!({"apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": words[words.len() - 2]}}),
        "binding" => json!({"apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": words[words.len() - 2]}, "target": {"kind": "Node", "name": "node-a"}}),
        _ => json!({}),
    }
}
