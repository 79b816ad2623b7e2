//! JSON patch, JSON merge patch and strategic merge patch.
//!
//! Each function applies the bytes of a patch to the current object and returns the patched object.
//! The current object is the one that clients read, with its `resourceVersion`: `kubectl` tests and
//! replaces it, and a value that a patch sets there is a precondition.
//!
//! The result is neither checked against the field tables nor defaulted: the caller does that, as
//! with the body of an update ([`crate::decode::decode_patched`]). A `null` in the result means
//! that the field is not set.

use serde_json::{Map, Value};

use crate::{
    Kind,
    schema::Shape,
    status::{Result, Status},
};

pub mod invalid;
mod json;
mod list_order;
mod parse;
mod strategic;

/// Applies a JSON patch (RFC 6902).
///
/// # Errors
/// 400 for a malformed patch, 413 for more than 10,000 operations, 422 for an operation that does
/// not fit the object, with upstream's texts.
pub fn json_patch(current: &Value, patch: &[u8]) -> Result<Value> {
    json::apply(current, patch)
}

/// Applies a JSON merge patch (RFC 7386).
///
/// # Errors
/// 400 for a malformed patch, with upstream's text.
pub fn merge_patch(current: &Value, patch: &[u8]) -> Result<Value> {
    let patch = parse::object(patch)
        .map_err(|text| Status::bad_request(format!("error decoding patch: {text}")))?;
    let mut merged = current.clone();
    json_patch::merge(&mut merged, &Value::Object(patch));
    Ok(merged)
}

/// Applies a strategic merge patch, with the patch strategies and merge keys of the field tables
/// (upstream's `strategicpatch.StrategicMergePatch`).
///
/// # Errors
/// 400 for a malformed patch or directive, 422 for lists of lists, 500 (as upstream) for an unknown
/// directive and for list items without their merge key.
pub fn strategic_merge_patch(kind: &Kind, current: &Value, patch: &[u8]) -> Result<Value> {
    let patch = parse::object(patch).map_err(Status::bad_request)?;
    let shape = kind.object_type().map_or(Shape::Any, Shape::Object);
    let mut merged = current.as_object().cloned().unwrap_or_else(Map::new);
    strategic::merge(&mut merged, patch, shape)?;
    Ok(Value::Object(merged))
}

#[cfg(test)]
mod tests;
