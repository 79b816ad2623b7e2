//! `pods/eviction`. PodDisruptionBudgets are not supported, so every eviction deletes the pod.

use http::Response;
use pandaemon_machinery::{Status, status::Result};
use serde_json::Value;

use crate::{
    admission::Operation,
    handlers::{resource_request::ResourceRequest, response},
    http::body::Body,
    registry::{Call, create, meta, options::DeleteOptions},
};

/// Handles a POST of an Eviction.
///
/// # Errors
/// 400 for another name or namespace than those of the path, 404 if the pod does not exist; the
/// errors of its deletion.
pub(crate) async fn answer(request: &ResourceRequest<'_>) -> Result<Response<Body>> {
    let form = request.incoming.form()?;
    let call = request.call()?;
    let mut eviction = eviction(request, &call)?;
    create::set_namespace(&call, &mut eviction)?;
    if meta::name(&eviction) != call.name {
        let text = "name in URL does not match name in Eviction object";
        return Err(Status::bad_request(text));
    }
    let registry = &request.api.registry;
    let admission = registry.admission(Operation::Create, &call, &call.name);
    let warnings = admission.run(&mut eviction).await?;
    let options = eviction.get("deleteOptions").filter(|v| v.is_object());
    let mut options = DeleteOptions::parse(&request.incoming.query, options)?;
    options.dry_run |= call.options.dry_run;
    let deletion = Call {
        is_admitted: true,
        ..call
    };
    registry.delete(&deletion, &options).await?;
    Ok(response::success(&form, &warnings))
}

fn eviction(request: &ResourceRequest<'_>, call: &Call) -> Result<Value> {
    let text = std::str::from_utf8(&request.incoming.body).unwrap_or_default();
    let version = if text.contains("policy/v1beta1") {
        "v1beta1"
    } else {
        "v1"
    };
    let scheme = &request.incoming.scheme;
    let kind = scheme
        .find_kind("policy", version, "Eviction")
        .ok_or_else(Status::path_not_found)?;
    Ok(request.decoded(kind, call)?.value)
}
