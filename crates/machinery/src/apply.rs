//! Server-side apply and `metadata.managedFields`.
use serde_json::Value;

use crate::{Kind, status::Result};

/// Who writes.
#[derive(Debug, Clone, Copy)]
pub struct Manager<'a> {
    /// `fieldManager`, or derived from the user agent.
    pub name: &'a str,
    /// `status` or empty.
    pub subresource: &'a str,
    /// RFC 3339, whole seconds.
    pub now: &'a str,
}

/// Records in `new.metadata.managedFields` which fields this non-apply write changed.
pub fn track_update(_kind: &Kind, _old: Option<&Value>, _new: &mut Value, _manager: Manager<'_>) {
    todo!()
}

/// Merges an applied configuration into the live object and records ownership.
///
/// # Errors
/// 409 with a cause for each field that another manager owns, unless forced.
pub fn apply(
    _kind: &Kind,
    _live: Option<&Value>,
    _config: &Value,
    _manager: Manager<'_>,
    _force: bool,
) -> Result<Value> {
    todo!()
}
