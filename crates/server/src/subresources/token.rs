//! `serviceaccounts/token`: checks the request; tokens are not given out yet.

use http::Response;
use pandaemon_machinery::{
    Status, scheme,
    status::Result,
    validation::{ErrorType, FieldError},
};

use crate::{body::Body, resource::Asked};

/// The shortest life of a token.
const SHORTEST: i64 = 600;
/// The longest.
const LONGEST: i64 = 1 << 32;

/// Answers a POST of a TokenRequest.
///
/// # Errors
/// 404 without the account, 422 for a life that is too short or too long, 501 otherwise.
pub(crate) fn answer(asked: &Asked<'_>) -> Result<Response<Body>> {
    let call = asked.call()?;
    let kind = scheme::find_kind("authentication.k8s.io", "v1", "TokenRequest")
        .ok_or_else(Status::path_not_found)?;
    let request = asked.decoded(kind, &call)?.value;
    asked.api.registry.current(&call)?;
    let seconds = request["spec"]["expirationSeconds"]
        .as_i64()
        .unwrap_or(3600);
    let fault = match seconds {
        s if s < SHORTEST => "may not specify a duration less than 10 minutes",
        s if s > LONGEST => "may not specify a duration larger than 2^32 seconds",
        _ => return Err(super::unsupported("the token of a service account")),
    };
    let error = FieldError {
        field: "spec.expirationSeconds".into(),
        error_type: ErrorType::Invalid(seconds.to_string()),
        detail: fault.into(),
    };
    Err(Status::invalid(kind, "", &[error]))
}
