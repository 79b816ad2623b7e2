//! Tokens of service accounts: a node gets those of its pods, for the audiences of their volumes.

use pandaemon_machinery::{Status, status::Result};
use serde_json::Value;

use super::{
    super::{
        plugin::Attributes,
        rule::{Operation, Rule},
    },
    rule as rule_for,
};
use crate::{
    auth,
    registry::{kinds, meta, pod_references},
};

/// The verb with which an authorizer is asked about other audiences.
const REQUEST_AUDIENCE: &str = "request-serviceaccounts-token-audience";

pub(super) fn rule() -> Rule {
    rule_for(&[Operation::Create], "", "serviceaccounts/token").looks_up("", "pods")
}

/// Checks a TokenRequest. Upstream: `admitServiceAccount`.
pub(super) async fn check_token_request(
    attributes: Attributes<'_>,
    own: &str,
    request: &Value,
) -> Result<()> {
    let pod = bound_pod(&attributes, own, request)?;
    let audiences = pod_references::items(&request["spec"]["audiences"]);
    let audiences: Vec<_> = audiences.filter_map(Value::as_str).collect();
    let audience = match audiences[..] {
        [] => "",
        [audience] => audience,
        _ => return Err(attributes.forbidden("node may only request 0 or 1 audiences")),
    };
    if has_audience(&pod, audience) {
        return Ok(());
    }
    let wanted = auth::Attributes {
        namespace: attributes.namespace,
        resource: audience,
        name: attributes.name,
        ..auth::Attributes::new(attributes.user, REQUEST_AUDIENCE)
    };
    if attributes.is_allowed(&wanted).await {
        return Ok(());
    }
    let user = &attributes.user.name;
    Err(attributes.forbidden(&format!(
        "audience {audience:?} not found in pod spec volume, {user} is not authorized to request \
         tokens for this audience"
    )))
}

/// The pod to which the requested token will be bound: one of this node.
fn bound_pod(attributes: &Attributes<'_>, own: &str, request: &Value) -> Result<Value> {
    let reference = &request["spec"]["boundObjectRef"];
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let (name, uid) = (text("name"), text("uid"));
    if text("apiVersion") != "v1" || text("kind") != "Pod" || name.is_empty() {
        return Err(attributes.forbidden("node requested token not bound to a pod"));
    }
    if uid.is_empty() {
        return Err(attributes.forbidden("node requested token with a pod binding without a uid"));
    }
    let Some(pod) = attributes.find("", "pods", attributes.namespace, name)? else {
        return Err(Status::not_found(kinds::pods()?, name));
    };
    let pod = pod.value().map_err(Status::internal)?;
    if meta::text(&pod, "uid") != uid {
        return Err(attributes.forbidden(&format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The \
             object might have been deleted and then recreated"
        )));
    }
    if meta::text_at(&pod, &["spec", "nodeName"]) != own {
        let why = "node requested token bound to a pod scheduled on a different node";
        return Err(attributes.forbidden(why));
    }
    Ok(pod)
}

/// Whether a volume of the pod has a token for an audience; it is empty for the API server's own.
fn has_audience(pod: &Value, audience: &str) -> bool {
    let tokens =
        pod_references::projected_sources(pod).map(|source| &source["serviceAccountToken"]);
    let mut tokens = tokens.filter(|token| token.is_object());
    tokens.any(|token| token["audience"].as_str().unwrap_or_default() == audience)
}
