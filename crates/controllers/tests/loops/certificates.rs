//! Machines get the certificates of their nodes by CertificateSigningRequests.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pandaemon_client::rest::Rest;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

use super::control_plane::{ControlPlane, condition};

pub(crate) const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const TOKEN_SECRET: &str = "0123456789abcdef";

/// A request of a node. Serving certificates are for clients that know its name.
pub(crate) fn request(name: &str, node: &str, key: &KeyPair, is_serving: bool) -> Value {
    let names = if is_serving {
        vec![node.to_owned(), "10.0.0.7".to_owned()]
    } else {
        Vec::new()
    };
    let mut params = CertificateParams::new(names).unwrap();
    let subject = &mut params.distinguished_name;
    subject.push(DnType::CommonName, format!("system:node:{node}"));
    subject.push(DnType::OrganizationName, "system:nodes");
    let pem = params.serialize_request(key).unwrap().pem().unwrap();
    let (signer, usage) = match is_serving {
        true => ("kubelet-serving", "server auth"),
        false => ("kube-apiserver-client-kubelet", "client auth"),
    };
    json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": STANDARD.encode(pem),
            "signerName": format!("kubernetes.io/{signer}"),
            "usages": ["digital signature", usage],
            "expirationSeconds": 3600,
        },
    })
}

/// Creates a bootstrap token with more data. Returns a client with it.
async fn token(plane: &ControlPlane, id: &str, node: Option<&str>) -> Rest {
    let mut data = json!({
        "token-id": id, "token-secret": TOKEN_SECRET, "usage-bootstrap-authentication": "true",
    });
    if let Some(node) = node {
        data["node-name"] = node.into();
    }
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": format!("bootstrap-token-{id}")}, "stringData": data,
    });
    plane.create(SECRETS, secret).await;
    let mut config = plane.tls_config().await.unwrap();
    config.auth_info = kube::config::AuthInfo {
        token: Some(format!("{id}.{TOKEN_SECRET}").into()),
        ..Default::default()
    };
    Rest::new(kube::Client::try_from(config).unwrap())
}

/// A client with the certificate of a node.
async fn node_client(plane: &ControlPlane, certificate: &str, key: &KeyPair) -> Rest {
    let mut config = plane.tls_config().await.unwrap();
    config.auth_info = kube::config::AuthInfo {
        client_certificate_data: Some(STANDARD.encode(certificate)),
        client_key_data: Some(STANDARD.encode(key.serialize_pem()).into()),
        ..Default::default()
    };
    Rest::new(kube::Client::try_from(config).unwrap())
}

/// Sends a request and waits for its certificate.
async fn certificate(plane: &ControlPlane, client: &Rest, request: Value) -> String {
    let name = request["metadata"]["name"].as_str().unwrap().to_owned();
    client.create::<Value>(REQUESTS, &request).await.unwrap();
    let has = |found: &Value| found["status"]["certificate"].is_string();
    let done = plane.until(&format!("{REQUESTS}/{name}"), has).await;
    let pem = STANDARD.decode(done["status"]["certificate"].as_str().unwrap());
    String::from_utf8(pem.unwrap()).unwrap()
}

