//! CertificateSigningRequests: what the server sets, who may do what, and what is shown.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use pandaemon_testkit::ServerOptions;
use serde_json::{Value, json};

use crate::harness::{Server, json_of};

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const MERGE: &str = "application/merge-patch+json";

fn request(name: &str, signer: &str, organizations: &[&str]) -> Value {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for name in organizations {
        let kind = rcgen::DnType::OrganizationName;
        params.distinguished_name.push(kind, *name);
    }
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "jane");
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {"request": STANDARD.encode(pem), "signerName": signer, "usages": ["client auth"]},
    })
}

fn condition(of_type: &str) -> Value {
    json!({"type": of_type, "status": "True", "reason": "Test", "message": "test"})
}

/// Sends a request as a user.
async fn as_user(
    server: &Server,
    user: &str,
    (method, path): (&str, &str),
    body: &Value,
) -> (u16, Value) {
    let content_type = match method {
        "PATCH" => MERGE,
        _ => "application/json",
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content_type)
        .header("impersonate-user", user)
        .header("impersonate-group", "system:bootstrappers")
        .header("impersonate-uid", "u-1")
        .header("impersonate-extra-team", "red")
        .body(Body::from(body.to_string().into_bytes()))
        .unwrap();
    let response = server.client().send(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, json_of(std::str::from_utf8(&bytes).unwrap()))
}

#[tokio::test]
async fn the_server_says_who_asks_and_nothing_else_can_be_changed() {
    let server = Server::start().await;
    let mut body = request("a", "example.com/own", &[]);
    body["spec"]["username"] = "root".into();
    body["spec"]["groups"] = json!(["system:masters"]);
    body["spec"]["extra"] = json!({"x": ["y"]});
    body["status"] = json!({"conditions": [condition("Approved")]});
    let (code, created) = as_user(&server, "jane", ("POST", REQUESTS), &body).await;
    assert_eq!(code, 201, "{created}");
    let spec = &created["spec"];
    assert_eq!(
        (&spec["username"], &spec["uid"]),
        (&json!("jane"), &json!("u-1"))
    );
    assert_eq!(
        spec["groups"],
        json!(["system:bootstrappers", "system:authenticated"])
    );
    assert_eq!(
        (&spec["extra"], &created["status"]),
        (&json!({"team": ["red"]}), &json!({}))
    );
    let path = format!("{REQUESTS}/a");
    let patch = json!({"spec": {"username": "eve"}, "status": {"certificate": "eA=="}, "metadata": {"labels": {"a": "b"}}});
    let (code, changed) = server.send("PATCH", &path, MERGE, &patch).await;
    assert_eq!(code, 200, "{changed}");
    assert_eq!((&changed["spec"], &changed["status"]), (spec, &json!({})));
    assert_eq!(changed["metadata"]["labels"]["a"], "b");
}

#[tokio::test]
async fn approval_and_certificate_are_written_by_different_paths() {
    let server = Server::start().await;
    server
        .post(REQUESTS, &request("a", "example.com/own", &[]))
        .await;
    let (approval, status) = (
        format!("{REQUESTS}/a/approval"),
        format!("{REQUESTS}/a/status"),
    );
    let approved = json!({"status": {"conditions": [condition("Approved")]}});
    let ca = json!({"status": {"certificate": STANDARD.encode(server.running().ca_pem())}});
    let (code, refused) = server.send("PATCH", &status, MERGE, &approved).await;
    assert_eq!(
        (code, &refused["reason"]),
        (422, &json!("Invalid")),
        "{refused}"
    );
    let (_, unchanged) = server.send("PATCH", &approval, MERGE, &ca).await;
    assert_eq!(unchanged["status"], json!({}));
    let (code, changed) = server.send("PATCH", &approval, MERGE, &approved).await;
    assert_eq!(code, 200, "{changed}");
    let condition_of = &changed["status"]["conditions"][0];
    assert!(condition_of["lastUpdateTime"].is_string(), "{condition_of}");
    assert!(
        condition_of["lastTransitionTime"].is_string(),
        "{condition_of}"
    );
    let denied = json!({"status": {"conditions": [condition("Approved"), condition("Denied")]}});
    assert_eq!(server.send("PATCH", &approval, MERGE, &denied).await.0, 422);
    let nonsense = json!({"status": {"certificate": STANDARD.encode("nonsense")}});
    assert_eq!(server.send("PATCH", &status, MERGE, &nonsense).await.0, 422);
    let (code, signed) = server.send("PATCH", &status, MERGE, &ca).await;
    assert_eq!(code, 200, "{signed}");
    let none = json!({"status": {"certificate": null}});
    assert_eq!(server.send("PATCH", &status, MERGE, &none).await.0, 422);
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let server = Server::start().await;
    let good = request("a", "example.com/own", &[]);
    let table = [
        (
            "/spec/request",
            json!(STANDARD.encode("nonsense")),
            "spec.request: Invalid value: []byte{0x6e",
        ),
        ("/spec/usages", json!([]), "spec.usages: Required value"),
        (
            "/spec/usages",
            json!(["client auth", "client auth"]),
            "spec.usages[1]: Duplicate value",
        ),
        (
            "/spec/usages",
            json!(["eating"]),
            "spec.usages[0]: Unsupported value: \"eating\"",
        ),
        (
            "/spec/signerName",
            json!("kubernetes.io/legacy-unknown"),
            "the legacy signerName is not allowed",
        ),
        (
            "/spec/signerName",
            json!("own"),
            "must be a fully qualified domain and path",
        ),
        (
            "/spec/signerName",
            json!("a/b"),
            "at least two segments separated by dots",
        ),
        ("/spec/signerName", json!("a.b/C"), "validating label \"C\""),
    ];
    for (field, value, expected) in table {
        let mut body = good.clone();
        *body.pointer_mut(field).unwrap() = value;
        let (code, refused) = server.post(REQUESTS, &body).await;
        let text = refused["message"].as_str().unwrap();
        assert!(code == 422 && text.contains(expected), "{code} {text}");
    }
    let mut short = good;
    short["spec"]["expirationSeconds"] = 599.into();
    assert_eq!(server.post(REQUESTS, &short).await.0, 422);
}

