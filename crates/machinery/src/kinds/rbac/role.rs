//! `Role`.

use super::RoleStrategy;
use crate::{Kind, kinds::kind};

pub(in crate::kinds) fn kind() -> Kind {
    kind!(
        "rbac", "Role", "roles", "role",
        group: "rbac.authorization.k8s.io".into(),
        storage: "rbac.authorization.k8s.io/roles".into(),
        strategy: Box::new(RoleStrategy),
    )
}