/// Sends a request and waits until it is refused. Returns why.
async fn refusal(plane: &ControlPlane, client: &Rest, request: Value) -> String {
    let name = request["metadata"]["name"].as_str().unwrap().to_owned();
    client.create::<Value>(REQUESTS, &request).await.unwrap();
    let has = |found: &Value| condition(found, "Failed") == "True";
    let done = plane.until(&format!("{REQUESTS}/{name}"), has).await;
    assert!(done["status"]["certificate"].is_null());
    let conditions = done["status"]["conditions"].as_array().unwrap();
    let failed = conditions.iter().find(|one| one["type"] == "Failed");
    failed.unwrap()["message"].as_str().unwrap().to_owned()
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_gets_and_renews_the_certificates_of_its_node() {
    let plane = ControlPlane::start("csrapproving,csrsigning").await;
    let joining = token(&plane, "abcdef", None).await;
    let first = key();
    let pem = certificate(&plane, &joining, request("first", "n1", &first, false)).await;
    let node = node_client(&plane, &pem, &first).await;
    let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    node.create::<Value>("/api/v1/nodes", &object)
        .await
        .unwrap();

    let serving = certificate(&plane, &node, request("serving", "n1", &key(), true)).await;
    let (_, block) = x509_parser::pem::parse_x509_pem(serving.as_bytes()).unwrap();
    let parsed = block.parse_x509().unwrap();
    let names = &parsed
        .subject_alternative_name()
        .unwrap()
        .unwrap()
        .value
        .general_names;
    // The name and no address, whatever was asked for.
    assert_eq!(names.len(), 1);
    assert_eq!(
        names[0],
        x509_parser::extensions::GeneralName::DNSName("n1")
    );
    let validity = parsed.validity();
    // An hour, and the hour by which certificates are backdated.
    assert_eq!(
        (validity.not_after.timestamp() - validity.not_before.timestamp()) / 60,
        120
    );

    let second = key();
    let pem = certificate(&plane, &node, request("next", "n1", &second, false)).await;
    let renewed = node_client(&plane, &pem, &second).await;
    for client in [&node, &renewed] {
        assert!(
            client
                .get::<Value>("/api/v1/nodes/n1")
                .await
                .unwrap()
                .is_some()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_certificates_of_a_node_of_another() {
    let plane = ControlPlane::start("csrapproving,csrsigning").await;
    let joining = token(&plane, "abcdef", None).await;
    let first = key();
    let pem = certificate(&plane, &joining, request("first", "n1", &first, false)).await;
    let node = node_client(&plane, &pem, &first).await;

    let why = refusal(&plane, &joining, request("stolen", "n1", &key(), false)).await;
    assert!(why.contains("belongs to another machine"), "{why}");
    let why = refusal(
        &plane,
        &joining,
        request("api", "kubernetes", &key(), false),
    )
    .await;
    assert!(why.contains("reserved"), "{why}");
    let bound = token(&plane, "fedcba", Some("n3")).await;
    let why = refusal(&plane, &bound, request("bound", "n2", &key(), false)).await;
    assert!(why.contains("another node"), "{why}");
    certificate(&plane, &bound, request("own", "n3", &key(), false)).await;

    // A node asks for another one: nobody approves that.
    node.create::<Value>(REQUESTS, &request("other", "n4", &key(), false))
        .await
        .unwrap();
    node.create::<Value>(REQUESTS, &request("served", "n3", &key(), true))
        .await
        .unwrap();
    joining
        .create::<Value>(REQUESTS, &request("early", "n5", &key(), true))
        .await
        .unwrap();
    // What came later is done.
    certificate(&plane, &joining, request("later", "n6", &key(), false)).await;
    for name in ["other", "served", "early"] {
        let found = plane.get(&format!("{REQUESTS}/{name}")).await;
        assert_eq!(found["status"], json!({}), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_a_node_that_was_deleted_since_is_refused() {
    let plane = ControlPlane::start("csrsigning").await;
    let joining = token(&plane, "abcdef", None).await;
    let approve = async |name: &str| {
        let body = json!({"status": {"conditions": [
            {"type": "Approved", "status": "True", "reason": "Test", "message": "test"}]}});
        let path = format!("{REQUESTS}/{name}/approval");
        plane
            .patch(&path, pandaemon_client::rest::Patch::Merge, body)
            .await;
    };
    let first = key();
    let request_of = |name: &str, key: &KeyPair| request(name, "n1", key, false);
    joining
        .create::<Value>(REQUESTS, &request_of("first", &first))
        .await
        .unwrap();
    approve("first").await;
    let has = |found: &Value| found["status"]["certificate"].is_string();
    let done = plane.until(&format!("{REQUESTS}/first"), has).await;
    let pem = STANDARD.decode(done["status"]["certificate"].as_str().unwrap());
    let pem = String::from_utf8(pem.unwrap()).unwrap();
    let node = node_client(&plane, &pem, &first).await;
    let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    node.create::<Value>("/api/v1/nodes", &object)
        .await
        .unwrap();
    let next = request_of("next", &key());
    node.create::<Value>(REQUESTS, &next).await.unwrap();
    plane.delete("/api/v1/nodes/n1", json!({})).await;
    approve("next").await;
    let has = |found: &Value| condition(found, "Failed") == "True";
    plane.until(&format!("{REQUESTS}/next"), has).await;
}
