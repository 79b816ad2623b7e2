//! `pods/eviction`: a delete that asks first. There are no disruption budgets yet, so the answer is yes.

use http::Response;
use pandaemon_machinery::{Status, scheme, status::Result};
use serde_json::Value;

use crate::{
    api, body::Body, meta, negotiate, registry::options::DeleteOptions, render, resource::Asked,
};

/// Answers a POST of an Eviction.
///
/// # Errors
/// 404 without the pod.
pub(crate) async fn answer(asked: &Asked<'_>) -> Result<Response<Body>> {
    let form = asked.incoming.form()?;
    let call = asked.call()?;
    let eviction = eviction(asked, &call)?;
    let given = meta::name(&eviction);
    if !given.is_empty() && given != call.name {
        return Err(Status::bad_request(format!(
            "name in URL does not match name in Eviction object: {} vs {given}",
            call.name
        )));
    }
    let options = eviction.get("deleteOptions").filter(|v| v.is_object());
    let mut options = DeleteOptions::parse(&asked.incoming.query, options)?;
    options.dry_run |= call.options.dry_run;
    asked.api.registry.delete(&call, &options).await?;
    let mut status = Status::success(None);
    status.code = 201;
    let value = serde_json::to_value(&status).unwrap_or_default();
    Ok(api::respond(
        201,
        &form,
        Body::full(render::encode(&form, &value)),
    ))
}

fn eviction(asked: &Asked<'_>, call: &crate::registry::Call) -> Result<Value> {
    let media = negotiate::body_media(asked.incoming.headers())?;
    let text = std::str::from_utf8(&asked.incoming.body).unwrap_or_default();
    let version = if text.contains("policy/v1beta1") {
        "v1beta1"
    } else {
        "v1"
    };
    let kind =
        scheme::find_kind("policy", version, "Eviction").ok_or_else(Status::path_not_found)?;
    let mode = call.options.validation;
    Ok(pandaemon_machinery::decode::decode(kind, &asked.incoming.body, media, mode)?.value)
}
