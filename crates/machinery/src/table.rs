//! `meta.k8s.io/v1 Table`: what `kubectl get` prints.
use serde_json::Value;

use crate::Kind;

/// The query parameter `includeObject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IncludeObject {
    /// No object in the row.
    None,
    /// `PartialObjectMetadata` (the default).
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

/// Column definitions of a kind.
#[must_use]
pub fn columns(_kind: &Kind) -> Value {
    todo!()
}

/// One row (`cells` and `object`); `now_seconds` is Unix time, for ages.
#[must_use]
pub fn row(_kind: &Kind, _object: &Value, _include: IncludeObject, _now_seconds: i64) -> Value {
    todo!()
}
