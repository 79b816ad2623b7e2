//! The pod's status as the kubelet would report it.

use crate::{
    Container, ContainerSpec, ContainerState, Memory, Millis, Observed, PodView, RestartPolicy,
    sequence,
};

mod conditions;

/// Where a pod is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Not everything has started yet.
    #[default]
    Pending,
    /// Runs.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended with an error.
    Failed,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terminated {
    /// The runtime's id.
    pub id: String,
    /// The exit code.
    pub exit_code: i32,
    /// The reason.
    pub reason: String,
    /// The words.
    pub message: String,
    /// When it was started; 0 if never.
    pub started_at: Millis,
    /// When it ended.
    pub finished_at: Millis,
}

/// What a container does, as reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Is to run, but does not.
    Waiting {
        /// The reason.
        reason: String,
        /// The words.
        message: String,
    },
    /// Runs since then.
    Running {
        /// When it was started.
        started_at: Millis,
    },
    /// Ended.
    Terminated(Terminated),
}

/// One container's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerStatus {
    /// The name in the pod.
    pub name: String,
    /// The image's name.
    pub image: String,
    /// The image that it really runs; empty before the start.
    pub image_id: String,
    /// The runtime's id; empty before the start.
    pub id: String,
    /// How often it was started again.
    pub restarts: u32,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it has started.
    pub started: bool,
    /// What it does.
    pub state: State,
    /// How the one before ended.
    pub last: Option<Terminated>,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its type.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// The reason, empty if none.
    pub reason: &'static str,
    /// The words, empty if none.
    pub message: String,
}

/// A pod's status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodStatus {
    /// Where it is in its life.
    pub phase: Phase,
    /// Why it failed as a whole, if it did.
    pub reason: String,
    /// The words to it.
    pub message: String,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// Its init containers.
    pub init: Vec<ContainerStatus>,
    /// Its main containers.
    pub main: Vec<ContainerStatus>,
    /// Its containers for debugging.
    pub ephemeral: Vec<ContainerStatus>,
    /// Its addresses; empty without a sandbox or with host network.
    pub ips: Vec<String>,
}

