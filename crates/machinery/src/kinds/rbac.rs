//! `rbac.authorization.k8s.io`.

pub(super) mod cluster_role;
pub(super) mod cluster_role_binding;
pub(super) mod role;
pub(super) mod role_binding;

use serde_json::Value;

use crate::{
    Kind, Strategy, defaults,
    rbac::Grant,
    table::{self, Column, Printer},
    validation::{ErrorList, meta, names, rbac},
};

/// Validates a change as upstream does: first the new object, then what may not change.
fn validate_update(kind: &Kind, old: &Value, new: &Value, errors: &mut ErrorList) {
    kind.strategy.validate(kind, new, errors);
    meta::validate_update(old, new, errors);
    kind.strategy.validate_change(old, new, errors);
}

/// Roles of a namespace and of the cluster.
#[derive(Debug)]
struct RoleStrategy;

impl Strategy for RoleStrategy {
    fn validate_name(&self, name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        rbac::rules(kind.is_namespaced(), object, errors);
        // A Role has none.
        rbac::aggregation_rule(object, errors);
    }

    fn validate_update(
        &self,
        kind: &Kind,
        _subresource: &str,
        old: &Value,
        new: &Value,
        errors: &mut ErrorList,
    ) {
        validate_update(kind, old, new, errors);
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn grants(&self, object: &Value) -> Option<Grant> {
        Some(Grant::of_role(object))
    }
}

/// Bindings: which kinds of roles they may name, and how they are shown.
#[derive(Debug)]
struct BindingStrategy {
    roles: &'static [&'static str],
    columns: &'static [Column],
}

impl Strategy for BindingStrategy {
    fn set_defaults(&self, object: &mut Value) {
        defaults::rbac::binding(object);
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        rbac::role_ref(self.roles, object, errors);
        rbac::subjects(kind.is_namespaced(), object, errors);
    }

    fn validate_change(&self, old: &Value, new: &Value, errors: &mut ErrorList) {
        rbac::unchanged_role_ref(old, new, errors);
    }

    fn validate_update(
        &self,
        kind: &Kind,
        _subresource: &str,
        old: &Value,
        new: &Value,
        errors: &mut ErrorList,
    ) {
        validate_update(kind, old, new, errors);
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn grants(&self, object: &Value) -> Option<Grant> {
        Some(Grant::of_binding(object))
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: self.columns,
            cells: table::plain::binding,
        }
    }
}
