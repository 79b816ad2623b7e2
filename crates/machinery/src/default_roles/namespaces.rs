//! The Roles and RoleBindings of `kube-system` and `kube-public`. Upstream: `namespace_policy.go`.

use serde_json::Value;

use super::{
    objects::{
        SYSTEM,
        Subject::{Account, User},
        role, role_binding,
    },
    rule::{COORDINATION, CORE, READ, allow, record_events},
};

const PUBLIC: &str = "kube-public";
const MANAGER: &str = "system::leader-locking-kube-controller-manager";
const SCHEDULER: &str = "system::leader-locking-kube-scheduler";
const SIGNER: &str = "system:controller:bootstrap-signer";

pub(super) fn roles() -> Vec<Value> {
    let configuration = allow(READ, &[CORE], "configmaps");
    let leader_election = [
        allow("create get list update watch", &[COORDINATION], "leases"),
        allow(
            "create get list update watch",
            &[COORDINATION],
            "leasecandidates",
        ),
    ];
    let signer = [
        configuration,
        allow("update", &[CORE], "configmaps").names("cluster-info"),
        record_events(),
    ];
    let cleaner = [
        allow("delete get list watch", &[CORE], "secrets"),
        record_events(),
    ];
    vec![
        role(
            SYSTEM,
            "extension-apiserver-authentication-reader",
            &[configuration.names("extension-apiserver-authentication")],
        ),
        role(SYSTEM, SIGNER, &[allow(READ, &[CORE], "secrets")]),
        role(
            SYSTEM,
            "system:controller:cloud-provider",
            &[allow("create get list watch", &[CORE], "configmaps")],
        ),
        role(SYSTEM, "system:controller:token-cleaner", &cleaner),
        role(SYSTEM, MANAGER, &leader_election),
        role(SYSTEM, SCHEDULER, &leader_election),
        role(PUBLIC, SIGNER, &signer),
    ]
}

pub(super) fn role_bindings() -> Vec<Value> {
    let (manager, scheduler) = (
        User("system:kube-controller-manager"),
        User("system:kube-scheduler"),
    );
    let managers = [
        manager,
        Account("kube-controller-manager"),
        Account("leader-election-controller"),
    ];
    let account = |name: &'static str| {
        let role = format!("system:controller:{name}");
        role_binding(SYSTEM, &role, &role, &[Account(name)])
    };
    vec![
        role_binding(
            SYSTEM,
            "system::extension-apiserver-authentication-reader",
            "extension-apiserver-authentication-reader",
            &[manager, scheduler],
        ),
        role_binding(SYSTEM, MANAGER, MANAGER, &managers),
        role_binding(
            SYSTEM,
            SCHEDULER,
            SCHEDULER,
            &[scheduler, Account("kube-scheduler")],
        ),
        account("bootstrap-signer"),
        account("cloud-provider"),
        account("token-cleaner"),
        role_binding(PUBLIC, SIGNER, SIGNER, &[Account("bootstrap-signer")]),
    ]
}
