//! Field selectors: the value of a selectable field of an object.
use serde_json::Value;

use crate::Kind;

/// The value that `field` (such as `spec.nodeName`, `status.phase`, `metadata.name`) has in `object`;
/// `None` if the kind does not support that field.
#[must_use]
pub fn field_value(_kind: &Kind, _object: &Value, _field: &str) -> Option<String> {
    todo!()
}
