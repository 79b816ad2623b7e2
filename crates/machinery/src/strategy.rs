//! What a write may touch: the create and update strategies of `k8s.io/kubernetes/pkg/registry`.
use serde_json::Value;

use crate::Kind;

/// Clears what a client may not set at creation (status, generation := 1, ...).
pub fn prepare_create(_kind: &Kind, _object: &mut Value) {
    todo!()
}

/// Carries over what this write may not change (status for a plain update, everything but status for
/// `/status`), immutable metadata, and counts the generation.
pub fn prepare_update(_kind: &Kind, _subresource: &str, _old: &Value, _new: &mut Value) {
    todo!()
}
