//! Joining of nodes, as agents do it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use http::{Request, header};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::Server;

/// The certificates of a node that has joined and their key, in PEM.
pub struct Joined {
    /// The client certificate.
    pub client: String,
    /// The certificate with which the agent serves.
    pub serving: String,
    /// The CAs of the clients of the agent.
    pub client_cas: String,
    /// The key of both certificates.
    pub key: String,
}

impl Joined {
    /// Reads the answer to a [`request`] with this key.
    ///
    /// # Panics
    /// When a certificate is missing.
    #[must_use]
    pub fn of(answer: &Value, key: &KeyPair) -> Self {
        let field = |name: &str| answer[name].as_str().unwrap().to_owned();
        Self {
            client: field("clientCertificate"),
            serving: field("servingCertificate"),
            client_cas: field("clientCaCertificate"),
            key: key.serialize_pem(),
        }
    }
}

/// The body of a join request. The secret proves later that the node's name is the sender's.
///
/// # Panics
/// When the node's name is not ASCII.
#[must_use]
pub fn request(node: &str, secret: &str, key: &KeyPair) -> Value {
    let names = vec![node.to_owned(), "127.0.0.1".to_owned()];
    let params = CertificateParams::new(names).unwrap();
    let request = params.serialize_request(key).unwrap().pem().unwrap();
    json!({"nodeName": node, "nodeSecret": secret, "clientCsr": request, "servingCsr": request})
}

/// Joins a node with the token of the data directory.
///
/// # Panics
/// When the server refuses.
pub async fn join(server: &Server, node: &str) -> Joined {
    let key = KeyPair::generate().unwrap();
    let token = server.running().agent_token();
    let body = request(node, node, &key).to_string().into_bytes();
    let request = Request::post("/pandaemon/v1/join")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(body)
        .unwrap();
    let answer = server.client().request_text(request).await.unwrap();
    Joined::of(&serde_json::from_str(&answer).unwrap(), &key)
}
