//! `ClusterRole`.

use super::RoleStrategy;
use crate::{Kind, Scope, kinds::kind};

pub(in crate::kinds) fn kind() -> Kind {
    kind!(
        "rbac", "ClusterRole", "clusterroles", "clusterrole",
        group: "rbac.authorization.k8s.io".into(),
        storage: "rbac.authorization.k8s.io/clusterroles".into(),
        scope: Scope::Cluster,
        strategy: Box::new(RoleStrategy),
    )
}
