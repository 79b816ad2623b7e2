//! Handlers of subresources other than those that are a part of the object, such as `status`.

pub(crate) mod binding;
pub(crate) mod eviction;
pub(crate) mod reviews;
pub(crate) mod streams;
pub(crate) mod token;

use http::Response;
use pandaemon_machinery::{Status, status::Result};

use crate::{handlers::resource_request::ResourceRequest, http::body::Body};

/// Handles a request to a subresource. The kind has it, and it supports the verb.
///
/// # Errors
/// The status of the failure.
pub(crate) async fn answer(request: ResourceRequest<'_>) -> Result<Response<Body>> {
    let name = request.path.subresource.as_deref().unwrap_or_default();
    match name {
        "binding" => binding::answer(&request).await,
        "eviction" => eviction::answer(&request).await,
        "log" => streams::log(request).await,
        "exec" | "attach" => streams::upgrade(request).await,
        "portforward" => streams::port_forward(request).await,
        "proxy" => streams::node(request).await,
        "token" => token::answer(&request).await,
        _ => Err(Status::path_not_found()),
    }
}

/// Handles a POST of an object that is not stored: a review, or a Binding.
///
/// # Errors
/// The status of the failure.
pub(crate) async fn answer_unstored(request: &ResourceRequest<'_>) -> Result<Response<Body>> {
    match request.kind.kind.as_str() {
        "Binding" => binding::answer(request).await,
        _ => reviews::answer(request).await,
    }
}
