//! Defaulting, as `k8s.io/kubernetes/pkg/apis/*/v1/defaults.go`.
use serde_json::Value;

use crate::Kind;

/// Fills in every default of the kind.
pub fn apply_defaults(_kind: &Kind, _object: &mut Value) {
    todo!()
}
