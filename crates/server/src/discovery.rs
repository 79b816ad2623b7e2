//! Discovery and OpenAPI over HTTP.

use http::{HeaderValue, Response, header};
use pandaemon_machinery::{Status, catalogue, discovery, openapi, status::Result};
use serde_json::{Value, json};

use crate::{
    api::{self, Api, Incoming},
    body::Body,
    negotiate::{self, Form},
    render,
    request::Target,
};

/// Answers `/api`, `/apis` and what is below them, objects excepted.
///
/// # Errors
/// 406.
pub fn answer(api: &Api, incoming: &Incoming, target: &Target) -> Result<Response<Body>> {
    let form = incoming.form()?;
    let preferred = negotiate::aggregated_discovery(incoming.headers());
    let plain = |value: Option<Value>| match value {
        Some(value) => document(&form, &value),
        None => api::text(404, "404 page not found\n"),
    };
    Ok(match (target, preferred) {
        (Target::CoreVersions, Some(version)) => aggregated(true, version),
        (Target::Groups, Some(version)) => aggregated(false, version),
        (Target::CoreVersions, None) => plain(Some(discovery::api_versions(&api.address))),
        (Target::Groups, None) => plain(Some(discovery::api_groups())),
        (Target::Group(group), _) => plain(discovery::api_group(group)),
        (Target::GroupVersion(group, version), _) => {
            plain(discovery::resource_list(group, version))
        }
        (Target::Resource(_) | Target::Other, _) => plain(None),
    })
}

fn document(form: &Form, value: &Value) -> Response<Body> {
    api::respond(200, form, Body::full(render::encode(form, value)))
}

fn aggregated(core: bool, version: &'static str) -> Response<Body> {
    let value = discovery::aggregated(core, version);
    let content_type = match version {
        "v2beta1" => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    };
    let mut response = api::with_type(
        200,
        content_type,
        Body::full(render::encode(&Form::default(), &value)),
    );
    response
        .headers_mut()
        .insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// `/openapi/v3` and the documents below it.
///
/// # Errors
/// 500 when a document cannot be unpacked.
pub fn openapi(incoming: &Incoming) -> Result<Response<Body>> {
    let path = incoming.path().trim_end_matches('/');
    let Some(name) = path.strip_prefix("/openapi/v3/") else {
        return Ok(document(&Form::default(), &openapi::index()));
    };
    let Some((packed, hash)) = openapi::document_gzip(name) else {
        return Ok(api::text(404, "404 page not found\n"));
    };
    let etag = format!("\"{hash}\"");
    let known = incoming
        .headers()
        .get(header::IF_NONE_MATCH)
        .and_then(|v| v.to_str().ok());
    if known == Some(&etag) {
        return Ok(api::with_type(304, "application/json", Body::empty()));
    }
    let mut response = if accepts_gzip(incoming) {
        let mut response = api::with_type(200, "application/json", Body::full(packed.into_owned()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        api::with_type(200, "application/json", Body::full(unpacked(&packed)?))
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
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

fn unpacked(packed: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(packed);
    std::io::Read::read_to_end(&mut decoder, &mut out).map_err(Status::internal)?;
    Ok(out)
}

/// `/`: the paths that are served.
#[must_use]
pub fn root() -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, version) in catalogue::group_versions() {
        if !group.is_empty() {
            paths.push(format!("/apis/{group}"));
            paths.push(format!("/apis/{group}/{version}"));
        }
    }
    for path in [
        "/cacerts",
        "/healthz",
        "/livez",
        "/livez/ping",
        "/metrics",
        "/openapi/v3",
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
