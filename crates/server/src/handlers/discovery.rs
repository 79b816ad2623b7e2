//! HTTP handlers of discovery and OpenAPI documents.

use http::{HeaderValue, Response, header};
use pandaemon_machinery::{Scheme, Status, discovery, openapi, status::Result};
use serde_json::{Value, json};

use crate::{
    api::{Api, Incoming},
    handlers::{render, response},
    http::{
        body::Body,
        negotiate::{self, Form},
        request::Target,
    },
    service_accounts::openid,
};

/// Handles `/api`, `/apis` and the paths of groups and versions below them.
///
/// # Errors
/// 406 if the `Accept` header names no supported media type.
pub(crate) fn answer(api: &Api, incoming: &Incoming, target: &Target) -> Result<Response<Body>> {
    let (form, scheme) = (incoming.form()?, &incoming.scheme);
    let preferred = negotiate::aggregated_discovery(incoming.headers());
    let plain = |value: Option<Value>| match value {
        Some(value) => document(&form, &value),
        None => response::text(404, "404 page not found\n"),
    };
    Ok(match (target, preferred) {
        (Target::CoreVersions, Some(version)) => aggregated(scheme, true, version),
        (Target::Groups, Some(version)) => aggregated(scheme, false, version),
        (Target::CoreVersions, None) => plain(Some(discovery::api_versions(scheme, &api.address))),
        (Target::Groups, None) => plain(Some(discovery::api_groups(scheme))),
        (Target::Group(group), _) => plain(discovery::api_group(scheme, group)),
        (Target::GroupVersion(group, version), _) => {
            plain(discovery::resource_list(scheme, group, version))
        }
        (Target::Resource(_) | Target::Other, _) => plain(None),
    })
}

fn document(form: &Form, value: &Value) -> Response<Body> {
    response::value(200, form, value)
}

fn aggregated(scheme: &Scheme, core: bool, version: &'static str) -> Response<Body> {
    let value = discovery::aggregated(scheme, core, version);
    let content_type = match version {
        "v2beta1" => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    };
    let mut response = response::with_type(
        200,
        content_type,
        Body::full(render::encode(&Form::default(), &value)),
    );
    response
        .headers_mut()
        .insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// Handles `/openapi/v3` and the documents below it.
///
/// # Errors
/// 500 if a document cannot be decompressed.
pub(crate) fn openapi_v3(incoming: &Incoming) -> Result<Response<Body>> {
    let path = incoming.path().trim_end_matches('/');
    let Some(name) = path.strip_prefix("/openapi/v3/") else {
        return Ok(document(
            &Form::default(),
            &openapi::index(&incoming.scheme),
        ));
    };
    match openapi::v3(&incoming.scheme, name) {
        Some(document) => compressed_document(incoming, document, "application/json"),
        None => Ok(response::text(404, "404 page not found\n")),
    }
}

/// Handles `/openapi/v2`, as JSON or protobuf.
///
/// # Errors
/// 500 if the document cannot be decompressed.
pub(crate) fn openapi_v2(incoming: &Incoming) -> Result<Response<Body>> {
    let accepted = incoming
        .headers()
        .get(header::ACCEPT)
        .and_then(|v| v.to_str().ok());
    let protobuf = accepted.is_some_and(|accepted| accepted.contains("proto-openapi.spec.v2"));
    let content_type = if protobuf {
        openapi::V2_PROTOBUF_TYPE
    } else {
        "application/json"
    };
    let document = openapi::v2(&incoming.scheme, protobuf);
    compressed_document(incoming, document, content_type)
}

/// The response of a document that is kept compressed, with its `ETag`.
fn compressed_document(
    incoming: &Incoming,
    document: &openapi::Document,
    content_type: &'static str,
) -> Result<Response<Body>> {
    let etag = format!("\"{}\"", document.hash());
    let known = incoming
        .headers()
        .get(header::IF_NONE_MATCH)
        .and_then(|v| v.to_str().ok());
    let mut response = if known == Some(&etag) {
        response::with_type(304, content_type, Body::empty())
    } else if accepts_gzip(incoming) {
        let mut response =
            response::with_type(200, content_type, Body::full(document.gzip().to_vec()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        let text = document.unpack().map_err(Status::internal)?;
        response::with_type(200, content_type, Body::full(text))
    };
    let headers = response.headers_mut();
    headers.insert(
        header::VARY,
        HeaderValue::from_static("Accept-Encoding, Accept"),
    );
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(header::ETAG, etag);
    }
    Ok(response)
}

fn accepts_gzip(incoming: &Incoming) -> bool {
    let accepted = incoming
        .headers()
        .get(header::ACCEPT_ENCODING)
        .and_then(|v| v.to_str().ok());
    accepted.is_some_and(|value| value.split(',').any(|part| part.trim().starts_with("gzip")))
}

/// The document of `/`: the served paths.
#[must_use]
pub(crate) fn root(scheme: &Scheme) -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, version) in scheme.group_versions() {
        if !group.is_empty() {
            paths.push(format!("/apis/{group}"));
            paths.push(format!("/apis/{group}/{version}"));
        }
    }
    for path in [
        openid::CONFIGURATION_PATH,
        "/cacerts",
        "/healthz",
        "/livez",
        "/livez/ping",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        openid::JWKS_PATH,
        "/readyz",
        "/readyz/ping",
        "/readyz/store",
        "/version",
    ] {
        paths.push(path.to_owned());
    }
    paths.dedup();
    json!({"paths": paths})
}
