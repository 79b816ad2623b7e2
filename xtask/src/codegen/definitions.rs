//! The published definitions of the OpenAPI schema, and the references between them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;
use serde_json::Value;

/// Definitions by full name, such as `io.k8s.api.core.v1.Pod`.
pub(crate) type Definitions = BTreeMap<String, Value>;

/// Reads a gzipped JSON file `{"definitions": {...}}`.
///
/// # Errors
/// If the file cannot be read, or is not of this form.
pub(crate) fn read(path: &Path) -> Result<Definitions> {
    let file = std::fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut text = String::new();
    GzDecoder::new(file)
        .read_to_string(&mut text)
        .with_context(|| format!("unpack {}", path.display()))?;
    let mut document: Value = serde_json::from_str(&text)?;
    serde_json::from_value(document["definitions"].take()).context("read definitions")
}

/// The full names of all definitions that the roots refer to, directly or not, and of the roots.
///
/// # Errors
/// If a definition is missing.
pub(crate) fn closure<'a>(
    definitions: &'a Definitions,
    roots: &[&str],
) -> Result<BTreeSet<&'a str>> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<String> = roots.iter().map(|&r| r.to_owned()).collect();
    while let Some(name) = open.pop() {
        let (key, definition) = definitions
            .get_key_value(&name)
            .with_context(|| format!("definition {name} is missing"))?;
        if reached.insert(key.as_str()) {
            references(definition, &mut open);
        }
    }
    Ok(reached)
}

/// Whether a definition requires the field.
pub(crate) fn requires(definition: &Value, field: &str) -> bool {
    definition["required"]
        .as_array()
        .is_some_and(|names| names.iter().any(|name| name == field))
}

/// The name of the definition that a schema refers to.
pub(crate) fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/definitions/")
}

fn references(schema: &Value, found: &mut Vec<String>) {
    if let Some(name) = reference(schema) {
        found.push(name.to_owned());
    }
    match schema {
        Value::Object(map) => map.values().for_each(|value| references(value, found)),
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}
