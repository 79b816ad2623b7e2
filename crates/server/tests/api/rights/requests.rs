//! The requests of the table. None of them changes anything: writes are dry runs.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use serde_json::{Value, json};

use super::parties::Party;
use crate::{harness::Server, wire::connect};

/// A request of a row.
pub(super) struct Action<'a> {
    server: &'a Server,
    method: &'static str,
    uri: String,
    content_type: &'static str,
    impersonates: bool,
    body: Value,
}

impl<'a> Action<'a> {
    /// The request of a verb and a path.
    pub(super) async fn new(server: &'a Server, verb: &str, path: &str) -> Self {
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
            "update" => server.get(path).await.1,
            _ => Value::Null,
        };
        let sign = if path.contains('?') { '&' } else { '?' };
        Self {
            server,
            method,
            uri: format!("{path}{sign}{option}"),
            content_type: match verb {
                "patch" => "application/merge-patch+json",
                _ => "application/json",
            },
            impersonates: verb == "impersonate",
            body,
        }
    }

    /// What the party gets, as in a cell.
    pub(super) async fn ask_as(&self, party: &Party) -> String {
        let mut sender = connect(self.server, party.identity()).await;
        let mut request = Request::builder()
            .method(self.method)
            .uri(&self.uri)
            .header(header::HOST, "x")
            .header(header::CONTENT_TYPE, self.content_type);
        if let Some((name, value)) = party.authorization() {
            request = request.header(name, value);
        }
        if self.impersonates {
            request = request.header("impersonate-user", "jane");
        }
        let body = match &self.body {
            Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        let request = request.body(Full::from(body)).unwrap();
        // TLS 1.3: the client learns with its first read that its certificate was refused.
        match sender
            .send_request(request)
            .await
            .map(|answer| answer.status())
        {
            Ok(status) if status.is_success() => "ok".into(),
            Ok(status) => status.as_u16().to_string(),
            Err(_) => "tls".into(),
        }
    }
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
