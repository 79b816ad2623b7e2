//! The default roles and bindings of RBAC, which the API server keeps. Upstream:
//! `plugin/pkg/auth/authorizer/rbac/bootstrappolicy`.
//!
//! The tables say what upstream's policy grants in Kubernetes 1.37 with its default feature gates:
//! everything that is granted by default since 1.33. Roles about resources that this server does
//! not serve are part of it, as charts and tools refer to them. What only this project grants is in
//! one file, [`own`](mod@own).

mod bindings;
mod cluster_roles;
mod components;
mod controllers;
mod namespaces;
mod objects;
mod own;
mod reconcile;
mod rule;
mod workloads;

use serde_json::Value;

pub use self::reconcile::{Reconciliation, reconcile_binding, reconcile_role};

/// The ClusterRoles: those of users and components, then those of controllers.
#[must_use]
pub fn cluster_roles() -> Vec<Value> {
    let mut all = cluster_roles::cluster_roles();
    all.extend(components::cluster_roles());
    all.extend(controllers::cluster_roles());
    all.extend(own::cluster_roles());
    all
}

/// The ClusterRoleBindings: those of users and components, then those of controllers.
#[must_use]
pub fn cluster_role_bindings() -> Vec<Value> {
    let mut all = bindings::cluster_role_bindings();
    all.extend(controllers::cluster_role_bindings());
    all.extend(own::cluster_role_bindings());
    all
}

/// The Roles of the namespaces `kube-system` and `kube-public`.
#[must_use]
pub fn roles() -> Vec<Value> {
    namespaces::roles()
}

/// The RoleBindings of the namespaces `kube-system` and `kube-public`.
#[must_use]
pub fn role_bindings() -> Vec<Value> {
    let mut all = namespaces::role_bindings();
    all.extend(own::role_bindings());
    all
}
