//! The documents by which other services verify tokens: OpenID discovery and the key set.
//! Upstream: `pkg/serviceaccount/openidmetadata.go`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::TokenIssuer;
use crate::pki::SigningKey;

/// The path of the discovery document.
pub(crate) const CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";
/// The path of the key set.
pub(crate) const JWKS_PATH: &str = "/openid/v1/jwks";

/// The algorithm of all signatures.
const ALGORITHM: &str = "ES256";

/// The discovery document of a server at `HOST:PORT`.
pub(crate) fn configuration(issuer: &TokenIssuer, address: &str) -> Value {
    let own_uri = || format!("https://{address}{JWKS_PATH}");
    let jwks_uri = issuer.options.jwks_uri.clone();
    json!({
        "issuer": issuer.issuer(),
        "jwks_uri": jwks_uri.unwrap_or_else(own_uri),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
    })
}

/// The public keys.
pub(crate) fn key_set(issuer: &TokenIssuer) -> Value {
    let keys = issuer.keys.all();
    json!({"keys": keys.iter().map(|key| public_key(key)).collect::<Vec<_>>()})
}

fn public_key(key: &SigningKey) -> Value {
    let coordinates = key.point.get(1..).unwrap_or_default();
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    json!({
        "use": "sig",
        "kty": "EC",
        "kid": key.id,
        "crv": "P-256",
        "alg": ALGORITHM,
        "x": URL_SAFE_NO_PAD.encode(x),
        "y": URL_SAFE_NO_PAD.encode(y),
    })
}
