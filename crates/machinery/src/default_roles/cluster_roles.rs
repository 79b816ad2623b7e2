//! The ClusterRoles of users. Upstream: `ClusterRoles` of `policy.go`, its first half.

use serde_json::Value;

use super::{
    objects::{aggregate, aggregated_to, cluster_role},
    rule::{
        APPS, AUTHENTICATION, AUTHORIZATION, AUTOSCALING, BATCH, COORDINATION, CORE, DISCOVERY,
        EVENTS, EXTENSIONS, NETWORKING, POLICY, RBAC, READ, READ_WRITE, RESOURCE, Rule, WRITE,
        allow, allow_paths,
    },
};

pub(super) fn cluster_roles() -> Vec<Value> {
    let everything = [allow("*", &["*"], "*"), allow_paths("*").verbs("*")];
    let discovery =
        "/livez /readyz /healthz /version /version/ /openapi /openapi/* /api /api/* /apis /apis/*";
    let monitoring = "/metrics /metrics/slis /livez /readyz /healthz /livez/* /readyz/* /healthz/* /flagz /statusz";
    let reviews = [
        allow(
            "create",
            &[AUTHORIZATION],
            "selfsubjectaccessreviews selfsubjectrulesreviews",
        ),
        allow("create", &[AUTHENTICATION], "selfsubjectreviews"),
    ];
    let admin = [
        allow("create", &[AUTHORIZATION], "localsubjectaccessreviews"),
        allow(READ_WRITE, &[RBAC], "roles rolebindings"),
    ];
    vec![
        cluster_role("cluster-admin", &everything),
        cluster_role("system:discovery", &[allow_paths(discovery)]),
        cluster_role(
            "system:monitoring",
            &[
                allow_paths(monitoring),
                allow("get", &[CORE], "nodes/metrics"),
            ],
        ),
        cluster_role("system:basic-user", &reviews),
        cluster_role(
            "system:public-info-viewer",
            &[allow_paths("/livez /readyz /healthz /version /version/")],
        ),
        // Of a namespace: `edit`, and giving rights to others.
        aggregate("admin"),
        // Of a namespace: writing what users write, and reading secrets. Not what describes the
        // state of the system (`/status`), nor quotas and limits.
        aggregated_to("admin", aggregate("edit")),
        // Of a namespace: reading what gives no more rights.
        aggregated_to("edit", aggregate("view")),
        aggregated_to("admin", cluster_role("system:aggregate-to-admin", &admin)),
        aggregated_to("edit", cluster_role("system:aggregate-to-edit", EDIT)),
        aggregated_to("view", cluster_role("system:aggregate-to-view", VIEW)),
    ]
}

const VIEW: &[Rule] = &[
    allow(
        READ,
        &[CORE],
        "pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status \
         endpoints persistentvolumeclaims persistentvolumeclaims/status configmaps",
    ),
    allow(
        READ,
        &[CORE],
        "limitranges resourcequotas bindings pods/status resourcequotas/status namespaces/status \
         replicationcontrollers/status pods/log",
    ),
    // By a binding of a namespace: this namespace.
    allow(READ, &[CORE], "namespaces"),
    allow(READ, &[CORE, EVENTS], "events"),
    allow(READ, &[DISCOVERY], "endpointslices"),
    allow(
        READ,
        &[APPS],
        "controllerrevisions statefulsets statefulsets/status statefulsets/scale daemonsets daemonsets/status \
         deployments deployments/status deployments/scale replicasets replicasets/status replicasets/scale",
    ),
    allow(
        READ,
        &[AUTOSCALING],
        "horizontalpodautoscalers horizontalpodautoscalers/status",
    ),
    allow(READ, &[BATCH], "jobs cronjobs cronjobs/status jobs/status"),
    allow(
        READ,
        &[EXTENSIONS],
        "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status \
         replicasets replicasets/scale replicasets/status replicationcontrollers/scale networkpolicies",
    ),
    allow(
        READ,
        &[POLICY],
        "poddisruptionbudgets poddisruptionbudgets/status",
    ),
    allow(
        READ,
        &[NETWORKING],
        "networkpolicies ingresses ingresses/status",
    ),
    allow(
        READ,
        &[RESOURCE],
        "resourceclaims resourceclaims/status resourceclaimtemplates",
    ),
];

const EDIT: &[Rule] = &[
    // Reading that gives more rights.
    allow(
        READ,
        &[CORE],
        "pods/attach pods/proxy pods/exec pods/portforward secrets services/proxy",
    ),
    allow("impersonate", &[CORE], "serviceaccounts"),
    allow(
        WRITE,
        &[CORE],
        "pods pods/attach pods/proxy pods/exec pods/portforward",
    ),
    allow("create", &[CORE], "pods/eviction"),
    allow(
        WRITE,
        &[CORE],
        "replicationcontrollers replicationcontrollers/scale serviceaccounts services services/proxy \
         persistentvolumeclaims configmaps secrets",
    ),
    allow("create", &[CORE], "serviceaccounts/token"),
    allow(WRITE, &[CORE, EVENTS], "events"),
    allow(
        WRITE,
        &[APPS],
        "statefulsets statefulsets/scale daemonsets deployments deployments/scale deployments/rollback \
         replicasets replicasets/scale",
    ),
    allow(WRITE, &[AUTOSCALING], "horizontalpodautoscalers"),
    allow(WRITE, &[BATCH], "jobs cronjobs"),
    allow(
        WRITE,
        &[EXTENSIONS],
        "daemonsets deployments deployments/scale deployments/rollback ingresses replicasets replicasets/scale \
         replicationcontrollers/scale networkpolicies",
    ),
    allow(WRITE, &[POLICY], "poddisruptionbudgets"),
    allow(WRITE, &[NETWORKING], "networkpolicies ingresses"),
    allow(READ_WRITE, &[COORDINATION], "leases"),
    allow(WRITE, &[RESOURCE], "resourceclaims resourceclaimtemplates"),
];
