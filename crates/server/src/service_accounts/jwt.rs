//! The web tokens of service accounts: only ES256 is used.

use jsonwebtoken::{Algorithm, Header, Validation, dangerous, errors::Error};
use serde::de::DeserializeOwned;

use super::claims::Claims;
use crate::{auth::TokenError, pki::SigningKey};

/// A token with these claims, signed by a key.
pub(super) fn sign(key: &SigningKey, claims: &Claims) -> Result<String, Error> {
    let header = Header {
        kid: Some(key.id.clone()),
        typ: None,
        ..Header::new(Algorithm::ES256)
    };
    jsonwebtoken::encode(&header, claims, &key.private)
}

/// The claims of a token that a key has signed, times and audiences unchecked.
pub(super) fn verify(key: &SigningKey, token: &str) -> Option<Claims> {
    let mut validation = Validation::new(Algorithm::ES256);
    // These are checked with the texts and the leeway of upstream.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let verified = jsonwebtoken::decode::<Claims>(token, &key.public, &validation);
    verified.ok().map(|token| token.claims)
}

/// The claims of a token whose signature is not verified.
///
/// # Errors
/// `Unknown` for what is no token.
pub(super) fn unverified_claims<T: DeserializeOwned>(token: &str) -> Result<T, TokenError> {
    dangerous::insecure_decode_claims(token).map_err(|_| TokenError::Unknown)
}

/// The ID of the key that has signed a token.
///
/// # Errors
/// `Unknown` for what is no token.
pub(super) fn key_id(token: &str) -> Result<Option<String>, TokenError> {
    let header = jsonwebtoken::decode_header(token);
    header
        .map(|header| header.kid)
        .map_err(|_| TokenError::Unknown)
}
