//! The ClusterRoles of components. Upstream: `ClusterRoles` of `policy.go`, its second half.

use serde_json::Value;

use super::{
    objects::cluster_role,
    rule::{
        APPS, AUTHENTICATION, AUTHORIZATION, CERTIFICATES, COORDINATION, CORE, DISCOVERY, EVENTS,
        EXTENSIONS, NETWORKING, NODE, POLICY, READ, READ_UPDATE, READ_WRITE, RESOURCE, Rule,
        STORAGE, allow, allow_paths, record_events,
    },
};

const REVIEW_TOKENS: Rule = allow("create", &[AUTHENTICATION], "tokenreviews");
const REVIEW_ACCESS: Rule = allow("create", &[AUTHORIZATION], "subjectaccessreviews");
const APPROVE: Rule = allow("approve", &[CERTIFICATES], "signers");
const REQUEST_CERTIFICATES: Rule = allow(
    "create get list watch",
    &[CERTIFICATES],
    "certificatesigningrequests",
);

pub(super) fn cluster_roles() -> Vec<Value> {
    let roles = ROLES.iter();
    roles
        .map(|(name, rules)| cluster_role(name, rules))
        .collect()
}

const ROLES: &[(&str, &[Rule])] = &[
    (
        "system:heapster",
        &[
            allow(READ, &[CORE], "events pods nodes namespaces"),
            allow(READ, &[EXTENSIONS], "deployments"),
        ],
    ),
    ("system:node", NODES),
    (
        "system:node-problem-detector",
        &[
            allow("get", &[CORE], "nodes"),
            allow("patch", &[CORE], "nodes/status"),
            record_events(),
        ],
    ),
    ("system:node-bootstrapper", &[REQUEST_CERTIFICATES]),
    ("system:auth-delegator", &[REVIEW_TOKENS, REVIEW_ACCESS]),
    (
        "system:kube-aggregator",
        &[allow(READ, &[CORE], "services endpoints")],
    ),
    ("system:kube-controller-manager", CONTROLLER_MANAGER),
    (
        "system:kube-dns",
        &[allow("list watch", &[CORE], "endpoints services")],
    ),
    (
        "system:persistent-volume-provisioner",
        &[
            allow("create delete get list watch", &[CORE], "persistentvolumes"),
            allow("get list update watch", &[CORE], "persistentvolumeclaims"),
            allow(READ, &[STORAGE], "storageclasses"),
            allow("watch", &[CORE], "events"),
            record_events(),
        ],
    ),
    (
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        &[allow(
            "create",
            &[CERTIFICATES],
            "certificatesigningrequests/nodeclient",
        )],
    ),
    (
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        &[allow(
            "create",
            &[CERTIFICATES],
            "certificatesigningrequests/selfnodeclient",
        )],
    ),
    (
        "system:volume-scheduler",
        &[
            allow(READ_UPDATE, &[CORE], "persistentvolumes"),
            allow(READ, &[STORAGE], "storageclasses"),
            allow(READ_UPDATE, &[CORE], "persistentvolumeclaims"),
        ],
    ),
    (
        "system:certificates.k8s.io:legacy-unknown-approver",
        &[APPROVE.names("kubernetes.io/legacy-unknown")],
    ),
    (
        "system:certificates.k8s.io:kubelet-serving-approver",
        &[APPROVE.names("kubernetes.io/kubelet-serving")],
    ),
    (
        "system:certificates.k8s.io:kube-apiserver-client-approver",
        &[APPROVE.names("kubernetes.io/kube-apiserver-client")],
    ),
    (
        "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
        &[APPROVE.names("kubernetes.io/kube-apiserver-client-kubelet")],
    ),
    (
        "system:service-account-issuer-discovery",
        &[allow_paths(
            "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks \
             /openid/v1/jwks/",
        )],
    ),
    (
        "system:kubelet-api-admin",
        &[
            allow(READ, &[CORE], "nodes"),
            allow("proxy", &[CORE], "nodes"),
            allow(
                "*",
                &[CORE],
                "nodes/proxy nodes/metrics nodes/stats nodes/log",
            ),
            allow("*", &[CORE], "nodes/pods nodes/healthz nodes/configz"),
        ],
    ),
    (
        "system:node-proxier",
        &[
            allow("list watch", &[CORE], "services endpoints"),
            allow(READ, &[CORE], "nodes"),
            record_events(),
            allow("list watch", &[NETWORKING], "servicecidrs"),
            allow("list watch", &[DISCOVERY], "endpointslices"),
        ],
    ),
    ("system:kube-scheduler", SCHEDULER),
    (
        "system:cluster-trust-bundle-discovery",
        &[allow(READ, &[CERTIFICATES], "clustertrustbundles")],
    ),
];

