//! A cluster, and those who send requests to it, each with credentials as the server gives them.

use http::{HeaderValue, header};
use kube::config::Kubeconfig;
use pandaemon_certificates::SigningRequest;
use serde_json::{Value, json};

use crate::{
    harness::Server,
    join::{Joined, join, token},
    wire::start_agent,
};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
const TOKENS: &str = "/api/v1/namespaces/kube-system/secrets";

/// With what a party shows who it is.
pub(super) enum Credential {
    None,
    /// A certificate and its key, in PEM.
    Certificate(String, String),
    Token(String),
}

pub(super) struct Party {
    /// The head of its column.
    pub(super) name: &'static str,
    pub(super) credential: Credential,
}

impl Party {
    /// Its certificate and key.
    pub(super) fn identity(&self) -> Option<(&str, &str)> {
        match &self.credential {
            Credential::Certificate(certificate, key) => Some((certificate, key)),
            _ => None,
        }
    }

    /// The value of its `Authorization` header.
    pub(super) fn authorization(&self) -> Option<(header::HeaderName, HeaderValue)> {
        match &self.credential {
            Credential::Token(token) => {
                let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
                Some((header::AUTHORIZATION, value))
            }
            _ => None,
        }
    }
}

/// A server and all parties, in the order of the columns.
pub(super) struct Parties {
    pub(super) server: Server,
    pub(super) all: Vec<Party>,
}

impl Parties {
    pub(super) async fn new() -> Self {
        let server = Server::start().await;
        create_objects(&server).await;
        let [a, b, gone] = nodes(&server).await;
        let jane = signed_by_request(&server, "jane").await;
        let of = |joined: Joined| Credential::Certificate(joined.client, joined.key);
        let serving = Credential::Certificate(a.serving.clone(), a.key.clone());
        let account = account_token(&server, "robot").await;
        let deleted_account = account_token(&server, "gone").await;
        let path = format!("{ACCOUNTS}/gone");
        assert_eq!(server.send("DELETE", &path, "", &Value::Null).await.0, 200);
        let all = vec![
            ("admin", admin(&server)),
            ("jane", jane),
            ("node-a", of(a)),
            ("node-b", of(b)),
            ("robot", Credential::Token(account)),
            (
                "bootstrap",
                bootstrap_token(&server, "abcdef", json!({})).await,
            ),
            ("join-token", Credential::Token(token(&server))),
            ("anonymous", Credential::None),
            ("deleted-node", of(gone)),
            ("deleted-account", Credential::Token(deleted_account)),
            (
                "expired-token",
                bootstrap_token(
                    &server,
                    "fedcba",
                    json!({"expiration": "2020-01-01T00:00:00Z"}),
                )
                .await,
            ),
            ("expired-cert", expired(&server)),
            ("wrong-ca", other_ca()),
            ("serving-cert", serving),
        ];
        let all = all
            .into_iter()
            .map(|(name, credential)| Party { name, credential });
        Self {
            all: all.collect(),
            server,
        }
    }
}

async fn create(server: &Server, path: &str, object: Value) {
    let (code, answer) = server.post(path, &object).await;
    assert_eq!(code, 201, "{path}: {answer}");
}

/// Three nodes that have joined, of which the last was deleted. The first two have an agent, and a
/// Lease.
async fn nodes(server: &Server) -> [Joined; 3] {
    let mut all = Vec::new();
    for name in ["node-a", "node-b", "node-c"] {
        let joined = join(server, name, name, &token(server)).await.ok().unwrap();
        let agent = start_agent(&joined).await;
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": agent.port()}}}});
        create(server, "/api/v1/nodes", node).await;
        let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
        create(
            server,
            leases,
            object("coordination.k8s.io/v1", "Lease", name),
        )
        .await;
        all.push(joined);
    }
    let deleted = server.send("DELETE", "/api/v1/nodes/node-c", "", &Value::Null);
    assert_eq!(deleted.await.0, 200);
    all.try_into().ok().unwrap()
}

fn object(version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}})
}

