//! `Role`.

use serde_json::Value;

use crate::{
    Kind, Strategy,
    kinds::kind,
    rbac::Grant,
    validation::{ErrorList, names, rbac},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!(
        "rbac", "Role", "roles", "role",
        group: "rbac.authorization.k8s.io".into(),
        storage: "rbac.authorization.k8s.io/roles".into(),
        strategy: Box::new(RoleStrategy),
    )
}

#[derive(Debug)]
struct RoleStrategy;

impl Strategy for RoleStrategy {
    fn validate_name(&self, name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        rbac::rules(kind.is_namespaced(), object, errors);
    }

    fn validate_update(
        &self,
        kind: &Kind,
        _subresource: &str,
        old: &Value,
        new: &Value,
        errors: &mut ErrorList,
    ) {
        super::validate_update(kind, old, new, errors);
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn grants(&self, object: &Value) -> Option<Grant> {
        Some(Grant::of_role(object))
    }
}
