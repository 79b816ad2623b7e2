//! Front proxies: who has a certificate of their CA names the user of a request in headers.

use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use pandaemon_server::AuthenticationOptions;
use pandaemon_testkit::ServerOptions;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    SerialNumber,
};
use serde_json::{Value, json};

use crate::{
    harness::{Server, json_of},
    wire::{ask, connect},
};

/// A certificate and its key in PEM, of a CA of the server's data directory.
fn signed(server: &Server, ca: &str, common_name: &str) -> (String, String) {
    let read = |end: &str| {
        let file = server.data_dir().join("pki").join(format!("{ca}.{end}"));
        std::fs::read_to_string(file).unwrap()
    };
    let ca_key = KeyPair::from_pem(&read("key")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read("crt"), ca_key).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // What would be the administrator, were it a certificate of the CA of clients.
    for (kind, name) in [
        (DnType::OrganizationName, "system:masters"),
        (DnType::CommonName, common_name),
    ] {
        params.distinguished_name.push(kind, name);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(SerialNumber::from(0xab12_u64));
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    (certificate, key.serialize_pem())
}

const HEADERS: [(&str, &str); 6] = [
    ("x-remote-user", "bob"),
    ("x-remote-group", "dev"),
    ("x-remote-group", "ops"),
    ("x-remote-uid", "u-1"),
    ("x-remote-extra-team", "red"),
    ("x-remote-extra-team", "blue"),
];

/// Who the server says that the sender is: code, and user info or message.
async fn who(
    server: &Server,
    identity: Option<&(String, String)>,
    headers: &[(&str, &str)],
) -> (u16, Value) {
    let identity = identity.map(|(certificate, key)| (&**certificate, &**key));
    let mut request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header(header::HOST, "x")
        .header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let request = request.body(Full::from(review.to_string())).unwrap();
    let mut sender = connect(server, identity).await;
    let response = sender.send_request(request).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = json_of(std::str::from_utf8(&body).unwrap());
    let part = match code {
        201 => &body["status"]["userInfo"],
        _ => &body["message"],
    };
    (code, part.clone())
}

#[tokio::test]
async fn a_front_proxy_names_the_user_in_headers_and_is_nobody_itself() {
    let server = Server::start().await;
    let proxy = signed(&server, "front-proxy-ca", "front-proxy-client");
    let bob = json!({
        "username": "bob", "uid": "u-1", "groups": ["dev", "ops", "system:authenticated"],
        "extra": {"team": ["red", "blue"]},
    });
    assert_eq!(who(&server, Some(&proxy), &HEADERS).await, (201, bob));
    let nobody = (401, json!("Unauthorized"));
    assert_eq!(who(&server, Some(&proxy), &[]).await, nobody);
    assert_eq!(who(&server, Some(&proxy), &HEADERS[1..]).await, nobody);
    // Another request that anyone may send, and one that `system:masters` may.
    let mut sender = connect(&server, Some((&proxy.0, &proxy.1))).await;
    for path in ["/healthz", "/api/v1/secrets"] {
        let (code, _) = ask(&mut sender, "GET", path, "", &Value::Null).await;
        assert_eq!(code, 401, "{path}");
    }
    let other = signed(&server, "front-proxy-ca", "system:admin");
    assert_eq!(who(&server, Some(&other), &HEADERS).await, nobody);
    // A token is credentials of its own, as upstream.
    let token = format!("Bearer {}", server.running().admin_token());
    let (code, user) = who(&server, Some(&proxy), &[("authorization", &token)]).await;
    assert_eq!((code, &user["username"]), (201, &json!("pandaemon-admin")));
}

#[tokio::test]
async fn headers_of_anyone_else_name_nobody() {
    let server = Server::start().await;
    // The name is that of a front proxy, and the CA that of clients.
    let client = signed(&server, "client-ca", "front-proxy-client");
    let (code, user) = who(&server, Some(&client), &HEADERS).await;
    assert_eq!(
        (code, &user["username"], &user["groups"]),
        (
            201,
            &json!("front-proxy-client"),
            &json!(["system:masters", "system:authenticated"])
        )
    );
    assert_eq!(
        who(&server, None, &HEADERS).await,
        (401, json!("Unauthorized"))
    );
    let token = format!("Bearer {}", server.running().admin_token());
    let mut headers = HEADERS.to_vec();
    headers.push(("authorization", &token));
    let (code, user) = who(&server, None, &headers).await;
    assert_eq!((code, &user["username"]), (201, &json!("pandaemon-admin")));
}

#[tokio::test]
async fn a_user_that_a_front_proxy_names_has_the_rights_of_its_roles_only() {
    let server = Server::start().await;
    let proxy = signed(&server, "front-proxy-ca", "front-proxy-client");
    let mut sender = connect(&server, Some((&proxy.0, &proxy.1))).await;
    let mut code = async |headers: &[(&str, &str)]| {
        let mut request = Request::get("/api/v1/secrets").header(header::HOST, "x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::default()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let code = response.status().as_u16();
        response.into_body().collect().await.unwrap();
        code
    };
    let bob = ("x-remote-user", "bob");
    let masters = ("x-remote-group", "system:masters");
    assert_eq!(code(&[bob]).await, 403);
    assert_eq!(
        code(&[bob, ("impersonate-user", "pandaemon-admin")]).await,
        403
    );
    assert_eq!(code(&[bob, masters]).await, 200);
}

#[tokio::test]
async fn a_revoked_certificate_of_a_front_proxy_names_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("revoked");
    std::fs::write(&path, "AB:12\n").unwrap();
    let options = ServerOptions {
        authentication: AuthenticationOptions {
            revoked_serials_file: Some(path),
            ..AuthenticationOptions::default()
        },
        ..ServerOptions::default()
    };
    let server = Server::start_with(options).await.unwrap();
    let proxy = signed(&server, "front-proxy-ca", "front-proxy-client");
    let found = who(&server, Some(&proxy), &HEADERS).await;
    assert_eq!(found, (401, json!("Unauthorized")));
}