/// What the agents of nodes need. No binding gives it to them: the node authorizer and the
/// admission plugin `NodeRestriction` allow each only what concerns its own node.
const NODES: &[Rule] = &[
    REVIEW_TOKENS,
    allow(
        "create",
        &[AUTHORIZATION],
        "subjectaccessreviews localsubjectaccessreviews",
    ),
    allow(READ, &[CORE], "services"),
    allow("create get list watch", &[CORE], "nodes"),
    allow("patch update", &[CORE], "nodes/status"),
    allow("patch update", &[CORE], "nodes"),
    allow("create patch update", &[CORE, EVENTS], "events"),
    allow(READ, &[CORE], "pods"),
    // Mirror pods.
    allow("create delete", &[CORE], "pods"),
    allow("patch update", &[CORE], "pods/status"),
    allow("create", &[CORE], "pods/eviction"),
    allow(READ, &[CORE], "secrets configmaps"),
    allow("get", &[CORE], "persistentvolumeclaims persistentvolumes"),
    allow("get", &[CORE], "endpoints"),
    REQUEST_CERTIFICATES,
    allow("create delete get patch update", &[COORDINATION], "leases"),
    allow("get", &[STORAGE], "volumeattachments"),
    allow("create", &[CORE], "serviceaccounts/token"),
    allow("get patch update", &[CORE], "persistentvolumeclaims/status"),
    allow(READ, &[STORAGE], "csidrivers"),
    allow("create delete get patch update", &[STORAGE], "csinodes"),
    allow(READ, &[NODE], "runtimeclasses"),
    allow("get", &[RESOURCE], "resourceclaims"),
    allow("deletecollection", &[RESOURCE], "resourceslices"),
    allow(READ, &[CERTIFICATES], "clustertrustbundles"),
    // Tokens for credential providers.
    allow("get", &[CORE], "serviceaccounts"),
    allow(
        "create get list watch",
        &[CERTIFICATES],
        "podcertificaterequests",
    ),
];

const CONTROLLER_MANAGER: &[Rule] = &[
    record_events(),
    // Leader election.
    allow("create", &[COORDINATION], "leases"),
    allow("get update", &[COORDINATION], "leases").names("kube-controller-manager"),
    allow("create", &[CORE], "secrets serviceaccounts"),
    allow("delete", &[CORE], "secrets"),
    allow(
        "get",
        &[CORE],
        "namespaces secrets serviceaccounts configmaps",
    ),
    allow("update", &[CORE], "secrets serviceaccounts"),
    REVIEW_TOKENS,
    REVIEW_ACCESS,
    // The informers that controllers share.
    allow("list watch", &["*"], "*"),
    allow("create", &[CORE], "serviceaccounts/token"),
];

const SCHEDULER: &[Rule] = &[
    record_events(),
    // Leader election.
    allow("create", &[COORDINATION], "leases"),
    allow("get list update watch", &[COORDINATION], "leases").names("kube-scheduler"),
    allow(READ_WRITE, &[COORDINATION], "leasecandidates"),
    allow(READ, &[CORE], "nodes"),
    allow("delete get list watch", &[CORE], "pods"),
    allow("create", &[CORE], "pods/binding bindings"),
    allow("patch update", &[CORE], "pods/status"),
    // What selects pods.
    allow(READ, &[CORE], "services replicationcontrollers"),
    allow(READ, &[APPS, EXTENSIONS], "replicasets"),
    allow(READ, &[APPS], "statefulsets"),
    allow(READ, &[POLICY], "poddisruptionbudgets"),
    allow(READ, &[CORE], "persistentvolumeclaims persistentvolumes"),
    REVIEW_TOKENS,
    REVIEW_ACCESS,
    // Limits of volumes.
    allow(READ, &[STORAGE], "csinodes"),
    allow(READ, &[STORAGE], "volumeattachments"),
    // Affinities to pods by the labels of their namespaces.
    allow(READ, &[CORE], "namespaces"),
    allow(READ, &[STORAGE], "csidrivers"),
    allow(READ, &[STORAGE], "csistoragecapacities"),
    // Dynamic resource allocation.
    allow(READ, &[RESOURCE], "deviceclasses"),
    allow(READ_UPDATE, &[RESOURCE], "resourceclaims"),
    allow(READ_UPDATE, &[RESOURCE], "resourceclaims/status"),
    allow("update", &[CORE], "pods/finalizers"),
    allow(READ, &[RESOURCE], "resourceslices"),
    allow("create delete", &[RESOURCE], "resourceclaims"),
    allow(READ, &[RESOURCE], "devicetaintrules"),
    allow("patch update", &[RESOURCE], "resourceclaims/binding"),
];
