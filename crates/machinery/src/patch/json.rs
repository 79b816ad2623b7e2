//! RFC 6902 by the `json-patch` crate, with the limits of an API server around it.

use json_patch::{PatchOperation, jsonptr::Pointer};
use serde_json::Value;

use super::{syntax, unprocessable};
use crate::status::{Result, Status};

/// Upstream's limit.
const MAX_OPERATIONS: usize = 10_000;
/// How many bytes all `copy` operations of a patch may copy together (upstream's limit).
const MAX_COPIED: usize = 3 * 1024 * 1024;
/// How deep an operation may nest values. JSON text is limited to 128 when it is read; moves could nest
/// without an end, and whoever walks such a value recursively would run out of stack.
const MAX_DEPTH: usize = 160;

pub(super) fn apply(current: &Value, patch: &[u8]) -> Result<Value> {
    let operations = read(patch)?;
    let mut object = current.clone();
    let mut copied = 0;
    for operation in operations {
        let operation = parse(operation).ok_or_else(unprocessable)?;
        if let PatchOperation::Copy(copy) = &operation {
            copied += object.pointer(copy.from.as_str()).map_or(0, encoded_len);
        }
        if MAX_COPIED < copied {
            return Err(unprocessable());
        }
        step(&mut object, &operation).ok_or_else(unprocessable)?;
    }
    Ok(object)
}

fn read(patch: &[u8]) -> Result<Vec<Value>> {
    let bad = |text: String| Status::bad_request(format!("error decoding patch: {text}"));
    let operations = match syntax::value(patch).map_err(bad)? {
        Value::Array(operations) => operations,
        Value::Null => Vec::new(),
        other => {
            return Err(bad(format!(
                "json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp",
                syntax::json_kind(&other)
            )));
        }
    };
    if MAX_OPERATIONS < operations.len() {
        return Err(Status::too_large(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    Ok(operations)
}

/// An operation without a value has the value null.
fn parse(mut operation: Value) -> Option<PatchOperation> {
    let fields = operation.as_object_mut()?;
    fields.entry("value").or_insert(Value::Null);
    serde_json::from_value(operation).ok()
}

fn step(object: &mut Value, operation: &PatchOperation) -> Option<()> {
    if let PatchOperation::Test(test) = operation
        && test.value.is_null()
        && is_absent_member(object, &test.path)
    {
        return Some(());
    }
    json_patch::patch_unsafe(object, std::slice::from_ref(operation)).ok()?;
    match operation {
        PatchOperation::Add(_)
        | PatchOperation::Replace(_)
        | PatchOperation::Move(_)
        | PatchOperation::Copy(_) => check_depth(object, operation.path()),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => Some(()),
    }
}

/// Upstream lets `test` with null pass where a member is absent.
fn is_absent_member(object: &Value, path: &Pointer) -> bool {
    let Some((parent, last)) = path.split_back() else {
        return false;
    };
    let parent = object.pointer(parent.as_str()).and_then(Value::as_object);
    parent.is_some_and(|parent| !parent.contains_key(last.decoded().as_ref()))
}

fn check_depth(object: &Value, path: &Pointer) -> Option<()> {
    let above = path.count();
    // `-` names no element any more: the last one of its list is meant.
    let below = match object.pointer(path.as_str()) {
        Some(value) => depth(value),
        None => path
            .parent()
            .and_then(|parent| object.pointer(parent.as_str()))
            .and_then(|parent| parent.as_array()?.last())
            .map_or(0, depth),
    };
    (above + below <= MAX_DEPTH).then_some(())
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn encoded_len(value: &Value) -> usize {
    serde_json::to_vec(value).map_or(0, |text| text.len())
}
