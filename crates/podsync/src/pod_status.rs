//! Computes the status of a pod as the kubelet's `generateAPIPodStatus` does.

use pandaemon_types::Phase;

use crate::{
    backoff::{BackoffState, PULL_ERROR_SHOWN},
    conditions::conditions,
    desired::{ContainerSpec, DesiredPod, RestartPolicy},
    lifecycle,
    observed::{Container, ContainerState, Millis, ObservedPod},
    status::{ContainerStatus, PodStatus, StateStatus, Terminated},
};

/// Computes the pod's status from its desired and observed state.
pub(crate) fn pod_status(
    pod: &DesiredPod,
    observed: &ObservedPod,
    backoff: &BackoffState,
    now: Millis,
) -> PodStatus {
    let initialized = lifecycle::initialized(pod, observed);
    let inputs = Inputs {
        pod,
        observed,
        backoff,
        now,
        initialized,
    };
    let init: Vec<_> = pod
        .init
        .iter()
        .map(|spec| inputs.container(spec, true))
        .collect();
    let main: Vec<_> = pod
        .main
        .iter()
        .map(|spec| inputs.container(spec, false))
        .collect();
    let ephemeral = pod.ephemeral.iter();
    let ephemeral = ephemeral.map(|spec| inputs.ephemeral(spec)).collect();
    let (phase, reason, message) = match &pod.rejected {
        Some((reason, message)) => (Phase::Failed, reason.clone(), message.clone()),
        None => {
            let now = || phase(pod, &init, &main, initialized);
            (pod.ended.unwrap_or_else(now), String::new(), String::new())
        }
    };
    let sandbox = observed.sandbox().filter(|sandbox| sandbox.ready);
    let ips = sandbox
        .map(|sandbox| sandbox.ips.clone())
        .unwrap_or_default();
    let mut status = PodStatus {
        phase,
        reason,
        message,
        conditions: Vec::new(),
        init,
        main,
        ephemeral,
        ips,
    };
    status.conditions = conditions(pod, &status, initialized, sandbox.is_some());
    status
}

struct Inputs<'a> {
    pod: &'a DesiredPod,
    observed: &'a ObservedPod,
    backoff: &'a BackoffState,
    now: Millis,
    initialized: bool,
}

impl Inputs<'_> {
    fn container(&self, spec: &ContainerSpec, init: bool) -> ContainerStatus {
        let latest = self.observed.latest(&spec.name);
        let state = self.state(spec, latest, init);
        let running = latest.filter(|one| one.state == ContainerState::Running);
        let started = running.is_some_and(|one| self.observed.started(spec, one));
        let ready = match (init && !spec.sidecar, &state) {
            (true, StateStatus::Terminated(end)) => end.exit_code == 0,
            (true, _) => false,
            (false, _) => running.is_some_and(|one| self.observed.ready(spec, one)),
        };
        let waiting = matches!(state, StateStatus::Waiting { .. });
        let ended = latest.filter(|one| one.state == ContainerState::Exited);
        let last = if waiting { ended } else { None };
        let last = last
            .or_else(|| self.observed.previous(&spec.name))
            .map(terminated);
        ContainerStatus {
            name: spec.name.clone(),
            image: latest
                .map(|one| one.image.clone())
                .filter(|image| !image.is_empty())
                .unwrap_or_else(|| spec.image.clone()),
            image_id: latest.map(|one| one.image_id.clone()).unwrap_or_default(),
            id: latest.map(|one| one.id.clone()).unwrap_or_default(),
            restarts: latest.map_or(0, |one| one.attempt),
            ready,
            started,
            state,
            last,
        }
    }

    /// An ephemeral container is never reported as ready or started.
    fn ephemeral(&self, spec: &ContainerSpec) -> ContainerStatus {
        ContainerStatus {
            ready: false,
            started: false,
            ..self.container(spec, false)
        }
    }

    fn state(&self, spec: &ContainerSpec, latest: Option<&Container>, init: bool) -> StateStatus {
        if let Some(one) = latest.filter(|one| one.state == ContainerState::Running) {
            return StateStatus::Running {
                started_at: one.started_at,
            };
        }
        if let Some(waiting) = self.failure(spec) {
            return waiting;
        }
        match latest.filter(|one| one.state == ContainerState::Exited) {
            Some(ended) => self
                .crash_loop(spec, ended)
                .unwrap_or_else(|| StateStatus::Terminated(terminated(ended))),
            None => {
                let creating = self.initialized && !init || self.pod.init.is_empty();
                let reason = if creating {
                    "ContainerCreating"
                } else {
                    "PodInitializing"
                };
                waiting(reason, "")
            }
        }
    }

    fn failure(&self, spec: &ContainerSpec) -> Option<StateStatus> {
        let failure = self.backoff.failure(&spec.name)?;
        match &failure.image {
            // First the pull error is shown, then the back-off until the next attempt.
            Some(image)
                if failure.since + PULL_ERROR_SHOWN <= self.now && self.now < failure.retry_at =>
            {
                let message = format!(
                    "Back-off pulling image \"{image}\": {}: {}",
                    failure.reason, failure.message
                );
                Some(waiting("ImagePullBackOff", &message))
            }
            _ => Some(waiting(&failure.reason, &failure.message)),
        }
    }

    fn crash_loop(&self, spec: &ContainerSpec, ended: &Container) -> Option<StateStatus> {
        if self.pod.deletion.is_some() || !self.is_restarted(spec, ended) {
            return None;
        }
        let (_, delay) =
            self.backoff
                .crash_backoff(&spec.name, &spec.hash, ended.finished_at, self.now)?;
        let message = format!(
            "back-off {} restarting failed container={} pod={}",
            duration(delay),
            spec.name,
            self.pod.label
        );
        Some(waiting("CrashLoopBackOff", &message))
    }

    fn is_restarted(&self, spec: &ContainerSpec, ended: &Container) -> bool {
        let is_in = |list: &[ContainerSpec]| list.iter().any(|one| one.name == spec.name);
        let init = is_in(&self.pod.init);
        match self.pod.restart_policy {
            _ if spec.sidecar => true,
            _ if is_in(&self.pod.ephemeral) => false,
            RestartPolicy::Always if init => ended.exit_code != 0,
            policy => lifecycle::restarts(policy)(ended.exit_code),
        }
    }
}

