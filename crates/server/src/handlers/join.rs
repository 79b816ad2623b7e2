//! Joining of agents: an agent sends the join token and gets its certificates.

use http::{Method, Response, request::Parts};
use pandaemon_machinery::{
    Status,
    decode::Decoded,
    status::{Details, Result},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    api::Api,
    auth,
    handlers::response,
    http::body::Body,
    pki::{constant_time_eq, sha256_hex},
    registry::{Registry, kinds, meta, update::Change},
};

/// The path to which agents send join requests.
pub(crate) const PATH: &str = "/pandaemon/v1/join";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    node_name: String,
    node_secret: String,
    client_csr: String,
    serving_csr: String,
}

/// Handles `/cacerts`: the CA certificate, which an agent verifies with the hash in its token.
pub(crate) fn cacerts(api: &Api) -> Response<Body> {
    response::text(200, api.pki.ca.certificate.clone())
}

/// Handles a join request.
///
/// # Errors
/// 401 for a wrong token, 403 for a node name that belongs to another machine, 400 for a body or a
/// certificate request that cannot be read.
pub(crate) async fn answer(api: &Api, parts: &Parts, body: &[u8]) -> Result<Response<Body>> {
    if parts.method != Method::POST {
        return Err(Status::method_not_allowed());
    }
    let token = auth::bearer_token(&parts.headers).unwrap_or_default();
    if !api.pki.tokens.may_join(token) {
        return Err(auth::unauthorized());
    }
    let request: Request = serde_json::from_slice(body)
        .map_err(|e| Status::bad_request(format!("cannot read the join request: {e}")))?;
    check_name(&request.node_name)?;
    claim_name(&api.registry, &request.node_name, &request.node_secret).await?;
    let unreadable = |e: crate::pki::Error| {
        Status::bad_request(format!("cannot use the certificate request: {e}"))
    };
    let node = &request.node_name;
    let client = api
        .pki
        .sign_client(&request.client_csr, node)
        .map_err(unreadable)?;
    let serving = api
        .pki
        .sign_serving(&request.serving_csr, node)
        .map_err(unreadable)?;
    let answer = json!({
        "clientCertificate": client,
        "servingCertificate": serving,
        "caCertificate": api.pki.ca.certificate,
    });
    tracing::info!(node, "issued certificates to a joining agent");
    Ok(response::with_type(
        200,
        "application/json",
        Body::full(answer.to_string()),
    ))
}

fn check_name(name: &str) -> Result<()> {
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    let bytes = name.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    let ends_well = ends
        .iter()
        .all(|b| b.is_some_and(u8::is_ascii_alphanumeric));
    if ends_well && bytes.len() <= 253 && bytes.iter().all(|b| valid(*b)) {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "node name {name:?} is not a DNS name: use lower case letters, digits, '-' and '.'"
    )))
}

/// Binds a node name to the secret of the machine that used it first, for as long as the Node
/// exists. The hash of the secret is stored in a Secret.
async fn claim_name(registry: &Registry, node: &str, secret: &str) -> Result<()> {
    let name = format!("{node}.node-password.pandaemon");
    let call = registry.internal_call(kinds::secrets()?, "kube-system", &name);
    let hash = sha256_hex(format!("{node}:{secret}").as_bytes());
    // The data of a Secret is base64 in JSON.
    let data = json!({"hash": base64_of(&hash)});
    let Some(known) = registry.find(&call.kind, "kube-system", &name) else {
        let value = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "pandaemon.dev/node-password",
            "metadata": {"name": name, "namespace": "kube-system"}, "data": data,
        });
        registry
            .create(
                &call,
                Decoded {
                    value,
                    warnings: Vec::new(),
                },
            )
            .await?;
        return Ok(());
    };
    let value = known.value().map_err(crate::registry::unreadable)?;
    if constant_time_eq(meta::text_at(&value, &["data", "hash"]), &base64_of(&hash)) {
        return Ok(());
    }
    if registry.find(kinds::nodes()?, "", node).is_some() {
        return Err(name_taken(node));
    }
    registry
        .guaranteed_update(&call, |old| {
            let mut value: Value = old.clone();
            value["data"] = data.clone();
            Ok(Change {
                value,
                warnings: Vec::new(),
                is_applied: false,
            })
        })
        .await?;
    Ok(())
}

fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn name_taken(node: &str) -> Box<Status> {
    let text = format!(
        "node {node:?} belongs to another machine (its node secret differs): choose another --node-name, or remove the old node first with: kubectl delete node {node}"
    );
    Status::failure(403, "Forbidden", text).with_details(Details {
        name: node.into(),
        kind: "nodes".into(),
        ..Details::default()
    })
}
