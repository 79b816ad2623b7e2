//! Handlers of subresources other than `status` and `ephemeralcontainers`.

pub(crate) mod binding;
pub(crate) mod eviction;
pub(crate) mod finalize;
pub(crate) mod reviews;
pub(crate) mod streams;
pub(crate) mod token;

use http::Response;
use pandaemon_machinery::{Status, status::Result};

use crate::{body::Body, request::Verb, resource_request::ResourceRequest};

/// Handles a request to a subresource. The kind has it, and it supports the verb.
///
/// # Errors
/// The status of the failure.
pub(crate) async fn answer(request: ResourceRequest<'_>) -> Result<Response<Body>> {
    let name = request.path.subresource.as_deref().unwrap_or_default();
    match (request.kind.storage, name) {
        ("pods", "binding") if request.verb == Verb::Create => binding::answer(&request).await,
        ("pods", "eviction") => eviction::answer(&request).await,
        ("pods", "log") => streams::log(request).await,
        ("pods", "exec" | "attach") => streams::upgrade(request).await,
        ("pods", "portforward") => streams::port_forward(request).await,
        ("nodes", "proxy") => streams::node(request).await,
        ("namespaces", "finalize") => finalize::answer(&request).await,
        ("serviceaccounts", "token") => token::answer(&request),
        _ => Err(Status::path_not_found()),
    }
}

/// The status of a request that this server does not implement (501).
#[must_use]
pub(crate) fn unsupported(what: &str) -> Box<Status> {
    Status::failure(
        501,
        "NotImplemented",
        format!("{what} is not supported by this server"),
    )
}
