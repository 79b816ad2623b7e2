//! Renders the OpenAPI documents: version 3 for each group version, version 2 for all together.

mod operations;
mod parameters;
mod protobuf;
mod schemas;

pub(crate) use protobuf::encode;

use anyhow::Result;
use pandaemon_machinery::{Kind, scheme};
use serde_json::{Map, Value, json};

use super::definitions::Definitions;

/// The version of a document. Both have the same content in different structures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// Swagger 2.0: one document.
    V2,
    /// OpenAPI 3.0: a document for each group version.
    V3,
}

impl Version {
    /// A reference to a schema of the document.
    fn reference(self, name: &str) -> Value {
        let place = if self == Self::V2 {
            "definitions"
        } else {
            "components/schemas"
        };
        json!({"$ref": format!("#/{place}/{name}")})
    }
}

/// The path of a group version below `/openapi/v3/`, such as `apis/apps/v1`.
pub(crate) fn place(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// The OpenAPI v3 document of a group version.
pub(crate) fn v3(definitions: &Definitions, group: &str, version: &str) -> Result<Value> {
    let kinds: Vec<&Kind> = scheme::built_in()
        .kinds()
        .iter()
        .map(|kind| &**kind)
        .filter(|k| k.group == group && k.version == version)
        .collect();
    let schemas = schemas::render(definitions, &kinds, Version::V3)?;
    Ok(json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths(&kinds, Version::V3),
        "components": {"schemas": schemas, "securitySchemes": {"BearerToken": bearer_token()}},
    }))
}

/// The OpenAPI v2 document of all group versions.
pub(crate) fn v2(definitions: &Definitions) -> Result<Value> {
    let kinds = scheme::built_in().kinds().iter();
    let kinds: Vec<&Kind> = kinds.map(|kind| &**kind).collect();
    Ok(json!({
        "swagger": "2.0",
        "info": info(),
        "paths": paths(&kinds, Version::V2),
        "definitions": schemas::render(definitions, &kinds, Version::V2)?,
        "securityDefinitions": {"BearerToken": bearer_token()},
        "security": [{"BearerToken": []}],
    }))
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

fn paths(kinds: &[&Kind], version: Version) -> Map<String, Value> {
    kinds
        .iter()
        .flat_map(|kind| operations::of_kind(kind, version))
        .collect()
}
