//! `ClusterRole`.

use serde_json::Value;

use crate::{
    Kind, Scope, Strategy,
    kinds::kind,
    rbac::Grant,
    validation::{ErrorList, names, rbac},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!(
        "rbac", "ClusterRole", "clusterroles", "clusterrole",
        group: "rbac.authorization.k8s.io".into(),
        storage: "rbac.authorization.k8s.io/clusterroles".into(),
        scope: Scope::Cluster,
        strategy: Box::new(ClusterRoleStrategy),
    )
}

#[derive(Debug)]
struct ClusterRoleStrategy;

impl Strategy for ClusterRoleStrategy {
    fn validate_name(&self, name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        rbac::rules(kind.is_namespaced(), object, errors);
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
        super::validate_update(kind, old, new, errors);
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn grants(&self, object: &Value) -> Option<Grant> {
        Some(Grant::of_role(object))
    }
}
