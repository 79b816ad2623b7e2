//! Joining, and what becomes of the certificates of nodes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{Full, StreamBody};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use pandaemon_certificates::ClientSubject;
use pandaemon_server::{AuthenticationOptions, Lifetimes};
use pandaemon_testkit::{self as testkit, ServerOptions, join::Joined};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{
    harness::{Server, json_of},
    wire::{ask, client_config, connect, start_agent},
};

/// What the node n1 may list.
const PODS: &str = "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1";

pub(crate) async fn join(
    server: &Server,
    node: &str,
    secret: &str,
    token: &str,
) -> Result<Joined, (u16, String)> {
    let key = rcgen::KeyPair::generate().unwrap();
    join_with(server, node, secret, token, &key).await
}

async fn join_with(
    server: &Server,
    node: &str,
    secret: &str,
    token: &str,
    key: &rcgen::KeyPair,
) -> Result<Joined, (u16, String)> {
    join_over(connect(server, None).await, (node, secret, token), key).await
}

async fn join_over(
    mut sender: SendRequest<Full<Bytes>>,
    (node, secret, token): (&str, &str, &str),
    key: &rcgen::KeyPair,
) -> Result<Joined, (u16, String)> {
    let body = testkit::join::request(node, secret, key);
    let (code, text) = ask(&mut sender, "POST", "/pandaemon/v1/join", token, &body).await;
    if code != 200 {
        return Err((code, text));
    }
    Ok(Joined::of(&json_of(&text), key))
}

pub(crate) fn token(server: &Server) -> String {
    server.running().agent_token()
}

#[tokio::test]
async fn an_agent_joins_with_the_token_and_gets_the_rights_of_its_node() {
    let server = Server::start().await;
    let refused = join(&server, "n1", "s", "nonsense").await.err().unwrap();
    assert_eq!(refused.0, 401);
    let joined = join(&server, "n1", "secret", &token(&server))
        .await
        .ok()
        .unwrap();
    let mut sender = connect(&server, Some((&joined.client, &joined.key))).await;
    let node = |name: &str| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    assert_eq!(
        ask(&mut sender, "POST", "/api/v1/nodes", "", &node("n1"))
            .await
            .0,
        201
    );
    let (code, text) = ask(&mut sender, "POST", "/api/v1/nodes", "", &node("n2")).await;
    assert_eq!(code, 403, "{text}");
    for (path, expected) in [(PODS, 200), ("/api/v1/pods", 403)] {
        let (code, text) = ask(&mut sender, "GET", path, "", &Value::Null).await;
        assert_eq!(code, expected, "{path}: {text}");
    }
}

#[tokio::test]
async fn a_node_name_belongs_to_the_first_machine_that_joined_with_it() {
    let server = Server::start().await;
    let token = token(&server);
    assert!(join(&server, "n1", "one", &token).await.is_ok());
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    assert_eq!(server.post("/api/v1/nodes", &node).await.0, 201);
    assert!(join(&server, "n1", "one", &token).await.is_ok());
    let (code, text) = join(&server, "n1", "two", &token).await.err().unwrap();
    assert!(
        code == 403 && text.contains("belongs to another machine"),
        "{code} {text}"
    );
    server
        .send("DELETE", "/api/v1/nodes/n1", "", &Value::Null)
        .await;
    assert!(join(&server, "n1", "two", &token).await.is_ok());
}

/// The code and the status of a GET with the certificate of a node.
async fn get_as(server: &Server, joined: &Joined, path: &str) -> (u16, Value) {
    let mut sender = connect(server, Some((&joined.client, &joined.key))).await;
    let (code, text) = ask(&mut sender, "GET", path, "", &Value::Null).await;
    (code, json_of(&text))
}

