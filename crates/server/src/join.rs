//! How an agent becomes a node: it shows the token and gets certificates.

use http::{Method, Response, request::Parts};
use pandaemon_machinery::{
    Kind, Status,
    decode::Decoded,
    scheme,
    status::{Details, Result},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    api::{self, Api},
    auth::{self, same_secret},
    body::Body,
    meta,
    registry::{Call, Registry, update::Change},
};

/// Where agents join.
pub(crate) const PATH: &str = "/pandaemon/v1/join";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    node_name: String,
    node_secret: String,
    client_csr: String,
    serving_csr: String,
}

/// `/cacerts`: the CA, for those who know its hash.
pub(crate) fn cacerts(api: &Api) -> Response<Body> {
    api::text(200, api.pki.ca.certificate.clone())
}

/// Answers a request to join.
///
/// # Errors
/// 401 for a wrong token, 403 for a name that belongs to another machine, 400 for anything unreadable.
pub(crate) async fn answer(api: &Api, parts: &Parts, body: &[u8]) -> Result<Response<Body>> {
    if parts.method != Method::POST {
        return Err(Status::method_not_allowed());
    }
    let token = auth::bearer(&parts.headers).unwrap_or_default();
    if !api.pki.tokens.may_join(token) {
        return Err(auth::unauthorized());
    }
    let request: Request = serde_json::from_slice(body)
        .map_err(|e| Status::bad_request(format!("the request to join could not be read: {e}")))?;
    check_name(&request.node_name)?;
    claim(&api.registry, &request.node_name, &request.node_secret).await?;
    let unreadable = |e: crate::pki::Error| {
        Status::bad_request(format!("the certificate request could not be used: {e}"))
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
    tracing::info!(node, "an agent joined");
    Ok(api::with_type(
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
        "node name {name:?} is no DNS name: use lower case letters, digits, '-' and '.'"
    )))
}

fn kind(plural: &str) -> Result<&'static Kind> {
    scheme::find_resource("", "v1", plural).ok_or_else(Status::path_not_found)
}

/// The first machine with a name keeps it as long as the Node is there.
async fn claim(registry: &Registry, node: &str, secret: &str) -> Result<()> {
    let name = format!("{node}.node-password.pandaemon");
    let call = Call::internal(kind("secrets")?, "kube-system", &name);
    let hash: String = Sha256::digest(format!("{node}:{secret}"))
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    // What a Secret holds is base64 in JSON; the hash is text.
    let data = json!({"hash": base64_of(&hash)});
    let Some(known) = registry.find(call.kind, "kube-system", &name) else {
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
    if same_secret(meta::text_at(&value, &["data", "hash"]), &base64_of(&hash)) {
        return Ok(());
    }
    if registry.find(kind("nodes")?, "", node).is_some() {
        return Err(taken(node));
    }
    registry
        .change(&call, |old| {
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

fn taken(node: &str) -> Box<Status> {
    let text = format!(
        "node {node:?} belongs to another machine (its node secret differs): choose another --node-name, or remove the old node first with: kubectl delete node {node}"
    );
    Status::failure(403, "Forbidden", text).with_details(Details {
        name: node.into(),
        kind: "nodes".into(),
        ..Details::default()
    })
}