fn waiting(reason: &str, message: &str) -> StateStatus {
    StateStatus::Waiting {
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

fn terminated(container: &Container) -> Terminated {
    let reason = match (container.reason.is_empty(), container.exit_code) {
        (false, _) => container.reason.clone(),
        (true, 0) => "Completed".to_owned(),
        (true, _) => "Error".to_owned(),
    };
    Terminated {
        id: container.id.clone(),
        exit_code: container.exit_code,
        reason,
        message: container.message.clone(),
        started_at: container.started_at,
        finished_at: container.finished_at,
    }
}

/// A duration as Go prints it: `10s`, `1m20s`, `5m0s`.
fn duration(millis: Millis) -> String {
    let seconds = millis / 1000;
    match seconds / 60 {
        0 => format!("{seconds}s"),
        minutes => format!("{minutes}m{}s", seconds % 60),
    }
}

/// The phase by the rules of the kubelet's `getPhase`.
fn phase(
    pod: &DesiredPod,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    initialized: bool,
) -> Phase {
    let failed = |one: &ContainerStatus| matches!(&one.state, StateStatus::Terminated(end) if end.exit_code != 0);
    if pod.restart_policy == RestartPolicy::Never
        && !initialized
        && pod
            .init
            .iter()
            .zip(init)
            .any(|(spec, one)| !spec.sidecar && failed(one))
    {
        return Phase::Failed;
    }
    let count =
        |wanted: fn(&ContainerStatus) -> bool| main.iter().filter(|&one| wanted(one)).count();
    let running = count(|one| matches!(one.state, StateStatus::Running { .. }));
    let ended = count(|one| matches!(one.state, StateStatus::Terminated(_)));
    let restarting =
        count(|one| matches!(one.state, StateStatus::Waiting { .. }) && one.last.is_some());
    let never_ran = main.len() - running - ended - restarting;
    if never_ran > 0 || !initialized && running == 0 {
        return Phase::Pending;
    }
    let succeeded =
        count(|one| matches!(&one.state, StateStatus::Terminated(end) if end.exit_code == 0));
    match pod.restart_policy {
        _ if running > 0 || restarting > 0 => Phase::Running,
        RestartPolicy::Always if pod.deletion.is_none() => Phase::Running,
        _ if succeeded == main.len() => Phase::Succeeded,
        RestartPolicy::Never | RestartPolicy::Always => Phase::Failed,
        RestartPolicy::OnFailure if pod.deletion.is_some() => Phase::Failed,
        RestartPolicy::OnFailure => Phase::Running,
    }
}
