//! The order of containers in a running sandbox: init containers one after the other, then the
//! main ones together, each with its restart rule.

use crate::{
    Action, Container, ContainerSpec, ContainerState, KillReason, Memory, Millis, Observed,
    PodView, RestartPolicy, Sandbox, plan::kill, status::SHOWN,
};

/// Something to do, or a time to wait for.
pub(crate) enum Due {
    Act(Action),
    Wait(Millis),
}

struct Scene<'a> {
    view: &'a PodView,
    observed: &'a Observed,
    sandbox: &'a Sandbox,
    memory: &'a Memory,
    now: Millis,
}

pub(crate) fn due(
    view: &PodView,
    observed: &Observed,
    sandbox: &Sandbox,
    memory: &Memory,
    now: Millis,
) -> Vec<Due> {
    let scene = Scene {
        view,
        observed,
        sandbox,
        memory,
        now,
    };
    let mut due = Vec::new();
    let debugging = view.ephemeral.iter();
    let new = debugging.filter(|spec| observed.latest(&spec.name).is_none());
    due.extend(new.map(|spec| scene.start(spec, None)));
    if scene.initialize(&mut due) {
        for spec in &view.main {
            due.extend(scene.keep(spec, restarts(view.restart_policy)));
        }
    }
    due
}

/// Whether a container that ended with this code runs again under the policy.
pub(crate) const fn restarts(policy: RestartPolicy) -> fn(i32) -> bool {
    match policy {
        RestartPolicy::Always => |_| true,
        RestartPolicy::OnFailure => |code| code != 0,
        RestartPolicy::Never => |_| false,
    }
}

/// Whether the init containers are through, so that the main containers may run.
pub(crate) fn initialized(view: &PodView, observed: &Observed) -> bool {
    let Some(sandbox) = observed.sandbox() else {
        return view.init.is_empty();
    };
    main_ran(view, observed, sandbox)
        || view.init.iter().all(|spec| passed(spec, observed, sandbox))
}

/// Once a main container exists in this sandbox, the init containers have all been through.
fn main_ran(view: &PodView, observed: &Observed, sandbox: &Sandbox) -> bool {
    view.main.iter().any(|spec| {
        observed
            .latest(&spec.name)
            .is_some_and(|one| one.sandbox == sandbox.id)
    })
}

fn passed(spec: &ContainerSpec, observed: &Observed, sandbox: &Sandbox) -> bool {
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

impl Scene<'_> {
    /// Brings the init containers forward; true when the main containers may run.
    fn initialize(&self, due: &mut Vec<Due>) -> bool {
        let ran = main_ran(self.view, self.observed, self.sandbox);
        for spec in &self.view.init {
            let done = passed(spec, self.observed, self.sandbox);
            if spec.sidecar {
                due.extend(self.keep(spec, |_| true));
            } else if !ran && !done {
                let policy = match self.view.restart_policy {
                    RestartPolicy::Never => RestartPolicy::Never,
                    RestartPolicy::Always | RestartPolicy::OnFailure => RestartPolicy::OnFailure,
                };
                due.extend(self.keep(spec, restarts(policy)));
            }
            if !ran && !done {
                return false;
            }
        }
        true
    }

    /// Keeps one container running; `again` says whether an exit code calls for a restart.
    fn keep(&self, spec: &ContainerSpec, again: fn(i32) -> bool) -> Option<Due> {
        let Some(latest) = self.observed.latest(&spec.name) else {
            return Some(self.start(spec, None));
        };
        let here = latest.sandbox == self.sandbox.id;
        match latest.state {
            ContainerState::Running => self
                .fault(spec, latest)
                .map(|reason| Due::Act(kill(latest, reason))),
            ContainerState::Exited if here && !again(latest.exit_code) => None,
            ContainerState::Created | ContainerState::Exited => {
                Some(self.start(spec, Some(latest)))
            }
        }
    }

    fn fault(&self, spec: &ContainerSpec, container: &Container) -> Option<KillReason> {
        let results = self
            .observed
            .probes
            .get(&container.id)
            .copied()
            .unwrap_or_default();
        if container.hash != spec.hash {
            Some(KillReason::SpecChanged)
        } else if spec.probes.liveness && results.liveness == Some(false) {
            Some(KillReason::Unhealthy)
        } else if spec.probes.startup && results.startup == Some(false) {
            Some(KillReason::NeverStarted)
        } else {
            None
        }
    }

    fn start(&self, spec: &ContainerSpec, previous: Option<&Container>) -> Due {
        if let Some(until) = self.wait(spec, previous) {
            return Due::Wait(until);
        }
        let ended = previous
            .filter(|one| one.state == ContainerState::Exited)
            .map(|one| one.finished_at.max(1));
        Due::Act(Action::Start {
            name: spec.name.clone(),
            attempt: previous.map_or(0, |one| one.attempt + 1),
            ended,
        })
    }

    fn wait(&self, spec: &ContainerSpec, previous: Option<&Container>) -> Option<Millis> {
        let failed = self.memory.failure(&spec.name).map(|failure| {
            // Wake up once more in between, when the error turns into the back-off.
            let shown = failure.since + SHOWN;
            if failure.image.is_some() && self.now < shown {
                shown
            } else {
                failure.retry_at
            }
        });
        let crashed = previous
            .filter(|one| one.state == ContainerState::Exited)
            .and_then(|one| {
                self.memory
                    .crash_wait(&spec.name, &spec.hash, one.finished_at, self.now)
            })
            .map(|(until, _)| until);
        failed
            .into_iter()
            .chain(crashed)
            .filter(|&until| self.now < until)
            .max()
    }
}
