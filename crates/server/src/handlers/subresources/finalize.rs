//! `namespaces/finalize`: sets `spec.finalizers` of a Namespace.

use http::Response;
use pandaemon_machinery::{Status, status::Result};
use serde_json::Value;

use crate::{
    handlers::resource_request::ResourceRequest,
    http::body::Body,
    registry::{meta, update::Change},
};

/// Handles a PUT of a Namespace.
///
/// # Errors
/// 400 for another name than that of the path, 404 if it does not exist, 409 for an old resource
/// version.
pub(crate) async fn answer(request: &ResourceRequest<'_>) -> Result<Response<Body>> {
    let (view, call) = (request.view()?, request.call()?);
    let decoded = request.decoded(&request.kind, &call)?;
    let given = meta::name(&decoded.value);
    if !given.is_empty() && given != call.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            call.name
        )));
    }
    let version = meta::text(&decoded.value, "resourceVersion").to_owned();
    let left = meta::at(&decoded.value, &["spec", "finalizers"]).cloned();
    let written = request
        .api
        .registry
        .guaranteed_update(&call, |old| {
            let mut value: Value = old.clone();
            value["spec"] = match &left {
                Some(left) if left.as_array().is_some_and(|l| !l.is_empty()) => {
                    serde_json::json!({"finalizers": left})
                }
                _ => serde_json::json!({}),
            };
            if !version.is_empty() {
                meta::set(&mut value, "resourceVersion", &version);
            }
            Ok(Change {
                value,
                warnings: decoded.warnings.clone(),
                is_applied: false,
            })
        })
        .await?;
    Ok(request.written(&view, &written))
}
