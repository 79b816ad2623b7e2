//! Renders the OpenAPI documents of the built-in kinds from the published definitions.

mod schemas;

use anyhow::Result;
use pandaemon_machinery::{
    Kind,
    openapi::render::{self, Version},
    scheme,
};
use serde_json::Value;

use super::definitions::Definitions;

/// The OpenAPI v3 document of a group version.
pub(crate) fn v3(definitions: &Definitions, group: &str, version: &str) -> Result<Value> {
    let scheme = scheme::built_in();
    let kinds = scheme.kinds().iter().map(|kind| &**kind);
    let kinds: Vec<&Kind> = kinds
        .filter(|kind| kind.group == group && kind.version == version)
        .collect();
    let schemas = schemas::render(definitions, &kinds, Version::V3)?;
    Ok(render::v3(scheme, &kinds, schemas))
}

/// The OpenAPI v2 document of all group versions.
pub(crate) fn v2(definitions: &Definitions) -> Result<Value> {
    let scheme = scheme::built_in();
    let kinds: Vec<&Kind> = scheme.kinds().iter().map(|kind| &**kind).collect();
    let schemas = schemas::render(definitions, &kinds, Version::V2)?;
    Ok(render::v2(scheme, &kinds, schemas))
}
