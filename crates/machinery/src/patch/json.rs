//! JSON patch (RFC 6902) with the crate `json-patch` and upstream's limits.

use json_patch::{PatchOperation, jsonptr::Pointer};
use serde_json::Value;

use super::{invalid::unprocessable, parse};
use crate::{
    bounds::Room,
    go_text::json_type,
    status::{Result, Status},
};

/// Most operations in a patch (upstream's `maxJSONPatchOperations`).
const MAX_OPERATIONS: usize = 10_000;
/// Most bytes that the `copy` operations of a patch may copy together (upstream's
/// `AccumulatedCopySizeLimit`).
const MAX_COPIED: usize = 3 * 1024 * 1024;
/// Most levels of nesting in the patched object. The JSON parser accepts 128 levels. Moves could
/// nest without a limit, and code that walks such a value recursively would overflow the stack.
const MAX_DEPTH: usize = 160;
/// Most work of a patch beside reading it: list items that operations shift, and values that they
/// look at. A patch of 10,000 operations could otherwise shift 500,000 items each.
const MAX_WORK: usize = 20_000_000;

/// Applies a patch to `current`.
pub(super) fn apply(current: &Value, patch: &[u8]) -> Result<Value> {
    let operations = read(patch)?;
    let mut target = Target {
        bound: depth(current),
        object: current.clone(),
        copied: 0,
        room: Room::default(),
        work: 0,
    };
    for operation in operations {
        let operation = parse(operation).ok_or_else(unprocessable)?;
        target.step(&operation).ok_or_else(unprocessable)?;
    }
    Ok(target.object)
}

fn read(patch: &[u8]) -> Result<Vec<Value>> {
    let bad = |text: String| Status::bad_request(format!("error decoding patch: {text}"));
    let operations = match parse::value(patch).map_err(bad)? {
        Value::Array(operations) => operations,
        Value::Null => Vec::new(),
        other => {
            return Err(bad(format!(
                "json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp",
                json_type(&other)
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

/// Parses an operation. One without `value` has the value null.
fn parse(mut operation: Value) -> Option<PatchOperation> {
    let fields = operation.as_object_mut()?;
    fields.entry("value").or_insert(Value::Null);
    serde_json::from_value(operation).ok()
}

/// The object that is patched.
struct Target {
    object: Value,
    /// An upper bound of the levels of nesting in `object`.
    bound: usize,
    /// Bytes that `copy` operations have copied so far.
    copied: usize,
    /// Room for the values that `copy` operations add.
    room: Room,
    /// What the operations have cost so far, see [`MAX_WORK`].
    work: usize,
}

impl Target {
    /// Applies one operation; `None` if it does not fit the object or exceeds a limit.
    fn step(&mut self, operation: &PatchOperation) -> Option<()> {
        if let PatchOperation::Test(test) = operation
            && test.value.is_null()
            && is_absent_member(&self.object, &test.path)
        {
            return Some(());
        }
        self.work += self.shifted(operation);
        if let PatchOperation::Copy(copy) = operation
            && let Some(source) = self.object.pointer(copy.from.as_str())
        {
            self.copied += encoded_len(source);
            self.room.copy(source).ok()?;
        }
        if MAX_COPIED < self.copied || MAX_WORK < self.work {
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
            self.work += count(&self.object);
        }
        (self.bound <= MAX_DEPTH).then_some(())
    }

    /// How many list items an operation shifts, at most.
    fn shifted(&self, operation: &PatchOperation) -> usize {
        let list_of = |path: &Pointer| {
            let (parent, last) = path.split_back()?;
            let list = self.object.pointer(parent.as_str())?.as_array()?;
            let at = last.decoded().parse().unwrap_or(list.len());
            Some(list.len().saturating_sub(at))
        };
        let shifted = |path: &Pointer| list_of(path).unwrap_or_default();
        match operation {
            PatchOperation::Add(it) => shifted(&it.path),
            PatchOperation::Remove(it) => shifted(&it.path),
            PatchOperation::Move(it) => shifted(&it.from) + shifted(&it.path),
            PatchOperation::Copy(it) => shifted(&it.path),
            PatchOperation::Replace(_) | PatchOperation::Test(_) => 0,
        }
    }
}

/// Whether the path names an absent member of an object, for which upstream lets a `test` for null
/// pass.
fn is_absent_member(object: &Value, path: &Pointer) -> bool {
    let Some((parent, last)) = path.split_back() else {
        return false;
    };
    let parent = object.pointer(parent.as_str()).and_then(Value::as_object);
    parent.is_some_and(|parent| !parent.contains_key(last.decoded().as_ref()))
}

/// The levels of nesting in a value: 0 for a scalar.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// The number of values in a value, itself included.
fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(count).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

fn encoded_len(value: &Value) -> usize {
    serde_json::to_vec(value).map_or(0, |text| text.len())
}
