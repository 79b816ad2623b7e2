//! The pod conditions that the node owns, with the kubelet's reasons and messages.

use pandaemon_types::Phase;

use crate::{
    desired::DesiredPod,
    status::{ContainerStatus, PodCondition, PodStatus, StateStatus},
};

/// Computes the conditions; `sandbox_ready` becomes `PodReadyToStartContainers`.
pub(crate) fn conditions(
    pod: &DesiredPod,
    status: &PodStatus,
    initialized: bool,
    sandbox_ready: bool,
) -> Vec<PodCondition> {
    let containers = containers_ready(pod, status);
    let ready = ready(pod, &containers);
    let plain = |kind, holds| PodCondition {
        kind,
        holds,
        reason: "",
        message: String::new(),
    };
    vec![
        plain("PodReadyToStartContainers", sandbox_ready),
        initialized_condition(pod, status, initialized),
        ready,
        containers,
        plain("PodScheduled", true),
    ]
}

fn initialized_condition(pod: &DesiredPod, status: &PodStatus, initialized: bool) -> PodCondition {
    let holds = initialized || status.phase == Phase::Succeeded;
    if holds {
        let reason = if status.phase == Phase::Succeeded {
            "PodCompleted"
        } else {
            ""
        };
        return PodCondition {
            kind: "Initialized",
            holds,
            reason,
            message: String::new(),
        };
    }
    let incomplete = pod.init.iter().zip(&status.init).filter(|(spec, one)| {
        if spec.sidecar {
            return !one.started;
        }
        !matches!(&one.state, StateStatus::Terminated(end) if end.exit_code == 0)
    });
    let names: Vec<_> = incomplete.map(|(_, one)| one.name.as_str()).collect();
    let message = format!("containers with incomplete status: [{}]", names.join(" "));
    PodCondition {
        kind: "Initialized",
        holds,
        reason: "ContainersNotInitialized",
        message,
    }
}

fn containers_ready(pod: &DesiredPod, status: &PodStatus) -> PodCondition {
    let kind = "ContainersReady";
    let ended = |reason| PodCondition {
        kind,
        holds: false,
        reason,
        message: String::new(),
    };
    match status.phase {
        Phase::Succeeded => return ended("PodCompleted"),
        Phase::Failed => return ended("PodFailed"),
        Phase::Pending | Phase::Running | Phase::Unknown => (),
    }
    let sidecars = pod
        .init
        .iter()
        .zip(&status.init)
        .filter(|(spec, _)| spec.sidecar);
    let all = sidecars.map(|(_, one)| one).chain(&status.main);
    let unready: Vec<&str> = all
        .filter(|one: &&ContainerStatus| !one.ready)
        .map(|one| one.name.as_str())
        .collect();
    if unready.is_empty() {
        return PodCondition {
            kind,
            holds: true,
            reason: "",
            message: String::new(),
        };
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    PodCondition {
        kind,
        holds: false,
        reason: "ContainersNotReady",
        message,
    }
}

fn ready(pod: &DesiredPod, containers: &PodCondition) -> PodCondition {
    let mut ready = PodCondition {
        kind: "Ready",
        ..containers.clone()
    };
    if !containers.holds {
        return ready;
    }
    let closed = pod.gates.iter().filter(|&(_, &open)| !open);
    let messages: Vec<_> = closed
        .map(|(gate, _)| format!("the status of pod readiness gate \"{gate}\" is not \"True\""))
        .collect();
    if !messages.is_empty() {
        ready.holds = false;
        ready.reason = "ReadinessGatesNotReady";
        ready.message = messages.join(", ");
    }
    ready
}
