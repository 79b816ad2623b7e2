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
    let mut target = Target {
        bound: depth(current),
        object: current.clone(),
        copied: 0,
    };
    for operation in operations {
        let operation = parse(operation).ok_or_else(unprocessable)?;
        target.step(&operation).ok_or_else(unprocessable)?;
    }
    Ok(target.object)
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

/// The object under work.
struct Target {
    object: Value,
    /// It is not deeper than this.
    bound: usize,
    /// Bytes that were copied so far.
    copied: usize,
}

impl Target {
    fn step(&mut self, operation: &PatchOperation) -> Option<()> {
        if let PatchOperation::Test(test) = operation
            && test.value.is_null()
            && is_absent_member(&self.object, &test.path)
        {
            return Some(());
        }
        if let PatchOperation::Copy(copy) = operation {
            self.copied += self
                .object
                .pointer(copy.from.as_str())
                .map_or(0, encoded_len);
        }
        if MAX_COPIED < self.copied {
            return None;
        }
        json_patch::patch_unsafe(&mut self.object, std::slice::from_ref(operation)).ok()?;
        let moved = |from: &Pointer| self.bound.saturating_sub(from.count());
        let below = match operation {
            PatchOperation::Add(add) => depth(&add.value),
            PatchOperation::Replace(replace) => depth(&replace.value),
            PatchOperation::Move(it) => moved(&it.from),
            PatchOperation::Copy(it) => moved(&it.from),
            PatchOperation::Remove(_) | PatchOperation::Test(_) => return Some(()),
        };
        self.bound = self.bound.max(operation.path().count() + below);
        if MAX_DEPTH < self.bound {
            self.bound = depth(&self.object);
        }
        (self.bound <= MAX_DEPTH).then_some(())
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
