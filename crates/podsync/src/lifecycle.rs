//! Rules about a container's place in the life of its pod that actions and status share.

use crate::{
    desired::{ContainerSpec, DesiredPod, RestartPolicy},
    observed::{ContainerState, ObservedPod, Sandbox},
};

/// Whether a container that exited with this code is restarted under the policy.
pub(crate) const fn restarts(policy: RestartPolicy) -> fn(i32) -> bool {
    match policy {
        RestartPolicy::Always => |_| true,
        RestartPolicy::OnFailure => |code| code != 0,
        RestartPolicy::Never => |_| false,
    }
}

/// Whether all init containers are through, so that the main containers may run.
pub(crate) fn initialized(pod: &DesiredPod, observed: &ObservedPod) -> bool {
    let Some(sandbox) = observed.sandbox() else {
        return pod.init.is_empty();
    };
    main_container_exists(pod, observed, sandbox)
        || pod
            .init
            .iter()
            .all(|spec| init_passed(spec, observed, sandbox))
}

/// Whether a main container exists in this sandbox: then all its init containers have passed, even
/// if they were removed since.
pub(crate) fn main_container_exists(
    pod: &DesiredPod,
    observed: &ObservedPod,
    sandbox: &Sandbox,
) -> bool {
    pod.main.iter().any(|spec| {
        observed
            .latest(&spec.name)
            .is_some_and(|one| one.sandbox == sandbox.id)
    })
}

/// Whether the next init container may run: this one succeeded or, as a sidecar, has started.
pub(crate) fn init_passed(spec: &ContainerSpec, observed: &ObservedPod, sandbox: &Sandbox) -> bool {
    let Some(container) = observed
        .latest(&spec.name)
        .filter(|one| one.sandbox == sandbox.id)
    else {
        return false;
    };
    if spec.sidecar {
        return observed.started(spec, container);
    }
    container.state == ContainerState::Exited && container.exit_code == 0
}
