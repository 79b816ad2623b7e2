//! JSON patch, JSON merge patch and strategic merge patch.
//!
//! Each takes the current object and the bytes of a patch and returns the object that the patch asks for.
//! The current object is what clients read, `resourceVersion` included: `kubectl` replaces and tests it, and
//! what a patch sets there is its precondition.
//! What comes out is neither checked against the field tables nor defaulted: the caller does that, as for
//! the body of an update. A `null` that a patch leaves behind means "not set".

use serde_json::{Map, Value};

use crate::{
    Kind,
    schema::{self, Shape},
    status::{Result, Status},
};

mod json;
mod order;
pub mod refusal;
mod strategic;
mod syntax;

/// RFC 6902.
///
/// # Errors
/// 400 for a malformed patch, 413 for more than 10,000 operations, 422 for an operation that cannot be
/// done, with upstream's texts.
pub fn json_patch(_kind: &Kind, _name: &str, current: &Value, patch: &[u8]) -> Result<Value> {
    json::apply(current, patch)
}

/// RFC 7386.
///
/// # Errors
/// 400 for a malformed patch.
pub fn merge_patch(current: &Value, patch: &[u8]) -> Result<Value> {
    let patch = syntax::object(patch)
        .map_err(|text| Status::bad_request(format!("error decoding patch: {text}")))?;
    let mut merged = current.clone();
    json_patch::merge(&mut merged, &Value::Object(patch));
    Ok(merged)
}

/// Strategic merge patch, by the merge keys of the field tables.
///
/// # Errors
/// 400 for a malformed patch or directive, 422 for lists of lists, 500 (as upstream) for a directive that
/// nobody knows and for list items without their merge key.
pub fn strategic_merge_patch(kind: &Kind, current: &Value, patch: &[u8]) -> Result<Value> {
    let patch = syntax::object(patch).map_err(Status::bad_request)?;
    let shape = schema::find(kind.type_name).map_or(Shape::Any, Shape::Object);
    let mut merged = current.as_object().cloned().unwrap_or_else(Map::new);
    strategic::merge(&mut merged, patch, shape)?;
    Ok(Value::Object(merged))
}

/// 422 without details: what upstream answers to a patch that fits its format but not the object.
fn unprocessable() -> Box<Status> {
    Status::failure(
        422,
        "Invalid",
        "the server rejected our request due to an error in our request",
    )
    .with_details(crate::status::Details::default())
}

#[cfg(test)]
mod tests;
