//! `RoleBinding`.

use serde_json::Value;

use crate::{
    Kind, Strategy, defaults,
    kinds::kind,
    rbac::Grant,
    table::{self, Printer},
    validation::{ErrorList, names, rbac},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!(
        "rbac", "RoleBinding", "rolebindings", "rolebinding",
        group: "rbac.authorization.k8s.io".into(),
        storage: "rbac.authorization.k8s.io/rolebindings".into(),
        strategy: Box::new(RoleBindingStrategy),
    )
}

#[derive(Debug)]
struct RoleBindingStrategy;

impl Strategy for RoleBindingStrategy {
    fn set_defaults(&self, object: &mut Value) {
        defaults::rbac::binding(object);
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        rbac::role_ref(&["Role", "ClusterRole"], object, errors);
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
        super::validate_update(kind, old, new, errors);
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn grants(&self, object: &Value) -> Option<Grant> {
        Some(Grant::of_binding(object))
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: table::ROLE_BINDING,
            cells: table::plain::binding,
        }
    }
}
