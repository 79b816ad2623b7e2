//! The actions that are due for a pod, and when to ask again.

use pandaemon_types::Phase;

use crate::{
    action::{KillReason, PodAction, kill},
    backoff::BackoffState,
    container_actions::{Step, container_steps},
    desired::DesiredPod,
    observed::{ContainerState, Millis, ObservedPod, Sandbox},
    pod_status::pod_status,
    status::PodStatus,
};

/// What to do now, when to ask again, and what to report.
#[derive(Debug, Clone, PartialEq)]
pub struct PodActions {
    /// The due actions. They are independent of each other and may be performed concurrently.
    pub actions: Vec<PodAction>,
    /// Compute again at this time even if nothing changes: a back-off ends.
    pub wake_at: Option<Millis>,
    /// The status to report.
    pub status: PodStatus,
}

/// Computes the actions that bring the observed pod to its desired state, as the kubelet's
/// `computePodActions` does. It never fails: whatever is running too much is stopped and whatever
/// is missing is started.
#[must_use]
pub fn compute_pod_actions(
    pod: &DesiredPod,
    observed: &ObservedPod,
    backoff: &BackoffState,
    now: Millis,
) -> PodActions {
    let mut result = PodActions {
        actions: Vec::new(),
        wake_at: None,
        status: pod_status(pod, observed, backoff, now),
    };
    if pod.deletion.is_some() {
        stop_pod(&mut result, observed, KillReason::PodDeleted);
        if result.actions.is_empty() {
            result.actions.push(PodAction::CleanUp);
        }
    } else if pod.rejected.is_some() || is_terminal(result.status.phase) {
        stop_pod(&mut result, observed, KillReason::PodCompleted);
    } else {
        run_pod(&mut result, pod, observed, backoff, now);
        remove_dead_containers(&mut result, observed);
    }
    result
}

const fn is_terminal(phase: Phase) -> bool {
    matches!(phase, Phase::Succeeded | Phase::Failed)
}

/// Kills the running containers; once none runs, stops the sandboxes.
fn stop_pod(result: &mut PodActions, observed: &ObservedPod, reason: KillReason) {
    result
        .actions
        .extend(observed.running().map(|container| kill(container, reason)));
    if result.actions.is_empty() {
        let ready = observed.sandboxes.iter().filter(|sandbox| sandbox.ready);
        result
            .actions
            .extend(ready.map(|sandbox| PodAction::StopSandbox {
                id: sandbox.id.clone(),
            }));
    }
}

fn run_pod(
    result: &mut PodActions,
    pod: &DesiredPod,
    observed: &ObservedPod,
    backoff: &BackoffState,
    now: Millis,
) {
    let Some(sandbox) = usable_sandbox(observed) else {
        stop_pod(result, observed, KillReason::SandboxChanged);
        if result.actions.is_empty() {
            let attempt = observed.sandbox().map_or(0, |sandbox| sandbox.attempt + 1);
            match backoff.sandbox_retry_at(now) {
                Some(until) => result.wake_at = Some(until),
                None => result.actions.push(PodAction::CreateSandbox { attempt }),
            }
        }
        return;
    };
    for step in container_steps(pod, observed, sandbox, backoff, now) {
        match step {
            Step::Act(action) => result.actions.push(action),
            Step::WaitUntil(until) => {
                result.wake_at = Some(result.wake_at.map_or(until, |old| old.min(until)));
            }
        }
    }
}

/// The newest sandbox, if it is ready and no other one is.
fn usable_sandbox(observed: &ObservedPod) -> Option<&Sandbox> {
    let newest = observed.sandbox().filter(|sandbox| sandbox.ready)?;
    let ready = observed
        .sandboxes
        .iter()
        .filter(|sandbox| sandbox.ready)
        .count();
    (ready == 1).then_some(newest)
}

/// Removes exited containers, but keeps for each name the newest one and the one before it: their
/// logs and last states are still shown.
fn remove_dead_containers(result: &mut PodActions, observed: &ObservedPod) {
    let dead = observed
        .containers
        .iter()
        .filter(|one| one.state != ContainerState::Running);
    let unneeded = dead.filter(|one| {
        let keep = [observed.latest(&one.name), observed.previous(&one.name)];
        !keep.into_iter().flatten().any(|kept| kept.id == one.id)
    });
    result
        .actions
        .extend(unneeded.map(|one| PodAction::RemoveContainer { id: one.id.clone() }));
}
