//! `ClusterRoleBinding`.

use super::BindingStrategy;
use crate::{Kind, Scope, kinds::kind, table};

pub(in crate::kinds) fn kind() -> Kind {
    kind!(
        "rbac", "ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding",
        group: "rbac.authorization.k8s.io".into(),
        storage: "rbac.authorization.k8s.io/clusterrolebindings".into(),
        scope: Scope::Cluster,
        strategy: Box::new(BindingStrategy {
            roles: &["ClusterRole"],
            columns: table::CLUSTER_ROLE_BINDING,
        }),
    )
}
