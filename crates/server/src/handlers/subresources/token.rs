//! `serviceaccounts/token`: validates a TokenRequest. Tokens are not implemented.

use http::Response;
use pandaemon_machinery::{
    Status,
    status::Result,
    validation::{ErrorType, FieldError},
};

use crate::{handlers::resource_request::ResourceRequest, http::body::Body};

/// Minimum lifetime of a token, in seconds.
const MIN_SECONDS: i64 = 600;
/// Maximum lifetime of a token, in seconds.
const MAX_SECONDS: i64 = 1 << 32;

/// Handles a POST of a TokenRequest.
///
/// # Errors
/// 404 if the account does not exist, 422 for an invalid lifetime, 501 otherwise.
pub(crate) fn answer(request: &ResourceRequest<'_>) -> Result<Response<Body>> {
    let call = request.call()?;
    let kind = request
        .incoming
        .scheme
        .find_kind("authentication.k8s.io", "v1", "TokenRequest")
        .ok_or_else(Status::path_not_found)?;
    let token_request = request.decoded(kind, &call)?.value;
    request.api.registry.current(&call)?;
    let seconds = token_request["spec"]["expirationSeconds"]
        .as_i64()
        .unwrap_or(3600);
    let fault = match seconds {
        s if s < MIN_SECONDS => "may not specify a duration less than 10 minutes",
        s if s > MAX_SECONDS => "may not specify a duration larger than 2^32 seconds",
        _ => return Err(super::unsupported("the token of a service account")),
    };
    let error = FieldError {
        field: "spec.expirationSeconds".into(),
        error_type: ErrorType::Invalid(seconds.to_string()),
        detail: fault.into(),
    };
    Err(Status::invalid(kind, "", &[error]))
}