/// The Secrets, pods, accounts and roles that the table names.
async fn create_objects(server: &Server) {
    for name in ["default", "robot", "gone"] {
        create(server, ACCOUNTS, object("v1", "ServiceAccount", name)).await;
    }
    let secrets = "/api/v1/namespaces/default/secrets";
    for name in ["of-a", "of-b", "of-none"] {
        create(server, secrets, object("v1", "Secret", name)).await;
    }
    for (name, node) in [("on-a", "node-a"), ("on-b", "node-b")] {
        let mut pod = object("v1", "Pod", name);
        let secret = name.replace("on-", "of-");
        pod["spec"] = json!({
            "nodeName": node, "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "secret": {"secretName": secret}}],
        });
        create(server, "/api/v1/namespaces/default/pods", pod).await;
    }
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({"apiGroups": groups, "resources": resources, "verbs": verbs});
    let reads = ["get", "list", "watch"];
    let mut one_secret = rule(&[""], &["secrets"], &["get"]);
    one_secret["resourceNames"] = json!(["of-a"]);
    let jane = json!([rule(&[""], &["pods", "pods/log"], &reads)]);
    let robot = json!([
        one_secret,
        rule(&["coordination.k8s.io"], &["leases"], &["*"])
    ]);
    let user = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"});
    let account = json!({"kind": "ServiceAccount", "name": "robot", "namespace": "default"});
    for (name, rules, subject) in [("jane", jane, user), ("robot", robot, account)] {
        let group = "rbac.authorization.k8s.io";
        let mut role = object(&format!("{group}/v1"), "Role", name);
        role["rules"] = rules;
        create(server, &format!("{RBAC}/roles"), role).await;
        let mut binding = object(&format!("{group}/v1"), "RoleBinding", name);
        binding["roleRef"] = json!({"apiGroup": group, "kind": "Role", "name": name});
        binding["subjects"] = json!([subject]);
        create(server, &format!("{RBAC}/rolebindings"), binding).await;
    }
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    create(
        server,
        requests,
        super::requests::certificate_request("pending"),
    )
    .await;
}

/// The certificate of the administrator's kubeconfig.
fn admin(server: &Server) -> Credential {
    let config = Kubeconfig::from_yaml(&server.kubeconfig()).unwrap();
    let user = config.auth_infos[0].auth_info.clone().unwrap();
    let user = serde_json::to_value(user).unwrap();
    let pem = |name: &str| {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let text = user[name].as_str().unwrap();
        String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
    };
    Credential::Certificate(pem("client-certificate-data"), pem("client-key-data"))
}

/// A certificate as the server signs it for an approved request.
async fn signed_by_request(server: &Server, user: &str) -> Credential {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, user);
    let key = rcgen::KeyPair::generate().unwrap();
    let request = SigningRequest {
        signer_name: "kubernetes.io/kube-apiserver-client".into(),
        request: params
            .serialize_request(&key)
            .unwrap()
            .pem()
            .unwrap()
            .into_bytes(),
        usages: vec!["client auth".into()],
        username: user.into(),
        ..SigningRequest::default()
    };
    let signed = server.running().signer().sign(&request).await;
    Credential::Certificate(signed.unwrap().unwrap(), key.serialize_pem())
}

async fn account_token(server: &Server, account: &str) -> String {
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let (code, made) = server
        .post(&format!("{ACCOUNTS}/{account}/token"), &request)
        .await;
    assert_eq!(code, 201, "{made}");
    made["status"]["token"].as_str().unwrap().to_owned()
}

async fn bootstrap_token(server: &Server, id: &str, more: Value) -> Credential {
    let secret = "0123456789abcdef";
    let mut data = json!({
        "token-id": id, "token-secret": secret, "usage-bootstrap-authentication": "true",
    });
    data.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let mut token = object("v1", "Secret", &format!("bootstrap-token-{id}"));
    token["type"] = "bootstrap.kubernetes.io/token".into();
    token["stringData"] = data;
    create(server, TOKENS, token).await;
    Credential::Token(format!("{id}.{secret}"))
}

/// What a client certificate of an administrator says.
fn masters() -> rcgen::CertificateParams {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let names = [
        (rcgen::DnType::OrganizationName, "system:masters"),
        (rcgen::DnType::CommonName, "pandaemon-admin"),
    ];
    for (of_type, name) in names {
        params.distinguished_name.push(of_type, name);
    }
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// An administrator's certificate of the cluster's own CA, whose time is over.
fn expired(server: &Server) -> Credential {
    let pki = server.data_dir().join("pki");
    let read = |name: &str| std::fs::read_to_string(pki.join(name)).unwrap();
    let ca_key = rcgen::KeyPair::from_pem(&read("client-ca.key")).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&read("client-ca.crt"), ca_key).unwrap();
    let mut params = masters();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    Credential::Certificate(certificate.pem(), key.serialize_pem())
}

/// An administrator's certificate of another CA, with the name of the cluster's.
fn other_ca() -> Credential {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "pandaemon-client-ca");
    let issuer = rcgen::Issuer::new(params, rcgen::KeyPair::generate().unwrap());
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = masters().signed_by(&key, &issuer).unwrap();
    Credential::Certificate(certificate.pem(), key.serialize_pem())
}
