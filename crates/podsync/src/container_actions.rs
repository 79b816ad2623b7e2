//! The containers of a running sandbox: init containers one after the other, then all main
//! containers at once, each restarted by the pod's restart policy.

use crate::{
    action::{KillReason, PodAction, kill},
    backoff::{BackoffState, PULL_ERROR_SHOWN},
    desired::{ContainerSpec, DesiredPod, RestartPolicy},
    lifecycle::{init_passed, main_container_exists, restarts},
    observed::{Container, ContainerState, Millis, ObservedPod, Sandbox},
};

/// The next step for one container.
pub(crate) enum Step {
    /// Perform this action now.
    Act(PodAction),
    /// Compute again at this time.
    WaitUntil(Millis),
}

struct Inputs<'a> {
    pod: &'a DesiredPod,
    observed: &'a ObservedPod,
    sandbox: &'a Sandbox,
    backoff: &'a BackoffState,
    now: Millis,
}

/// The next steps for the containers of the pod in this sandbox.
pub(crate) fn container_steps(
    pod: &DesiredPod,
    observed: &ObservedPod,
    sandbox: &Sandbox,
    backoff: &BackoffState,
    now: Millis,
) -> Vec<Step> {
    let inputs = Inputs {
        pod,
        observed,
        sandbox,
        backoff,
        now,
    };
    let ephemeral = pod.ephemeral.iter();
    let new = ephemeral.filter(|spec| observed.latest(&spec.name).is_none());
    let mut steps: Vec<_> = new.map(|spec| inputs.start(spec, None)).collect();
    if inputs.init_containers(&mut steps) {
        for spec in &pod.main {
            steps.extend(inputs.keep_running(spec, restarts(pod.restart_policy)));
        }
    }
    steps
}

impl Inputs<'_> {
    /// Steps of the init containers; true when the main containers may run.
    fn init_containers(&self, steps: &mut Vec<Step>) -> bool {
        let initialized = main_container_exists(self.pod, self.observed, self.sandbox);
        for spec in &self.pod.init {
            let passed = init_passed(spec, self.observed, self.sandbox);
            if spec.sidecar {
                steps.extend(self.keep_running(spec, |_| true));
            } else if !initialized && !passed {
                let policy = match self.pod.restart_policy {
                    RestartPolicy::Never => RestartPolicy::Never,
                    RestartPolicy::Always | RestartPolicy::OnFailure => RestartPolicy::OnFailure,
                };
                steps.extend(self.keep_running(spec, restarts(policy)));
            }
            if !initialized && !passed {
                return false;
            }
        }
        true
    }

    /// Keeps one container running; `restarts` says whether an exit code calls for a restart.
    fn keep_running(&self, spec: &ContainerSpec, restarts: fn(i32) -> bool) -> Option<Step> {
        let Some(latest) = self.observed.latest(&spec.name) else {
            return Some(self.start(spec, None));
        };
        let in_this_sandbox = latest.sandbox == self.sandbox.id;
        match latest.state {
            ContainerState::Running => self
                .kill_reason(spec, latest)
                .map(|reason| Step::Act(kill(latest, reason))),
            ContainerState::Exited if in_this_sandbox && !restarts(latest.exit_code) => None,
            ContainerState::Created | ContainerState::Exited => {
                Some(self.start(spec, Some(latest)))
            }
        }
    }

    fn kill_reason(&self, spec: &ContainerSpec, container: &Container) -> Option<KillReason> {
        let results = self
            .observed
            .probes
            .get(&container.id)
            .copied()
            .unwrap_or_default();
        if container.hash != spec.hash {
            Some(KillReason::SpecChanged)
        } else if spec.probes.liveness && results.liveness == Some(false) {
            Some(KillReason::LivenessProbeFailed)
        } else if spec.probes.startup && results.startup == Some(false) {
            Some(KillReason::StartupProbeFailed)
        } else {
            None
        }
    }

    fn start(&self, spec: &ContainerSpec, previous: Option<&Container>) -> Step {
        if let Some(until) = self.backoff_until(spec, previous) {
            return Step::WaitUntil(until);
        }
        let ended = previous
            .filter(|one| one.state == ContainerState::Exited)
            .map(|one| one.finished_at.max(1));
        Step::Act(PodAction::StartContainer {
            name: spec.name.clone(),
            attempt: previous.map_or(0, |one| one.attempt + 1),
            ended,
        })
    }

    fn backoff_until(&self, spec: &ContainerSpec, previous: Option<&Container>) -> Option<Millis> {
        let failed = self.backoff.failure(&spec.name).map(|failure| {
            // One more wake-up in between: there the reported reason changes from the pull error to
            // the back-off.
            let shown = failure.since + PULL_ERROR_SHOWN;
            if failure.image.is_some() && self.now < shown {
                shown
            } else {
                failure.retry_at
            }
        });
        let crashed = previous
            .filter(|one| one.state == ContainerState::Exited)
            .and_then(|one| {
                self.backoff
                    .crash_backoff(&spec.name, &spec.hash, one.finished_at, self.now)
            })
            .map(|(until, _)| until);
        failed
            .into_iter()
            .chain(crashed)
            .filter(|&until| self.now < until)
            .max()
    }
}
