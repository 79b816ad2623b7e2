//! Subresources other than `/status`.

pub(crate) mod binding;
pub(crate) mod eviction;
pub(crate) mod finalize;
pub(crate) mod reviews;
pub(crate) mod streams;
pub(crate) mod token;

use http::Response;
use pandaemon_machinery::{Status, status::Result};

use crate::{body::Body, request::Verb, resource::Asked};

/// Answers a request to a subresource that the kind has and the verb fits.
///
/// # Errors
/// Whatever stands against it, as a `Status`.
pub(crate) async fn answer(asked: Asked<'_>) -> Result<Response<Body>> {
    let name = asked.path.subresource.as_deref().unwrap_or_default();
    match (asked.kind.storage, name) {
        ("pods", "binding") if asked.verb == Verb::Create => binding::answer(&asked).await,
        ("pods", "eviction") => eviction::answer(&asked).await,
        ("pods", "log") => streams::log(asked).await,
        ("pods", "exec" | "attach") => streams::upgrade(asked).await,
        ("pods", "portforward") => streams::port_forward(asked).await,
        ("nodes", "proxy") => streams::node(asked).await,
        ("namespaces", "finalize") => finalize::answer(&asked).await,
        ("serviceaccounts", "token") => token::answer(&asked),
        _ => Err(Status::path_not_found()),
    }
}

/// 501 for what this server does not do yet.
#[must_use]
pub(crate) fn unsupported(what: &str) -> Box<Status> {
    Status::failure(
        501,
        "NotImplemented",
        format!("{what} is not supported by this server"),
    )
}
