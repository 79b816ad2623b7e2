//! The documents by which other services verify the tokens of service accounts.

use http::{HeaderValue, Response, header};
use serde_json::Value;

use crate::{api::Api, handlers::response, http::body::Body, service_accounts::openid};

/// How long a client may keep a document. New keys are published longer before they sign.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// Handles [`openid::CONFIGURATION_PATH`].
pub(crate) fn configuration(api: &Api) -> Response<Body> {
    let document = openid::configuration(&api.service_accounts, &api.address);
    answer("application/json", &document)
}

/// Handles [`openid::JWKS_PATH`].
pub(crate) fn key_set(api: &Api) -> Response<Body> {
    let document = openid::key_set(&api.service_accounts);
    answer("application/jwk-set+json", &document)
}

fn answer(content_type: &'static str, document: &Value) -> Response<Body> {
    let mut response = response::with_type(200, content_type, Body::full(document.to_string()));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    response
}
