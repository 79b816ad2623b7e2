//! The schemas of a document: the published definitions in the form of the OpenAPI version.

use anyhow::Result;
use pandaemon_machinery::{Kind, openapi::render::Version, scheme};
use serde_json::{Map, Value, json};

use crate::codegen::{
    definitions::{Definitions, closure, reference},
    tables::default_of,
};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// The schemas of the kinds, their lists and the bodies of their subresources, with all that they
/// refer to.
///
/// # Errors
/// If a definition is missing.
pub(super) fn render(
    definitions: &Definitions,
    kinds: &[&Kind],
    version: Version,
) -> Result<Map<String, Value>> {
    let mut roots: Vec<String> = ["DeleteOptions", "Patch", "Status", "WatchEvent"]
        .map(|n| format!("{META}.{n}"))
        .into();
    for kind in kinds {
        roots.push(kind.type_name.clone());
        if kind.has_verb("list") {
            roots.push(kind.list_type_name());
        }
        let bodies = kind
            .subresources
            .iter()
            .filter_map(|s| scheme::built_in().find_kind(&s.group, &s.version, &s.kind));
        roots.extend(bodies.map(|body| body.type_name.clone()));
    }
    let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
    let names = closure(definitions, &roots)?;
    Ok(names
        .into_iter()
        .map(|name| (name.to_owned(), definition(definitions, name, version)))
        .collect())
}

fn definition(definitions: &Definitions, name: &str, version: Version) -> Value {
    let mut schema = definitions[name].clone();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (field, property) in properties {
            *property = convert(definitions, property, version);
            if let Some(default) = default_of(name, field) {
                property["default"] = default.into();
            }
        }
    }
    if let Some(kinds) = schema
        .get_mut("x-kubernetes-group-version-kind")
        .and_then(Value::as_array_mut)
    {
        kinds.retain(is_served);
    }
    scalar(name, &mut schema, version);
    schema
}

/// `WatchEvent` and `DeleteOptions` exist in every group version; only those served are listed.
fn is_served(entry: &Value) -> bool {
    let (group, version) = (entry["group"].as_str(), entry["version"].as_str());
    scheme::built_in()
        .all()
        .any(|k| Some(k.group.as_str()) == group && Some(k.version.as_str()) == version)
        || entry["kind"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("List") || kind == "Status")
}

/// Types that accept several scalar types are described differently in the two versions.
fn scalar(name: &str, schema: &mut Value, version: Version) {
    let kind = name.rsplit('.').next();
    if let (Some("Quantity" | "IntOrString"), Some(map)) = (kind, schema.as_object_mut()) {
        if kind == Some("IntOrString") {
            map.insert("format".into(), "int-or-string".into());
        }
        if version == Version::V2 {
            map.remove("oneOf");
            map.insert("type".into(), "string".into());
        }
    }
}

fn convert(definitions: &Definitions, schema: &Value, version: Version) -> Value {
    if let Some(name) = reference(schema) {
        let mut keywords = schema.as_object().cloned().unwrap_or_default();
        keywords.remove("$ref");
        return version.reference_with(name, keywords);
    }
    let mut schema = schema.clone();
    for inner in ["items", "additionalProperties"] {
        if let Some(found) = schema.get(inner).filter(|found| found.is_object()) {
            let mut converted = convert(definitions, found, version);
            if version == Version::V3 {
                zero(definitions, found, &mut converted);
            }
            schema[inner] = converted;
        }
    }
    schema
}

/// Adds the default that upstream's documents have for list items and map values.
fn zero(definitions: &Definitions, schema: &Value, converted: &mut Value) {
    let target = reference(schema).map_or(schema, |name| &definitions[name]);
    let default = match target["type"].as_str() {
        Some("string") if reference(schema).is_none() && target.get("format").is_none() => {
            json!("")
        }
        Some("integer") => json!(0),
        Some("object") if target.get("properties").is_some() => json!({}),
        _ => return,
    };
    converted["default"] = default;
}
