//! The ClusterRoles of controllers, each bound to the controller's account. Upstream:
//! `controller_policy.go`.

use serde_json::Value;

use super::{
    objects::{Subject, cluster_role, cluster_role_binding},
    rule::{
        ADMISSION, AUTHORIZATION, CERTIFICATES, COORDINATION, CORE, DISCOVERY, NETWORKING, RBAC,
        READ, READ_UPDATE, RESOURCE, STORAGE, allow, record_events,
    },
    workloads::{Account, WORKLOADS},
};

fn all() -> impl Iterator<Item = &'static Account> {
    WORKLOADS.iter().chain(CONTROLLERS)
}

fn name(account: &str) -> String {
    format!("system:controller:{account}")
}

pub(super) fn cluster_roles() -> Vec<Value> {
    let roles = all().map(|(account, rules)| cluster_role(&name(account), rules));
    roles.collect()
}

pub(super) fn cluster_role_bindings() -> Vec<Value> {
    let bindings = all().map(|(account, _)| {
        let name = name(account);
        cluster_role_binding(&name, &name, &[Subject::Account(account)])
    });
    bindings.collect()
}

/// The controllers that run no pods: nodes, volumes, services, certificates, and the cluster's own
/// objects.
const CONTROLLERS: &[Account] = &[
    (
        "attachdetach-controller",
        &[
            allow(
                "list watch",
                &[CORE],
                "persistentvolumes persistentvolumeclaims",
            ),
            allow(READ, &[CORE], "nodes"),
            allow("patch update", &[CORE], "nodes/status"),
            allow("list watch", &[CORE], "pods"),
            record_events(),
            allow(
                "create delete get list watch",
                &[STORAGE],
                "volumeattachments",
            ),
            allow(READ, &[STORAGE], "csidrivers"),
            allow(READ, &[STORAGE], "csinodes"),
        ],
    ),
    (
        "clusterrole-aggregation-controller",
        &[allow(
            "escalate get list patch update watch",
            &[RBAC],
            "clusterroles",
        )],
    ),
    (
        "endpoint-controller",
        &[
            allow(READ, &[CORE], "services pods"),
            allow("create delete get list update watch", &[CORE], "endpoints"),
            allow("create", &[CORE], "endpoints/restricted"),
            record_events(),
        ],
    ),
    (
        "endpointslice-controller",
        &[
            allow(READ, &[CORE], "services pods nodes"),
            // A slice blocks the deletion of its Service.
            allow("update", &[CORE], "services/finalizers"),
            allow(
                "create delete get list update watch",
                &[DISCOVERY],
                "endpointslices",
            ),
            record_events(),
        ],
    ),
    (
        "endpointslicemirroring-controller",
        &[
            allow(READ, &[CORE], "services endpoints"),
            allow("update", &[CORE], "services/finalizers"),
            allow("update", &[CORE], "endpoints/finalizers"),
            allow(
                "create delete get list update watch",
                &[DISCOVERY],
                "endpointslices",
            ),
            record_events(),
        ],
    ),
    (
        "expand-controller",
        &[
            allow(READ_UPDATE, &[CORE], "persistentvolumes"),
            allow("patch update", &[CORE], "persistentvolumeclaims/status"),
            allow(READ, &[CORE], "persistentvolumeclaims"),
            record_events(),
        ],
    ),
    (
        "ephemeral-volume-controller",
        &[
            allow(READ, &[CORE], "pods"),
            allow("update", &[CORE], "pods/finalizers"),
            allow("create get list watch", &[CORE], "persistentvolumeclaims"),
            record_events(),
        ],
    ),
    (
        "resource-claim-controller",
        &[
            allow(READ, &[CORE], "pods"),
            allow("update", &[CORE], "pods/finalizers"),
            allow(
                "create delete get list watch",
                &[RESOURCE],
                "resourceclaims",
            ),
            allow(
                "patch update",
                &[RESOURCE],
                "resourceclaims resourceclaims/status",
            ),
            allow("patch update", &[CORE], "pods/status"),
            record_events(),
            allow("patch update", &[RESOURCE], "resourceclaims/binding"),
        ],
    ),
    (
        "device-taint-eviction-controller",
        &[
            allow("delete get list watch", &[CORE], "pods"),
            allow("patch update", &[CORE], "pods/status"),
            allow(READ, &[RESOURCE], "resourceclaims"),
            allow(READ, &[RESOURCE], "resourceslices"),
            allow(READ, &[RESOURCE], "deviceclasses"),
            record_events(),
            allow("patch update", &[RESOURCE], "devicetaintrules/status"),
            allow(READ, &[RESOURCE], "devicetaintrules"),
        ],
    ),
    (
        "generic-garbage-collector",
        &[
            allow("delete get list patch update watch", &["*"], "*"),
            record_events(),
        ],
    ),
    (
        "namespace-controller",
        &[
            allow("delete get list watch", &[CORE], "namespaces"),
            allow("update", &[CORE], "namespaces/finalize namespaces/status"),
            allow("delete deletecollection get list watch", &["*"], "*"),
        ],
    ),
    (
        "node-controller",
        &[
            allow("delete get list patch update watch", &[CORE], "nodes"),
            allow("patch update", &[CORE], "nodes/status"),
            allow("patch update", &[CORE], "pods/status"),
            allow("delete get list watch", &[CORE], "pods"),
            allow(READ, &[COORDINATION], "leases"),
            record_events(),
        ],
    ),
    (
        "persistent-volume-binder",
        &[
            allow(
                "create delete get list update watch",
                &[CORE],
                "persistentvolumes",
            ),
            allow("update", &[CORE], "persistentvolumes/status"),
            allow("get list update watch", &[CORE], "persistentvolumeclaims"),
            allow("update", &[CORE], "persistentvolumeclaims/status"),
            allow("create delete get list watch", &[CORE], "pods"),
            allow(READ, &[STORAGE], "storageclasses"),
            allow("list watch", &[CORE], "nodes"),
            record_events(),
            allow("watch", &[CORE], "events"),
        ],
    ),
    (
        "resourcequota-controller",
        &[
            allow("list watch", &["*"], "*"),
            allow("update", &[CORE], "resourcequotas/status"),
            record_events(),
        ],
    ),
    (
        "route-controller",
        &[
            allow("list watch", &[CORE], "nodes"),
            allow("patch", &[CORE], "nodes/status"),
            record_events(),
        ],
    ),
    (
        "service-account-controller",
        &[allow("create", &[CORE], "serviceaccounts"), record_events()],
    ),
    (
        "service-controller",
        &[
            allow(READ, &[CORE], "services"),
            allow("patch update", &[CORE], "services/status"),
            allow("list watch", &[CORE], "nodes"),
            record_events(),
        ],
    ),
    (
        "service-cidrs-controller",
        &[
            allow(READ_UPDATE, &[NETWORKING], "servicecidrs"),
            allow("patch update", &[NETWORKING], "servicecidrs/finalizers"),
            allow("patch update", &[NETWORKING], "servicecidrs/status"),
            allow(READ, &[NETWORKING], "ipaddresses"),
            record_events(),
        ],
    ),
    (
        "ttl-controller",
        &[
            allow("list patch update watch", &[CORE], "nodes"),
            record_events(),
        ],
    ),
    (
        "certificate-controller",
        &[
            allow(
                "delete get list watch",
                &[CERTIFICATES],
                "certificatesigningrequests",
            ),
            allow(
                "update",
                &[CERTIFICATES],
                "certificatesigningrequests/status certificatesigningrequests/approval",
            ),
            allow("approve", &[CERTIFICATES], "signers")
                .names("kubernetes.io/kube-apiserver-client-kubelet"),
            allow("sign", &[CERTIFICATES], "signers").names(
                "kubernetes.io/legacy-unknown kubernetes.io/kube-apiserver-client \
                 kubernetes.io/kube-apiserver-client-kubelet kubernetes.io/kubelet-serving",
            ),
            allow("create", &[AUTHORIZATION], "subjectaccessreviews"),
            record_events(),
        ],
    ),
    (
        "podcertificaterequestcleaner",
        &[allow(
            "delete get list watch",
            &[CERTIFICATES],
            "podcertificaterequests",
        )],
    ),
    (
        "pvc-protection-controller",
        &[
            allow("get list update watch", &[CORE], "persistentvolumeclaims"),
            allow("update", &[CORE], "persistentvolumeclaims/status"),
            allow(READ, &[CORE], "pods"),
            record_events(),
        ],
    ),
    (
        "pv-protection-controller",
        &[
            allow("get list update watch", &[CORE], "persistentvolumes"),
            record_events(),
        ],
    ),
    (
        "volumeattributesclass-protection-controller",
        &[
            allow(READ, &[CORE], "persistentvolumeclaims"),
            allow(READ, &[CORE], "persistentvolumes"),
            allow(
                "get list update watch",
                &[STORAGE],
                "volumeattributesclasses",
            ),
            record_events(),
        ],
    ),
    (
        "root-ca-cert-publisher",
        &[
            allow("create update", &[CORE], "configmaps"),
            record_events(),
        ],
    ),
    (
        "kube-apiserver-serving-clustertrustbundle-publisher",
        &[
            allow("attest", &[CERTIFICATES], "signers")
                .names("kubernetes.io/kube-apiserver-serving"),
            allow(
                "create delete list update watch",
                &[CERTIFICATES],
                "clustertrustbundles",
            ),
            record_events(),
        ],
    ),
    (
        "validatingadmissionpolicy-status-controller",
        &[
            allow(READ, &[ADMISSION], "validatingadmissionpolicies"),
            allow(
                "get patch update",
                &[ADMISSION],
                "validatingadmissionpolicies/status",
            ),
            record_events(),
        ],
    ),
    (
        "legacy-service-account-token-cleaner",
        &[
            allow("get", &[CORE], "configmaps")
                .names("kube-apiserver-legacy-service-account-token-tracking"),
            allow("delete patch", &[CORE], "secrets"),
        ],
    ),
    (
        "selinux-warning-controller",
        &[
            record_events(),
            allow(READ, &[CORE], "persistentvolumes"),
            allow(READ, &[CORE], "persistentvolumeclaims"),
            allow(READ, &[CORE], "pods"),
            allow(READ, &[STORAGE], "csidrivers"),
        ],
    ),
];
