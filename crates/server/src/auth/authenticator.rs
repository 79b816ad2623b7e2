//! Authentication: client certificates (read during the TLS handshake) and bearer tokens.

use http::{HeaderMap, header, request::Parts};
use pandaemon_machinery::{Status, status::Result};

use super::user::{Caller, User};
use crate::pki::Tokens;

/// The token of an `Authorization: Bearer` header.
#[must_use]
pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The user of a request: from its client certificate, else its bearer token, else anonymous.
///
/// # Errors
/// 401 for an unknown token.
pub(crate) fn authenticate(parts: &Parts, tokens: &Tokens) -> Result<User> {
    if let Some(Caller(Some(user))) = parts.extensions.get::<Caller>() {
        return Ok(user.clone());
    }
    match bearer_token(&parts.headers) {
        None => Ok(User::anonymous()),
        Some(token) => tokens.user(token).ok_or_else(unauthorized),
    }
}

/// The status of a request without valid credentials (401).
#[must_use]
pub(crate) fn unauthorized() -> Box<Status> {
    Status::failure(401, "Unauthorized", "Unauthorized")
}
