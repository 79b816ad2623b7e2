//! `rbac.authorization.k8s.io`.

pub(super) mod cluster_role;
pub(super) mod cluster_role_binding;
pub(super) mod role;
pub(super) mod role_binding;

use serde_json::Value;

use crate::{
    Kind,
    validation::{ErrorList, meta},
};

/// Validates a change as upstream does: first the new object, then what may not change.
fn validate_update(kind: &Kind, old: &Value, new: &Value, errors: &mut ErrorList) {
    kind.strategy.validate(kind, new, errors);
    meta::validate_update(old, new, errors);
    kind.strategy.validate_change(old, new, errors);
}