async fn create_node(server: &Server, name: &str) -> String {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    let (code, node) = server.post("/api/v1/nodes", &node).await;
    assert_eq!(code, 201, "{node}");
    node["metadata"]["uid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_rights_of_a_node_end_with_its_deletion() {
    let server = Server::start().await;
    let token = token(&server);
    let joined = join(&server, "n1", "one", &token).await.ok().unwrap();
    let uid = create_node(&server, "n1").await;
    let mut open = connect(&server, Some((&joined.client, &joined.key))).await;
    let pods = PODS;
    assert_eq!(ask(&mut open, "GET", pods, "", &Value::Null).await.0, 200);
    let deleted = server.send("DELETE", "/api/v1/nodes/n1", "", &Value::Null);
    assert_eq!(deleted.await.0, 200);
    // Also over a connection that was open before, and with new ones.
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    let (code, text) = ask(&mut open, "POST", "/api/v1/nodes", "", &node).await;
    let (again, status) = get_as(&server, &joined, pods).await;
    for (code, status) in [(code, json_of(&text)), (again, status)] {
        assert_eq!(
            (code, &status["reason"]),
            (403, &json!("Forbidden")),
            "{status}"
        );
        let details = &status["details"];
        assert_eq!(details["causes"][0]["reason"], "NodeDeleted");
        assert_eq!(
            (&details["kind"], &details["uid"]),
            (&json!("nodes"), &json!(uid))
        );
    }
    // A new machine of the name has its own rights, and the old one none.
    let other = join(&server, "n1", "two", &token).await.ok().unwrap();
    assert_eq!(get_as(&server, &other, pods).await.0, 200);
    let (code, status) = get_as(&server, &joined, pods).await;
    assert_eq!((code, &status["details"]["uid"]), (403, &json!(uid)));
}

#[tokio::test]
async fn a_certificate_without_a_record_of_its_key_has_no_rights() {
    let server = Server::start().await;
    let token = token(&server);
    let joined = join(&server, "n1", "one", &token).await.ok().unwrap();
    let record = "/api/v1/namespaces/kube-system/secrets/n1.node-password.pandaemon";
    assert_eq!(server.send("DELETE", record, "", &Value::Null).await.0, 200);
    let (code, status) = get_as(&server, &joined, PODS).await;
    assert_eq!(
        (code, &status["reason"]),
        (401, &json!("Unauthorized")),
        "{status}"
    );
    assert!(status.get("details").is_none());
    // It comes back with the same key, and renews with another.
    let key = rcgen::KeyPair::from_pem(&joined.key).unwrap();
    let again = join_with(&server, "n1", "one", &token, &key)
        .await
        .ok()
        .unwrap();
    let next = join(&server, "n1", "one", &token).await.ok().unwrap();
    for one in [&joined, &again, &next] {
        assert_eq!(get_as(&server, one, PODS).await.0, 200);
    }
}

#[tokio::test]
async fn a_record_of_the_time_without_keys_counts_until_its_node_is_deleted() {
    let server = Server::start().await;
    let joined = join(&server, "n1", "one", &token(&server))
        .await
        .ok()
        .unwrap();
    let uid = create_node(&server, "n1").await;
    let record = "/api/v1/namespaces/kube-system/secrets/n1.node-password.pandaemon";
    let patch = json!({"data": {"keys": null}});
    let patched = server.send("PATCH", record, "application/merge-patch+json", &patch);
    assert_eq!(patched.await.0, 200);
    assert_eq!(get_as(&server, &joined, PODS).await.0, 200);
    let deleted = server.send("DELETE", "/api/v1/nodes/n1", "", &Value::Null);
    assert_eq!(deleted.await.0, 200);
    let (code, status) = get_as(&server, &joined, PODS).await;
    assert_eq!((code, &status["details"]["uid"]), (403, &json!(uid)));
}

#[tokio::test]
async fn a_node_cannot_have_a_name_of_the_server() {
    let server = Server::start().await;
    for name in [
        "kubernetes",
        "kubernetes.default.svc",
        "localhost",
        "127.0.0.1",
        "A",
    ] {
        let refused = join(&server, name, "s", &token(&server))
            .await
            .err()
            .unwrap();
        assert!(
            refused.0 == 400 && refused.1.contains("node name"),
            "{refused:?}"
        );
    }
}

/// Whether a client of the API takes whoever has this certificate for the API server.
async fn is_taken_for_the_server(server: &Server, joined: &Joined, name: &str) -> bool {
    let agent = start_agent(joined).await;
    let config = client_config(
        &server.running().ca_pem(),
        Some((&joined.client, &joined.key)),
    );
    let stream = TcpStream::connect(agent).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
    connected.await.is_ok()
}

#[tokio::test]
async fn a_node_cannot_pass_for_the_server_and_serving_certificates_are_no_credentials() {
    let server = Server::start().await;
    let joined = join(&server, "n1", "s", &token(&server))
        .await
        .ok()
        .unwrap();
    for name in ["n1", "127.0.0.1", "node.example"] {
        assert!(
            !is_taken_for_the_server(&server, &joined, name).await,
            "{name}"
        );
    }
    let stream = crate::wire::tls(&server, Some((&joined.serving, &joined.key))).await;
    // TLS 1.3: the client learns with its first read that it was refused.
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.unwrap();
    pandaemon_runtime::spawn("client", async move { connection.await.is_ok() });
    let request = Request::get("/version").header(header::HOST, "x");
    let request = request.body(Full::<Bytes>::default()).unwrap();
    assert!(sender.send_request(request).await.is_err());
}

#[tokio::test]
async fn the_token_is_checked_before_a_body_is_read() {
    let server = Server::start().await;
    let stream = crate::wire::tls(&server, None).await;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.unwrap();
    pandaemon_runtime::spawn("client", async move { connection.await.is_ok() });
    // A body that never comes.
    let body = StreamBody::new(futures::stream::pending::<
        Result<hyper::body::Frame<Bytes>, std::convert::Infallible>,
    >());
    let request = Request::post("/pandaemon/v1/join")
        .header(header::HOST, "x")
        .header(header::AUTHORIZATION, "Bearer nonsense")
        .body(body)
        .unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 401);
}

