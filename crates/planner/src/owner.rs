//! Owner references.

use serde_json::{Value, json};

use crate::view::DaemonSetView;

/// The owner reference that makes the set the managing owner of an object.
pub(crate) fn owner_reference(set: &DaemonSetView) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "name": &*set.key.name,
        "uid": set.uid.to_string(), "controller": true, "blockOwnerDeletion": true,
    })
}
