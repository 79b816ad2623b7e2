//! `RoleBinding`.

use super::BindingStrategy;
use crate::{Kind, kinds::kind, table};

pub(in crate::kinds) fn kind() -> Kind {
    kind!(
        "rbac", "RoleBinding", "rolebindings", "rolebinding",
        group: "rbac.authorization.k8s.io".into(),
        storage: "rbac.authorization.k8s.io/rolebindings".into(),
        strategy: Box::new(BindingStrategy {
            roles: &["Role", "ClusterRole"],
            columns: table::ROLE_BINDING,
        }),
    )
}