fn short(own: u64, nodes: u64) -> ServerOptions {
    ServerOptions {
        certificates: Lifetimes {
            own: Duration::from_secs(own),
            nodes: Duration::from_secs(nodes),
        },
        ..ServerOptions::default()
    }
}

#[tokio::test]
async fn the_certificate_of_the_server_is_renewed_while_it_runs() {
    let server = Server::start_with(short(9, 3600)).await.unwrap();
    let joined = join(&server, "n1", "s", &token(&server))
        .await
        .ok()
        .unwrap();
    let shown = async || {
        let stream = crate::wire::tls(&server, None).await;
        let (_, session) = stream.get_ref();
        session.peer_certificates().unwrap()[0].clone()
    };
    let first = shown().await;
    let mut open = connect(&server, Some((&joined.client, &joined.key))).await;
    while shown().await == first {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(ask(&mut open, "GET", PODS, "", &Value::Null).await.0, 200);
}

#[tokio::test]
async fn an_expired_certificate_of_a_node_ends_also_on_an_open_connection() {
    let server = Server::start_with(short(3600, 2)).await.unwrap();
    let joined = join(&server, "n1", "s", &token(&server))
        .await
        .ok()
        .unwrap();
    let mut open = connect(&server, Some((&joined.client, &joined.key))).await;
    loop {
        let (code, text) = ask(&mut open, "GET", PODS, "", &Value::Null).await;
        match code {
            200 => tokio::time::sleep(Duration::from_millis(50)).await,
            code => break assert_eq!(code, 401, "{text}"),
        }
    }
}

#[tokio::test]
async fn a_node_renews_its_certificates_after_its_token_has_ended() {
    let server = Server::start().await;
    let joined = join(&server, "n1", "s", &token(&server))
        .await
        .ok()
        .unwrap();
    let uid = create_node(&server, "n1").await;
    let next = rcgen::KeyPair::generate().unwrap();
    let as_node = async |node: &str, key: &rcgen::KeyPair| {
        let sender = connect(&server, Some((&joined.client, &joined.key))).await;
        join_over(sender, (node, "other", "ended"), key).await
    };
    let renewed = as_node("n1", &next).await.ok().unwrap();
    assert_eq!(get_as(&server, &renewed, PODS).await.0, 200);
    let (code, text) = as_node("n2", &next).await.err().unwrap();
    assert!(
        code == 403 && text.contains("another node"),
        "{code} {text}"
    );
    let deleted = server.send("DELETE", "/api/v1/nodes/n1", "", &Value::Null);
    assert_eq!(deleted.await.0, 200);
    let (code, text) = as_node("n1", &next).await.err().unwrap();
    let details = &json_of(&text)["details"];
    assert_eq!((code, &details["uid"]), (403, &json!(uid)), "{text}");
    // Without a certificate the token is all there is.
    let plain = connect(&server, None).await;
    let refused = join_over(plain, ("n1", "s", "ended"), &next).await;
    assert_eq!(refused.err().unwrap().0, 401);
}

#[tokio::test]
async fn a_revoked_certificate_of_a_node_is_not_renewed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("revoked");
    std::fs::write(&path, "").unwrap();
    let options = ServerOptions {
        authentication: AuthenticationOptions {
            revoked_serials_file: Some(path.clone()),
            ..AuthenticationOptions::default()
        },
        ..ServerOptions::default()
    };
    let server = Server::start_with(options).await.unwrap();
    let joined = join(&server, "n1", "s", &token(&server))
        .await
        .ok()
        .unwrap();
    let der = CertificateDer::from_pem_slice(joined.client.as_bytes()).unwrap();
    let serial = ClientSubject::of(&der).unwrap().serial;
    std::fs::write(&path, serial).unwrap();
    // The file is read again within a second.
    while get_as(&server, &joined, PODS).await.0 != 401 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let sender = connect(&server, Some((&joined.client, &joined.key))).await;
    let next = rcgen::KeyPair::generate().unwrap();
    let refused = join_over(sender, ("n1", "s", "ended"), &next).await;
    assert_eq!(refused.err().unwrap().0, 401);
}

#[tokio::test]
async fn a_node_reads_what_its_own_server_verifies_clients_with() {
    let server = Server::start().await;
    let joined = join(&server, "n1", "s", &token(&server))
        .await
        .ok()
        .unwrap();
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let (code, found) = get_as(&server, &joined, path).await;
    assert_eq!(code, 200, "{found}");
    assert_eq!(found["data"]["client-ca-file"], joined.client_cas);
}
