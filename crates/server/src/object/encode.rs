//! The encoding of objects for the store.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{METADATA, Unparsed};

/// Encodes an object for the store: kind, apiVersion and metadata first, without a resource
/// version.
///
/// # Errors
/// When a value cannot be written as JSON (it always can).
pub fn encode(value: &Value) -> serde_json::Result<Bytes> {
    encode_with(value, Unparsed::default())
}

/// As [`encode`], with encoded parts that are inserted; `value` does not have them.
///
/// # Errors
/// As [`encode`].
pub fn encode_with(value: &Value, unparsed: Unparsed<'_>) -> serde_json::Result<Bytes> {
    let mut out = Vec::with_capacity(1024 + unparsed.len());
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
    write_metadata(&mut out, fields.get("metadata"), unparsed.managed_fields)?;
    let mut spec = unparsed.spec;
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

fn write_metadata(
    out: &mut Vec<u8>,
    metadata: Option<&Value>,
    managed_fields: Option<&[u8]>,
) -> serde_json::Result<()> {
    out.extend_from_slice(METADATA);
    let begin = out.len();
    let mut managed_fields = managed_fields;
    for (name, value) in metadata.and_then(Value::as_object).into_iter().flatten() {
        if name == "resourceVersion" {
            continue;
        }
        if name.as_str() > "managedFields" {
            write_managed_fields(out, begin, managed_fields.take());
        }
        separate(out, begin);
        serde_json::to_writer(&mut *out, name)?;
        out.push(b':');
        serde_json::to_writer(&mut *out, value)?;
    }
    write_managed_fields(out, begin, managed_fields);
    out.push(b'}');
    Ok(())
}

fn write_managed_fields(out: &mut Vec<u8>, begin: usize, managed_fields: Option<&[u8]>) {
    if let Some(managed_fields) = managed_fields {
        separate(out, begin);
        out.extend_from_slice(b"\"managedFields\":");
        out.extend_from_slice(managed_fields);
    }
}

/// Writes a comma, unless the object that began at `begin` has no field yet.
fn separate(out: &mut Vec<u8>, begin: usize) {
    if out.len() > begin {
        out.push(b',');
    }
}
