//! The ClusterRoleBindings of users and components. Upstream: `ClusterRoleBindings` of `policy.go`.

use serde_json::Value;

use super::objects::{
    Subject::{self, Account, Group, User},
    cluster_role_binding,
};

/// The ClusterRoles that are bound, and to whom.
const BINDINGS: &[(&str, &[Subject])] = &[
    ("cluster-admin", &[Group("system:masters")]),
    ("system:monitoring", &[Group("system:monitoring")]),
    ("system:discovery", &[Group("system:authenticated")]),
    ("system:basic-user", &[Group("system:authenticated")]),
    (
        "system:public-info-viewer",
        &[
            Group("system:authenticated"),
            Group("system:unauthenticated"),
        ],
    ),
    ("system:node-proxier", &[User("system:kube-proxy")]),
    (
        "system:kube-controller-manager",
        &[User("system:kube-controller-manager")],
    ),
    ("system:kube-dns", &[Account("kube-dns")]),
    ("system:kube-scheduler", &[User("system:kube-scheduler")]),
    ("system:volume-scheduler", &[User("system:kube-scheduler")]),
    // The node authorizer gives nodes their rights.
    ("system:node", &[]),
    (
        "system:service-account-issuer-discovery",
        &[Group("system:serviceaccounts")],
    ),
    (
        "system:cluster-trust-bundle-discovery",
        &[Group("system:serviceaccounts")],
    ),
];

pub(super) fn cluster_role_bindings() -> Vec<Value> {
    let bound = BINDINGS.iter();
    bound
        .map(|(name, subjects)| cluster_role_binding(name, name, subjects))
        .collect()
}
