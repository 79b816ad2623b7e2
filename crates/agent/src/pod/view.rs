//! The pod as the life-cycle machine sees it.

use k8s_openapi::api::core::v1::Container;
use pandaemon_podsync::{
    ContainerSpec, Deletion, DesiredPod, ProbeSet, RestartPolicy, container_hash,
};

use pandaemon_types::Phase;

use super::PodRef;

/// The pod as wanted; `gone` when its object no longer exists.
#[must_use]
pub(crate) fn view(pod: &PodRef, gone: bool) -> DesiredPod {
    let restart_policy = match pod.spec.restart_policy.as_deref() {
        Some("Never") => RestartPolicy::Never,
        Some("OnFailure") => RestartPolicy::OnFailure,
        _ => RestartPolicy::Always,
    };
    let deleted = gone || pod.object.metadata.deletion_timestamp.is_some();
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

/// How the pod ended, if the API says that it did.
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