#[tokio::test]
async fn signers_are_guarded_and_no_certificate_is_for_masters() {
    let server = Server::start_with(ServerOptions {
        authorizers: vec![std::sync::Arc::new(Approver)],
        ..ServerOptions::default()
    });
    let server = server.await.unwrap();
    for (name, signer) in [("a", "example.com/own"), ("b", "other.example/x")] {
        server.post(REQUESTS, &request(name, signer, &[])).await;
    }
    let approved = json!({"status": {"conditions": [condition("Approved")]}});
    let of = |name: &str| format!("{REQUESTS}/{name}/approval");
    let (code, status) = as_user(&server, "jane", ("PATCH", &of("b")), &approved).await;
    assert_eq!(code, 403);
    let text = "certificatesigningrequests.certificates.k8s.io \"b\" is forbidden: user not permitted to \
                approve requests with signerName \"other.example/x\"";
    assert_eq!(status["message"], text);
    let (code, _) = as_user(&server, "jane", ("PATCH", &of("a")), &approved).await;
    assert_eq!(code, 200);
    let masters = request(
        "m",
        "kubernetes.io/kube-apiserver-client",
        &["system:masters"],
    );
    let (code, status) = server.post(REQUESTS, &masters).await;
    let text = status["message"].as_str().unwrap();
    assert!(
        code == 403 && text.contains("with system:masters group is not allowed"),
        "{text}"
    );
}

/// Lets `jane` write approvals of all requests, and approve as all signers of one domain.
#[derive(Debug)]
struct Approver;

impl pandaemon_server::Authorizer for Approver {
    fn authorize<'a>(
        &'a self,
        a: &'a pandaemon_server::Attributes<'_>,
    ) -> pandaemon_server::DecisionFuture<'a> {
        use pandaemon_server::Decision;
        let may = a.user.name == "jane"
            && match a.resource {
                "certificatesigningrequests" => a.subresource == "approval",
                "signers" => (a.verb, a.name) == ("approve", "example.com/*"),
                _ => false,
            };
        match may {
            true => Decision::ALLOW.into(),
            false => Decision::NO_OPINION.into(),
        }
    }
}

#[tokio::test]
async fn a_table_shows_signer_requestor_duration_and_condition() {
    let server = Server::start().await;
    let mut body = request("a", "example.com/own", &[]);
    body["spec"]["expirationSeconds"] = 86_400.into();
    server.post(REQUESTS, &body).await;
    let denied = json!({"status": {"conditions": [condition("Denied")]}});
    let path = format!("{REQUESTS}/a/approval");
    assert_eq!(server.send("PATCH", &path, MERGE, &denied).await.0, 200);
    let request = Request::get(REQUESTS)
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Body::empty())
        .unwrap();
    let response = server.client().send(request).await.unwrap();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let table = json_of(std::str::from_utf8(&bytes).unwrap());
    let columns = table["columnDefinitions"].as_array().unwrap();
    let columns: Vec<&Value> = columns.iter().map(|column| &column["name"]).collect();
    let expected = [
        "Name",
        "Age",
        "SignerName",
        "Requestor",
        "RequestedDuration",
        "Condition",
    ];
    assert_eq!(columns, expected);
    let cells = &table["rows"][0]["cells"];
    assert_eq!(
        (&cells[2], &cells[3]),
        (&json!("example.com/own"), &json!("pandaemon-admin"))
    );
    assert_eq!((&cells[4], &cells[5]), (&json!("24h"), &json!("Denied")));
}
