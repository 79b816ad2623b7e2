//! The pod's conditions, in the kubelet's words.

use super::{Condition, ContainerStatus, Phase, PodStatus, State};
use crate::PodView;

pub(super) fn conditions(
    view: &PodView,
    status: &PodStatus,
    initialized: bool,
    sandbox: bool,
) -> Vec<Condition> {
    let containers = containers_ready(view, status);
    let ready = ready(view, &containers);
    let plain = |kind, holds| Condition {
        kind,
        holds,
        reason: "",
        message: String::new(),
    };
    vec![
        plain("PodReadyToStartContainers", sandbox),
        initialized_condition(view, status, initialized),
        ready,
        containers,
        plain("PodScheduled", true),
    ]
}

fn initialized_condition(view: &PodView, status: &PodStatus, initialized: bool) -> Condition {
    let holds = initialized || status.phase == Phase::Succeeded;
    if holds {
        let reason = if status.phase == Phase::Succeeded {
            "PodCompleted"
        } else {
            ""
        };
        return Condition {
            kind: "Initialized",
            holds,
            reason,
            message: String::new(),
        };
    }
    let incomplete = view.init.iter().zip(&status.init).filter(|(spec, one)| {
        if spec.sidecar {
            return !one.started;
        }
        !matches!(&one.state, State::Terminated(end) if end.exit_code == 0)
    });
    let names: Vec<_> = incomplete.map(|(_, one)| one.name.as_str()).collect();
    let message = format!("containers with incomplete status: [{}]", names.join(" "));
    Condition {
        kind: "Initialized",
        holds,
        reason: "ContainersNotInitialized",
        message,
    }
}

fn containers_ready(view: &PodView, status: &PodStatus) -> Condition {
    let kind = "ContainersReady";
    let ended = |reason| Condition {
        kind,
        holds: false,
        reason,
        message: String::new(),
    };
    match status.phase {
        Phase::Succeeded => return ended("PodCompleted"),
        Phase::Failed => return ended("PodFailed"),
        Phase::Pending | Phase::Running => (),
    }
    let sidecars = view
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
        return Condition {
            kind,
            holds: true,
            reason: "",
            message: String::new(),
        };
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Condition {
        kind,
        holds: false,
        reason: "ContainersNotReady",
        message,
    }
}

fn ready(view: &PodView, containers: &Condition) -> Condition {
    let mut ready = Condition {
        kind: "Ready",
        ..containers.clone()
    };
    if !containers.holds {
        return ready;
    }
    let closed = view.gates.iter().filter(|&(_, &open)| !open);
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
