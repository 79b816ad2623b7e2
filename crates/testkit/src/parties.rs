//! A cluster, and those who send requests to its servers, each with credentials as the API server
//! gives them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::{Client, config::AuthInfo};
use pandaemon_certificates::SigningRequest;
use pandaemon_client::connect;
use pandaemon_server::AuthenticationOptions;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, date_time_ymd,
};
use serde_json::{Value, json};

use crate::{
    Server, ServerOptions,
    join::{Joined, join},
};

/// The service accounts of the namespace `default`.
pub const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const TOKENS: &str = "/api/v1/namespaces/kube-system/secrets";
/// The serial number of the certificates that count no more.
const REVOKED: u64 = 0x1f2e_3d4c;

/// One who sends requests.
#[derive(Debug)]
pub struct Party {
    /// The head of its column.
    pub name: &'static str,
    /// With what it shows who it is.
    pub credentials: AuthInfo,
}

impl Party {
    /// Its client of the server of this configuration.
    ///
    /// # Panics
    /// When the configuration names no server.
    #[must_use]
    pub fn client(&self, config: &kube::Config) -> Client {
        let mut config = config.clone();
        config.auth_info = self.credentials.clone();
        connect::direct(config).unwrap()
    }
}

/// A server and all parties.
pub struct Parties {
    /// The API server.
    pub server: Server,
    /// Those who send requests, in the order of the columns.
    pub all: Vec<Party>,
    /// The nodes `node-a` and `node-b`.
    pub nodes: [Joined; 2],
}

impl Parties {
    /// Starts an API server that gives credentials to all parties. Only the administrator and the
    /// nodes have rights.
    ///
    /// # Panics
    /// When it does not.
    pub async fn new() -> Self {
        let server = start().await;
        let [a, b, gone] = nodes(&server).await;
        for name in ["default", "robot", "gone"] {
            create_account(&server, name).await;
        }
        let deleted_account = account_token(&server, "gone").await;
        server.delete(&format!("{ACCOUNTS}/gone"), json!({})).await;
        let admin = server.tls_config().await.unwrap().auth_info;
        let expired = json!({"expiration": "2020-01-01T00:00:00Z"});
        let all = [
            ("admin", admin),
            ("jane", user(&server, "jane").await),
            ("node-a", certificate(&a.client, &a.key)),
            ("node-b", certificate(&b.client, &b.key)),
            ("robot", account_token(&server, "robot").await),
            (
                "bootstrap",
                bootstrap_token(&server, "abcdef", json!({})).await,
            ),
            ("join-token", token(&server.running().agent_token())),
            ("anonymous", AuthInfo::default()),
            ("deleted-node", certificate(&gone.client, &gone.key)),
            ("deleted-account", deleted_account),
            (
                "expired-token",
                bootstrap_token(&server, "fedcba", expired).await,
            ),
            ("expired-cert", expired_certificate(&server)),
            ("wrong-ca", of_another_ca()),
            ("serving-cert", certificate(&a.serving, &a.key)),
            ("revoked-cert", revoked_certificate(&server)),
            ("revoked-node", revoked_node(&server, &a)),
        ];
        let all = all.map(|(name, credentials)| Party { name, credentials });
        Self {
            all: all.into(),
            server,
            nodes: [a, b],
        }
    }
}

/// A server with a file of revoked serial numbers.
async fn start() -> Server {
    let data_dir = tempfile::tempdir().unwrap();
    let serials = data_dir.path().join("revoked-serials");
    fs::write(&serials, format!("{REVOKED:x}\n")).unwrap();
    let options = ServerOptions {
        data_dir: Some(data_dir),
        authentication: AuthenticationOptions {
            revoked_serials_file: Some(serials),
            ..AuthenticationOptions::default()
        },
        ..ServerOptions::default()
    };
    Server::start_with(options).await.unwrap()
}

/// Three nodes that have joined, of which the last was deleted.
async fn nodes(server: &Server) -> [Joined; 3] {
    let mut all = Vec::new();
    for name in ["node-a", "node-b", "node-c"] {
        all.push(join(server, name).await);
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
        server.create("/api/v1/nodes", node).await;
    }
    server.delete("/api/v1/nodes/node-c", json!({})).await;
    all.try_into().ok().unwrap()
}

