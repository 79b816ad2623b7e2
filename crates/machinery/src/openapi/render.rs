//! Renders OpenAPI documents from kinds and schemas. `xtask codegen` renders those of built-in
//! kinds with it, the server those of kinds that came at run time.

use serde_json::{Map, Value, json};

use super::operations;
pub use super::{
    protobuf::encode,
    version::{Version, place},
};
use crate::{Kind, Scheme};

/// The document of version 3 of a group version with these kinds.
#[must_use]
pub fn v3(scheme: &Scheme, kinds: &[&Kind], schemas: Map<String, Value>) -> Value {
    json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths(scheme, kinds, Version::V3),
        "components": {"schemas": schemas, "securitySchemes": {"BearerToken": bearer_token()}},
    })
}

/// The document of version 2 with these kinds.
#[must_use]
pub fn v2(scheme: &Scheme, kinds: &[&Kind], definitions: Map<String, Value>) -> Value {
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": paths(scheme, kinds, Version::V2),
        "definitions": definitions,
        "securityDefinitions": {"BearerToken": bearer_token()},
        "security": [{"BearerToken": []}],
    })
}

/// The paths of kinds. `scheme` has the kinds of the bodies of their subresources.
pub(super) fn paths(scheme: &Scheme, kinds: &[&Kind], version: Version) -> Map<String, Value> {
    let kinds = kinds.iter();
    kinds
        .flat_map(|kind| operations::of_kind(scheme, kind, version))
        .collect()
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": "v1.33.0"})
}

fn bearer_token() -> Value {
    json!({
        "type": "apiKey", "name": "authorization", "in": "header",
        "description": "Bearer Token authentication",
    })
}
