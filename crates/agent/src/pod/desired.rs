//! Converts a Pod object into the desired state that `podsync` computes with.

use k8s_openapi::api::core::v1::Container;
use pandaemon_podsync::{
    ContainerSpec, Deletion, DesiredPod, ProbeSet, RestartPolicy, container_hash,
};

use pandaemon_types::Phase;

use super::PodRef;

/// The desired state of a pod; `removed` when its object no longer exists.
#[must_use]
pub(crate) fn desired_pod(pod: &PodRef, removed: bool) -> DesiredPod {
    let restart_policy = match pod.spec.restart_policy.as_deref() {
        Some("Never") => RestartPolicy::Never,
        Some("OnFailure") => RestartPolicy::OnFailure,
        _ => RestartPolicy::Always,
    };
    let deleted = removed || pod.object.metadata.deletion_timestamp.is_some();
    let init = pod.spec.init_containers.iter().flatten();
    DesiredPod {
        label: pod.label(),
        restart_policy,
        init: init
            .map(|one| container(one, one.restart_policy.is_some()))
            .collect(),
        main: pod
            .spec
            .containers
            .iter()
            .map(|one| container(one, false))
            .collect(),
        ephemeral: pod
            .ephemeral
            .iter()
            .map(|one| container(one, false))
            .collect(),
        deletion: deleted.then(|| Deletion {
            grace_seconds: pod.grace_seconds(),
        }),
        gates: gates(pod),
        rejected: None,
        ended: ended(pod),
    }
}

fn container(container: &Container, sidecar: bool) -> ContainerSpec {
    let image = container.image.clone().unwrap_or_default();
    ContainerSpec {
        hash: container_hash(&container.name, &image),
        name: container.name.clone(),
        image,
        sidecar,
        probes: ProbeSet {
            startup: container.startup_probe.is_some(),
            liveness: container.liveness_probe.is_some(),
            readiness: container.readiness_probe.is_some(),
        },
    }
}

/// The phase in the API, if it is final.
fn ended(pod: &PodRef) -> Option<Phase> {
    match pod.object.status.as_ref()?.phase.as_deref()? {
        "Succeeded" => Some(Phase::Succeeded),
        "Failed" => Some(Phase::Failed),
        _ => None,
    }
}

fn gates(pod: &PodRef) -> std::collections::BTreeMap<String, bool> {
    let conditions = pod
        .object
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let holds = |kind: &str| {
        conditions
            .into_iter()
            .flatten()
            .any(|one| one.type_ == kind && one.status == "True")
    };
    let gates = pod.spec.readiness_gates.iter().flatten();
    gates
        .map(|gate| (gate.condition_type.clone(), holds(&gate.condition_type)))
        .collect()
}
