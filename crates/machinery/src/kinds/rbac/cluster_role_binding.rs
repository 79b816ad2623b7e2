//! `ClusterRoleBinding`.

use serde_json::Value;

use crate::{
    Kind, Scope, Strategy, defaults,
    kinds::kind,
    rbac::Grant,
    table::{self, Printer},
    validation::{ErrorList, names, rbac},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!(
        "rbac", "ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding",
        group: "rbac.authorization.k8s.io".into(),
        storage: "rbac.authorization.k8s.io/clusterrolebindings".into(),
        scope: Scope::Cluster,
        strategy: Box::new(ClusterRoleBindingStrategy),
    )
}

#[derive(Debug)]
struct ClusterRoleBindingStrategy;

impl Strategy for ClusterRoleBindingStrategy {
    fn set_defaults(&self, object: &mut Value) {
        defaults::rbac::binding(object);
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        rbac::role_ref(&["ClusterRole"], object, errors);
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
            columns: table::CLUSTER_ROLE_BINDING,
            cells: table::plain::binding,
        }
    }
}