/// Computes the status.
#[must_use]
pub fn status(view: &PodView, observed: &Observed, memory: &Memory, now: Millis) -> PodStatus {
    let initialized = sequence::initialized(view, observed);
    let scene = Scene {
        view,
        observed,
        memory,
        now,
        initialized,
    };
    let init: Vec<_> = view
        .init
        .iter()
        .map(|spec| scene.container(spec, true))
        .collect();
    let main: Vec<_> = view
        .main
        .iter()
        .map(|spec| scene.container(spec, false))
        .collect();
    let debugging = view.ephemeral.iter();
    let ephemeral = debugging.map(|spec| scene.ephemeral(spec)).collect();
    let (phase, reason, message) = match &view.rejected {
        Some((reason, message)) => (Phase::Failed, reason.clone(), message.clone()),
        None => {
            let now = || phase(view, &init, &main, initialized);
            (view.ended.unwrap_or_else(now), String::new(), String::new())
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
    status.conditions = conditions::conditions(view, &status, initialized, sandbox.is_some());
    status
}

struct Scene<'a> {
    view: &'a PodView,
    observed: &'a Observed,
    memory: &'a Memory,
    now: Millis,
    initialized: bool,
}

impl Scene<'_> {
    fn container(&self, spec: &ContainerSpec, init: bool) -> ContainerStatus {
        let latest = self.observed.latest(&spec.name);
        let state = self.state(spec, latest, init);
        let running = latest.filter(|one| one.state == ContainerState::Running);
        let started = running.is_some_and(|one| self.observed.started(spec, one));
        let ready = match (init && !spec.sidecar, &state) {
            (true, State::Terminated(end)) => end.exit_code == 0,
            (true, _) => false,
            (false, _) => running.is_some_and(|one| self.observed.ready(spec, one)),
        };
        let waiting = matches!(state, State::Waiting { .. });
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

    /// Readiness means nothing for a container that only looks into the others.
    fn ephemeral(&self, spec: &ContainerSpec) -> ContainerStatus {
        ContainerStatus {
            ready: false,
            started: false,
            ..self.container(spec, false)
        }
    }

    fn state(&self, spec: &ContainerSpec, latest: Option<&Container>, init: bool) -> State {
        if let Some(one) = latest.filter(|one| one.state == ContainerState::Running) {
            return State::Running {
                started_at: one.started_at,
            };
        }
        if let Some(waiting) = self.failure(spec) {
            return waiting;
        }
        match latest.filter(|one| one.state == ContainerState::Exited) {
            Some(ended) => self
                .crashed(spec, ended)
                .unwrap_or_else(|| State::Terminated(terminated(ended))),
            None => {
                let creating = self.initialized && !init || self.view.init.is_empty();
                let reason = if creating {
                    "ContainerCreating"
                } else {
                    "PodInitializing"
                };
                waiting(reason, "")
            }
        }
    }

    fn failure(&self, spec: &ContainerSpec) -> Option<State> {
        let failure = self.memory.failure(&spec.name)?;
        match &failure.image {
            // The error itself is shown first, then, until the next try, the back-off.
            Some(image) if failure.since + SHOWN <= self.now && self.now < failure.retry_at => {
                let message = format!(
                    "Back-off pulling image \"{image}\": {}: {}",
                    failure.reason, failure.message
                );
                Some(waiting("ImagePullBackOff", &message))
            }
            _ => Some(waiting(&failure.reason, &failure.message)),
        }
    }

    fn crashed(&self, spec: &ContainerSpec, ended: &Container) -> Option<State> {
        if self.view.deletion.is_some() || !self.runs_again(spec, ended) {
            return None;
        }
        let (_, delay) =
            self.memory
                .crash_wait(&spec.name, &spec.hash, ended.finished_at, self.now)?;
        let message = format!(
            "back-off {} restarting failed container={} pod={}",
            duration(delay),
            spec.name,
            self.view.label
        );
        Some(waiting("CrashLoopBackOff", &message))
    }

    fn runs_again(&self, spec: &ContainerSpec, ended: &Container) -> bool {
        let among = |list: &[ContainerSpec]| list.iter().any(|one| one.name == spec.name);
        let init = among(&self.view.init);
        match self.view.restart_policy {
            _ if spec.sidecar => true,
            _ if among(&self.view.ephemeral) => false,
            RestartPolicy::Always if init => ended.exit_code != 0,
            policy => sequence::restarts(policy)(ended.exit_code),
        }
    }
}

/// For how long a failed pull shows its error before it shows the back-off.
pub(crate) const SHOWN: Millis = 2_000;

fn waiting(reason: &str, message: &str) -> State {
    State::Waiting {
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

/// The phase, as the kubelet's `getPhase` finds it.
fn phase(
    view: &PodView,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    initialized: bool,
) -> Phase {
    let failed =
        |one: &ContainerStatus| matches!(&one.state, State::Terminated(end) if end.exit_code != 0);
    if view.restart_policy == RestartPolicy::Never
        && !initialized
        && view
            .init
            .iter()
            .zip(init)
            .any(|(spec, one)| !spec.sidecar && failed(one))
    {
        return Phase::Failed;
    }
    let count =
        |wanted: fn(&ContainerStatus) -> bool| main.iter().filter(|&one| wanted(one)).count();
    let running = count(|one| matches!(one.state, State::Running { .. }));
    let ended = count(|one| matches!(one.state, State::Terminated(_)));
    let waiting_anew =
        count(|one| matches!(one.state, State::Waiting { .. }) && one.last.is_some());
    let never_ran = main.len() - running - ended - waiting_anew;
    if never_ran > 0 || !initialized && running == 0 {
        return Phase::Pending;
    }
    let well = count(|one| matches!(&one.state, State::Terminated(end) if end.exit_code == 0));
    match view.restart_policy {
        _ if running > 0 || waiting_anew > 0 => Phase::Running,
        RestartPolicy::Always if view.deletion.is_none() => Phase::Running,
        _ if well == main.len() => Phase::Succeeded,
        RestartPolicy::Never | RestartPolicy::Always => Phase::Failed,
        RestartPolicy::OnFailure if view.deletion.is_some() => Phase::Failed,
        RestartPolicy::OnFailure => Phase::Running,
    }
}
