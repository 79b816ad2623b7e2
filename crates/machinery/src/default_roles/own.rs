//! What this project grants beyond upstream's policy. Each entry says why.

use serde_json::Value;

use super::{
    objects::{
        Subject::{self, Account, Group},
        cluster_role, cluster_role_binding,
    },
    rule::{APPS, CORE, Rule, allow, allow_paths},
};

/// ClusterRoles, their rules, and to whom they are bound.
const ROLES: &[(&str, &[Rule], &[Subject])] = &[
    (
        "system:pandaemon:daemon-set-controller",
        &[
            // A creation whose answer was lost: whether the pod exists. Upstream's controller waits
            // for its watch.
            allow("get", &[CORE], "pods"),
            // Only the fields that change are written. Upstream's controller replaces the status.
            allow("patch", &[APPS], "daemonsets/status"),
        ],
        &[Account("daemon-set-controller")],
    ),
    (
        // Agents read the CA's certificate before they have credentials, and check its fingerprint.
        "system:pandaemon:public-info-viewer",
        &[allow_paths("/cacerts")],
        &[
            Group("system:authenticated"),
            Group("system:unauthenticated"),
        ],
    ),
];

pub(super) fn cluster_roles() -> Vec<Value> {
    let roles = ROLES.iter();
    roles
        .map(|(name, rules, _)| cluster_role(name, rules))
        .collect()
}

pub(super) fn cluster_role_bindings() -> Vec<Value> {
    let roles = ROLES.iter();
    roles
        .map(|(name, _, subjects)| cluster_role_binding(name, subjects))
        .collect()
}
