//! What this project grants beyond upstream's policy. Each entry says why.

use serde_json::Value;

use super::{
    objects::{
        SYSTEM,
        Subject::{self, Account, Group, User},
        cluster_role, cluster_role_binding, role_binding,
    },
    rule::{APPS, CERTIFICATES, CORE, Rule, allow, allow_paths},
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
        "system:pandaemon:certificate-controller",
        &[
            // Upstream's controller leaves serving certificates to people; ours approves those that
            // the node itself asks for.
            allow("approve", &[CERTIFICATES], "signers").names("kubernetes.io/kubelet-serving"),
            // Only the fields that change are written. Upstream's controller replaces the object.
            allow(
                "patch",
                &[CERTIFICATES],
                "certificatesigningrequests/approval certificatesigningrequests/status",
            ),
        ],
        &[Account("certificate-controller")],
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

/// Bindings of roles of upstream: name, role, and to whom it is bound. Upstream leaves these to
/// those who set up a cluster, such as kubeadm.
const BINDINGS: &[(&str, &str, Subject)] = &[
    // A machine that joins asks for the certificates of its node.
    (
        "system:pandaemon:node-bootstrapper",
        "system:node-bootstrapper",
        Group("system:bootstrappers"),
    ),
    // Its first client certificate is approved at once.
    (
        "system:pandaemon:node-client-certificates",
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        Group("system:bootstrappers"),
    ),
    // A node renews its own.
    (
        "system:pandaemon:own-node-client-certificates",
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        Group("system:nodes"),
    ),
    // The server asks kubelet servers as the user of its client certificate.
    (
        "system:pandaemon:kubelet-api-admin",
        "system:kubelet-api-admin",
        User("pandaemon-server"),
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
    let own = roles.map(|(name, _, subjects)| cluster_role_binding(name, name, subjects));
    let of_upstream = BINDINGS.iter();
    let of_upstream =
        of_upstream.map(|(name, role, subject)| cluster_role_binding(name, role, &[*subject]));
    own.chain(of_upstream).collect()
}

pub(super) fn role_bindings() -> Vec<Value> {
    // Agents verify clients of their own servers with the CA in this ConfigMap, and read it each
    // time that they get certificates. A kubelet has it in a file that the administrator writes.
    vec![role_binding(
        SYSTEM,
        "system:pandaemon:extension-apiserver-authentication-reader",
        "extension-apiserver-authentication-reader",
        &[Group("system:nodes")],
    )]
}
