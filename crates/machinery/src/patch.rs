//! JSON patch, JSON merge patch and strategic merge patch.
use serde_json::Value;

use crate::{Kind, status::Result};

/// RFC 6902.
///
/// # Errors
/// 400 for a malformed patch, 422 for an operation that cannot be done, with upstream's texts.
pub fn json_patch(_kind: &Kind, _name: &str, _current: &Value, _patch: &[u8]) -> Result<Value> {
    todo!()
}

/// RFC 7386.
///
/// # Errors
/// 400 for a malformed patch.
pub fn merge_patch(_current: &Value, _patch: &[u8]) -> Result<Value> {
    todo!()
}

/// Strategic merge patch, by the merge keys of the field tables.
///
/// # Errors
/// 400 for a malformed patch or directive.
pub fn strategic_merge_patch(_kind: &Kind, _current: &Value, _patch: &[u8]) -> Result<Value> {
    todo!()
}
