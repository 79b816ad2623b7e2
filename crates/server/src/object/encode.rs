//! The encoding of objects for the store.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::METADATA;

/// Encodes an object for the store: kind, apiVersion and metadata first, without a resource
/// version.
///
/// # Errors
/// When a value cannot be written as JSON (it always can).
pub fn encode(value: &Value) -> serde_json::Result<Bytes> {
    encode_with(value, None)
}

/// As [`encode`], with an encoded spec that is inserted; `value` has no spec then.
///
/// # Errors
/// As [`encode`].
pub fn encode_with(value: &Value, spec: Option<&[u8]>) -> serde_json::Result<Bytes> {
    let mut out = Vec::with_capacity(1024);
    let empty = Map::new();
    let fields = value.as_object().unwrap_or(&empty);
    let mut separator = b'{';
    for name in ["kind", "apiVersion"] {
        if let Some(field) = fields.get(name) {
            write_field(&mut out, &mut separator, name, field)?;
        }
    }
    out.push(separator);
    separator = b',';
    write_metadata(&mut out, fields.get("metadata"))?;
    let mut spec = spec;
    for (name, field) in fields {
        if matches!(name.as_str(), "kind" | "apiVersion" | "metadata") {
            continue;
        }
        if name.as_str() > "spec" {
            write_spec(&mut out, spec.take());
        }
        write_field(&mut out, &mut separator, name, field)?;
    }
    write_spec(&mut out, spec);
    out.push(b'}');
    out.shrink_to_fit();
    Ok(out.into())
}

fn write_spec(out: &mut Vec<u8>, spec: Option<&[u8]>) {
    if let Some(spec) = spec {
        out.extend_from_slice(b",\"spec\":");
        out.extend_from_slice(spec);
    }
}

fn write_field(
    out: &mut Vec<u8>,
    separator: &mut u8,
    name: &str,
    value: &Value,
) -> serde_json::Result<()> {
    out.push(*separator);
    *separator = b',';
    serde_json::to_writer(&mut *out, name)?;
    out.push(b':');
    serde_json::to_writer(&mut *out, value)
}

fn write_metadata(out: &mut Vec<u8>, metadata: Option<&Value>) -> serde_json::Result<()> {
    out.extend_from_slice(METADATA);
    let mut separator = None;
    for (name, value) in metadata.and_then(Value::as_object).into_iter().flatten() {
        if name == "resourceVersion" {
            continue;
        }
        out.extend(separator);
        separator = Some(b',');
        serde_json::to_writer(&mut *out, name)?;
        out.push(b':');
        serde_json::to_writer(&mut *out, value)?;
    }
    out.push(b'}');
    Ok(())
}
