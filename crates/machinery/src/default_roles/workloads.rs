//! The rules of the controllers that run pods. Upstream: `controller_policy.go`.

use super::rule::{
    APPS, AUTOSCALING, BATCH, CORE, EXTENSIONS, POLICY, READ, READ_UPDATE, Rule, allow,
    record_events,
};

/// An account of `kube-system`, and the rules of its role.
pub(super) type Account = (&'static str, &'static [Rule]);

pub(super) const WORKLOADS: &[Account] = &[
    (
        "cronjob-controller",
        &[
            allow("get list update watch", &[BATCH], "cronjobs"),
            allow(
                "create delete get list patch update watch",
                &[BATCH],
                "jobs",
            ),
            allow("update", &[BATCH], "cronjobs/status"),
            allow("update", &[BATCH], "cronjobs/finalizers"),
            allow("delete list watch", &[CORE], "pods"),
            record_events(),
        ],
    ),
    (
        "daemon-set-controller",
        &[
            allow(READ, &[EXTENSIONS, APPS], "daemonsets"),
            allow("update", &[EXTENSIONS, APPS], "daemonsets/status"),
            allow("update", &[EXTENSIONS, APPS], "daemonsets/finalizers"),
            allow("list watch", &[CORE], "nodes"),
            allow("create delete list patch watch", &[CORE], "pods"),
            allow("create", &[CORE], "pods/binding"),
            allow(
                "create delete get list patch update watch",
                &[APPS],
                "controllerrevisions",
            ),
            record_events(),
        ],
    ),
    (
        "deployment-controller",
        &[
            allow("get list update watch", &[EXTENSIONS, APPS], "deployments"),
            allow("update", &[EXTENSIONS, APPS], "deployments/status"),
            allow("update", &[EXTENSIONS, APPS], "deployments/finalizers"),
            allow(
                "create delete get list patch update watch",
                &[APPS, EXTENSIONS],
                "replicasets",
            ),
            allow("get list update watch", &[CORE], "pods"),
            record_events(),
        ],
    ),
    (
        "disruption-controller",
        &[
            allow(READ, &[EXTENSIONS, APPS], "deployments"),
            allow(READ, &[APPS, EXTENSIONS], "replicasets"),
            allow(READ, &[CORE], "replicationcontrollers"),
            allow(READ, &[POLICY], "poddisruptionbudgets"),
            allow(READ, &[APPS], "statefulsets"),
            allow("update", &[POLICY], "poddisruptionbudgets/status"),
            allow("patch update", &[CORE], "pods/status"),
            allow("get", &["*"], "*/scale"),
            record_events(),
        ],
    ),
    (
        "horizontal-pod-autoscaler",
        &[
            allow(READ, &[AUTOSCALING], "horizontalpodautoscalers"),
            allow("update", &[AUTOSCALING], "horizontalpodautoscalers/status"),
            allow("get update", &["*"], "*/scale"),
            allow("list watch", &[CORE], "pods"),
            allow("list watch", &["metrics.k8s.io"], "pods"),
            allow(READ, &["custom.metrics.k8s.io"], "*"),
            allow(READ, &["external.metrics.k8s.io"], "*"),
            record_events(),
        ],
    ),
    (
        "job-controller",
        &[
            allow(READ_UPDATE, &[BATCH], "jobs"),
            allow("update", &[BATCH], "jobs/status"),
            allow("update", &[BATCH], "jobs/finalizers"),
            allow("create delete list patch watch", &[CORE], "pods"),
            record_events(),
        ],
    ),
    (
        "pod-garbage-collector",
        &[
            allow("delete list watch", &[CORE], "pods"),
            allow(READ, &[CORE], "nodes"),
            allow("patch", &[CORE], "pods/status"),
        ],
    ),
    (
        "replicaset-controller",
        &[
            allow("get list update watch", &[APPS, EXTENSIONS], "replicasets"),
            allow("update", &[APPS, EXTENSIONS], "replicasets/status"),
            allow("update", &[APPS, EXTENSIONS], "replicasets/finalizers"),
            allow("create delete list patch watch", &[CORE], "pods"),
            record_events(),
        ],
    ),
    (
        "replication-controller",
        &[
            allow("get list update watch", &[CORE], "replicationcontrollers"),
            allow("update", &[CORE], "replicationcontrollers/status"),
            allow("update", &[CORE], "replicationcontrollers/finalizers"),
            allow("create delete list patch watch", &[CORE], "pods"),
            record_events(),
        ],
    ),
    (
        "statefulset-controller",
        &[
            allow("list watch", &[CORE], "pods"),
            allow(READ, &[APPS], "statefulsets"),
            allow("update", &[APPS], "statefulsets/status"),
            allow("update", &[APPS], "statefulsets/finalizers"),
            allow("create delete get patch update", &[CORE], "pods"),
            allow(
                "create delete get list patch update watch",
                &[APPS],
                "controllerrevisions",
            ),
            allow("create get list watch", &[CORE], "persistentvolumeclaims"),
            allow("delete update", &[CORE], "persistentvolumeclaims"),
            allow("update", &[CORE], "pods/finalizers"),
            record_events(),
        ],
    ),
    (
        "ttl-after-finished-controller",
        &[
            allow("delete get list watch", &[BATCH], "jobs"),
            record_events(),
        ],
    ),
];
