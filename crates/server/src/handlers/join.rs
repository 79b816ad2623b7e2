//! Joining of agents of earlier versions: an agent sends the join token and gets its certificates.
//! Those of today send CertificateSigningRequests.

use std::sync::Arc;

use http::{Method, Response, request::Parts};
use pandaemon_certificates::{CertificateRequest, request};
use pandaemon_machinery::{Status, status::Result};
use serde::Deserialize;
use serde_json::json;

use crate::{
    api::Api,
    auth::{self, BOOTSTRAPPERS, CERTIFICATE_KEY, JOIN_TOKEN_USER, NODE_NAME, User},
    handlers::response,
    http::body::Body,
    pki::{PeerCertificate, check_node_name, sha256_hex},
    registry::node_record::{Claim, Proof},
};

/// The path to which agents send join requests.
pub(crate) const PATH: &str = "/pandaemon/v1/join";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    node_name: String,
    /// Of agents that do not keep their key.
    node_secret: Option<String>,
    client_csr: String,
    serving_csr: String,
}

/// Handles `/cacerts`: the CA certificate, which an agent verifies with the hash in its token.
pub(crate) fn cacerts(api: &Api) -> Response<Body> {
    response::text(200, api.pki.server_ca().to_owned())
}

/// The user of a join request, which is checked before its body is read: that of the token, else
/// the node whose client certificate comes with it, which renews its certificates after its token
/// has ended.
///
/// # Errors
/// 401 for a token that is not valid, 403 for one of another user or a certificate of a deleted
/// node, 405 for another method than POST.
pub(crate) async fn authenticate(api: &Api, parts: &Parts) -> Result<User> {
    if parts.method != Method::POST {
        return Err(Status::method_not_allowed());
    }
    let token = auth::bearer_token(&parts.headers).unwrap_or_default();
    match api.authenticators.authenticate_token(token, &[]).await {
        Ok(info) if info.user.is_in(BOOTSTRAPPERS) => Ok(info.user),
        Ok(info) => Err(Status::failure(
            403,
            "Forbidden",
            format!(
                "User {:?} cannot join: that takes a join token",
                info.user.name
            ),
        )),
        Err(_) => match parts
            .extensions
            .get::<Arc<PeerCertificate>>()
            .map(|it| &**it)
        {
            Some(PeerCertificate::Client(own)) if own.user.node().is_some() => {
                api.check_validity(&own.validity)?;
                api.registry.check_node_key(own)?;
                Ok(own.user.clone())
            }
            _ => Err(auth::unauthorized()),
        },
    }
}

/// Handles a join request whose token was checked.
///
/// # Errors
/// 403 for a node name that belongs to another machine, or that the token or the certificate is not
/// for; 400 for a body or a certificate request that cannot be read, and for a name that no node
/// can have.
pub(crate) async fn answer(api: &Api, user: &User, body: &[u8]) -> Result<Response<Body>> {
    let request: Request = serde_json::from_slice(body)
        .map_err(|e| Status::bad_request(format!("cannot read the join request: {e}")))?;
    let node = request.node_name.as_str();
    check_node_name(node).map_err(Status::bad_request)?;
    let bound_to = user.extra.get(NODE_NAME);
    if bound_to.is_some_and(|names| names.iter().any(|name| name != node)) {
        let text = format!("this token is for another node than {node:?}");
        return Err(Status::failure(403, "Forbidden", text));
    }
    if user.node().is_some_and(|own| own != node) {
        let text = format!("this certificate is of another node than {node:?}");
        return Err(Status::failure(403, "Forbidden", text));
    }
    let own_key = user
        .extra
        .get(CERTIFICATE_KEY)
        .and_then(|keys| keys.first());
    let proof = match (own_key, &request.node_secret) {
        (Some(key), _) => Proof::Key(key.clone()),
        (None, Some(secret)) => Proof::Secret(sha256_hex(format!("{node}:{secret}").as_bytes())),
        (None, None) => Proof::None,
    };
    let client = certificate_request(&request.client_csr)?;
    let serving = certificate_request(&request.serving_csr)?;
    let claim = Claim {
        node,
        key: &sha256_hex(&client.public_key),
        proof,
        node_may_exist: bound_to.is_some() || user.node().is_some() || user.name == JOIN_TOKEN_USER,
    };
    api.registry.claim_node(&claim).await?;
    let unusable = |error: crate::pki::Error| {
        Status::bad_request(format!("cannot use the certificate request: {error}"))
    };
    let client_ca = api.pki.client_cas().concat();
    let answer = json!({
        "clientCertificate": api.pki.sign_node_client(&client, node, None).map_err(unusable)?,
        "servingCertificate": api.pki.sign_node_serving(&serving, node, None).map_err(unusable)?,
        // What the server is verified with.
        "serverCaCertificate": api.pki.server_ca(),
        // What clients of the agent are verified with.
        "clientCaCertificate": client_ca,
        // Both, the first first, for agents that know one CA only.
        "caCertificate": format!("{}{client_ca}", api.pki.server_ca()),
    });
    tracing::info!(node, "issued certificates to a joining agent");
    Ok(response::with_type(
        200,
        "application/json",
        Body::full(answer.to_string()),
    ))
}

fn certificate_request(pem: &str) -> Result<CertificateRequest> {
    request::parse(pem.as_bytes())
        .map_err(|why| Status::bad_request(format!("cannot use the certificate request: {why}")))
}
