//! Bootstrap tokens, and joining with them.

use serde_json::{Value, json};

use crate::{
    harness::{Server, json_of},
    join::{join, token},
    wire::{ask, connect},
};

const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const SECRET: &str = "0123456789abcdef";

/// Creates a token with more data, and returns it as it is given to a machine.
async fn create_token(server: &Server, id: &str, data: Value) -> String {
    let mut all = json!({
        "token-id": id, "token-secret": SECRET, "usage-bootstrap-authentication": "true",
    });
    let fields = all.as_object_mut().unwrap();
    fields.extend(data.as_object().unwrap().clone());
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": format!("bootstrap-token-{id}")}, "stringData": all,
    });
    let (code, answer) = server.post(SECRETS, &secret).await;
    assert_eq!(code, 201, "{answer}");
    let (hash, _) = token(server)
        .split_once('.')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    format!("{hash}.{id}.{SECRET}")
}

#[tokio::test]
async fn a_machine_joins_with_a_bootstrap_token_until_it_is_revoked() {
    let server = Server::start().await;
    let token = create_token(&server, "abcdef", json!({})).await;
    assert!(join(&server, "n1", "s", &token).await.is_ok());
    let without_hash = format!("abcdef.{SECRET}");
    assert!(join(&server, "n2", "s", &without_hash).await.is_ok());
    let wrong = token.replace("0123", "3210");
    assert_eq!(join(&server, "n3", "s", &wrong).await.err().unwrap().0, 401);
    let path = format!("{SECRETS}/bootstrap-token-abcdef");
    assert_eq!(server.send("DELETE", &path, "", &Value::Null).await.0, 200);
    assert_eq!(join(&server, "n3", "s", &token).await.err().unwrap().0, 401);
}

#[tokio::test]
async fn a_token_for_a_node_is_for_no_other() {
    let server = Server::start().await;
    let token = create_token(&server, "abcdef", json!({"node-name": "n1"})).await;
    let refused = join(&server, "n2", "s", &token).await.err().unwrap();
    assert!(
        refused.0 == 403 && refused.1.contains("another node"),
        "{refused:?}"
    );
    assert!(join(&server, "n1", "s", &token).await.is_ok());
    // It does not take the name from another machine.
    let refused = join(&server, "n1", "t", &token).await.err().unwrap();
    assert!(
        refused.0 == 403 && refused.1.contains("another machine"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_token_for_any_node_gives_unused_names_only() {
    let server = Server::start().await;
    let node = |name: &str| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    for name in ["n1", "n2"] {
        assert_eq!(server.post("/api/v1/nodes", &node(name)).await.0, 201);
    }
    let any = create_token(&server, "abcdef", json!({})).await;
    assert_eq!(join(&server, "n1", "s", &any).await.err().unwrap().0, 403);
    let bound = create_token(&server, "fedcba", json!({"node-name": "n1"})).await;
    assert!(join(&server, "n1", "s", &bound).await.is_ok());
    assert!(join(&server, "n2", "s", &token(&server)).await.is_ok());
    let refused = join(&server, "n1", "other", &any).await.err().unwrap();
    assert!(
        refused.0 == 403 && refused.1.contains("another machine"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_bootstrap_token_has_no_other_rights() {
    let server = Server::start().await;
    let token = create_token(&server, "abcdef", json!({})).await;
    let expired = json!({"expiration": "2020-01-01T00:00:00Z"});
    let expired = create_token(&server, "fedcba", expired).await;
    let mut sender = connect(&server, None).await;
    for (path, token, expected) in [
        ("/api/v1/nodes", &token, 403),
        (SECRETS, &token, 403),
        ("/api/v1/nodes", &expired, 401),
    ] {
        let (code, text) = ask(&mut sender, "GET", path, token, &Value::Null).await;
        assert_eq!(code, expected, "{path} {text}");
    }
    let admin = server.running().admin_token();
    let (code, text) = ask(
        &mut sender,
        "POST",
        "/pandaemon/v1/join",
        &admin,
        &json!({}),
    )
    .await;
    assert_eq!(
        (code, &json_of(&text)["reason"]),
        (403, &json!("Forbidden"))
    );
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": format!("abcdef.{SECRET}")}});
    let (_, review) = server
        .post("/apis/authentication.k8s.io/v1/tokenreviews", &review)
        .await;
    let user = &review["status"]["user"];
    assert_eq!(user["username"], "system:bootstrap:abcdef", "{review}");
    assert_eq!(
        user["groups"],
        json!(["system:bootstrappers", "system:authenticated"])
    );
}