/// The credentials of who has this certificate and its key, in PEM.
///
/// # Panics
/// Never.
#[must_use]
pub fn certificate(certificate: &str, key: &str) -> AuthInfo {
    serde_json::from_value(json!({
        "client-certificate-data": STANDARD.encode(certificate),
        "client-key-data": STANDARD.encode(key),
    }))
    .unwrap()
}

/// The credentials of who has this token.
fn token(token: &str) -> AuthInfo {
    serde_json::from_value(json!({ "token": token })).unwrap()
}

/// The certificate of this user, as the server signs it for an approved request.
///
/// # Panics
/// When the server does not sign it.
pub async fn user(server: &Server, name: &str) -> AuthInfo {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    let request = SigningRequest {
        signer_name: "kubernetes.io/kube-apiserver-client".into(),
        request: pem.into_bytes(),
        usages: vec!["client auth".into()],
        username: name.into(),
        ..SigningRequest::default()
    };
    let signed = server.running().signer().sign(&request).await;
    certificate(&signed.unwrap().unwrap(), &key.serialize_pem())
}

/// Creates a service account in the namespace `default`.
///
/// # Panics
/// When it exists.
pub async fn create_account(server: &Server, name: &str) {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    server.create(ACCOUNTS, account).await;
}

/// A token of a service account in the namespace `default`.
///
/// # Panics
/// When there is no such account.
pub async fn account_token(server: &Server, account: &str) -> AuthInfo {
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let path = format!("{ACCOUNTS}/{account}/token");
    let made = server.create(&path, request).await;
    token(made["status"]["token"].as_str().unwrap())
}

async fn bootstrap_token(server: &Server, id: &str, more: Value) -> AuthInfo {
    let secret = "0123456789abcdef";
    let mut data = json!({
        "token-id": id, "token-secret": secret, "usage-bootstrap-authentication": "true",
    });
    data.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": format!("bootstrap-token-{id}")}, "stringData": data,
    });
    server.create(TOKENS, object).await;
    token(&format!("{id}.{secret}"))
}

/// What a client certificate of a user with a group says.
fn client(group: &str, user: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let names = [
        (DnType::OrganizationName, group),
        (DnType::CommonName, user),
    ];
    for (of_type, name) in names {
        params.distinguished_name.push(of_type, name);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// What a client certificate of an administrator says.
fn masters() -> CertificateParams {
    client("system:masters", "pandaemon-admin")
}

fn signed(params: &CertificateParams, issuer: &Issuer<'_, KeyPair>) -> AuthInfo {
    let key = KeyPair::generate().unwrap();
    let signed = params.signed_by(&key, issuer).unwrap();
    certificate(&signed.pem(), &key.serialize_pem())
}

/// The CA of the clients of this server.
fn client_ca(data_dir: &Path) -> Issuer<'static, KeyPair> {
    let read = |name: &str| fs::read_to_string(data_dir.join("pki").join(name)).unwrap();
    let key = KeyPair::from_pem(&read("client-ca.key")).unwrap();
    Issuer::from_ca_cert_pem(&read("client-ca.crt"), key).unwrap()
}

/// An administrator's certificate of the cluster's own CA, whose time is over.
fn expired_certificate(server: &Server) -> AuthInfo {
    let mut params = masters();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    signed(&params, &client_ca(server.data_dir()))
}

/// An administrator's certificate of the cluster's own CA, whose serial number is in the file of
/// those that are revoked.
fn revoked_certificate(server: &Server) -> AuthInfo {
    let mut params = masters();
    params.serial_number = Some(REVOKED.into());
    signed(&params, &client_ca(server.data_dir()))
}

/// Such a certificate of node-a, of the key that is recorded.
fn revoked_node(server: &Server, node: &Joined) -> AuthInfo {
    let mut params = client("system:nodes", "system:node:node-a");
    params.serial_number = Some(REVOKED.into());
    let key = KeyPair::from_pem(&node.key).unwrap();
    let signed = params.signed_by(&key, &client_ca(server.data_dir()));
    certificate(&signed.unwrap().pem(), &node.key)
}

/// An administrator's certificate of another CA, with the name of the cluster's.
fn of_another_ca() -> AuthInfo {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "pandaemon-client-ca");
    let issuer = Issuer::new(params, KeyPair::generate().unwrap());
    signed(&masters(), &issuer)
}
