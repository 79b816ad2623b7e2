//! The plan: which actions are due, and when to ask again.

use crate::{
    Container, ContainerState, Memory, Millis, Observed, Phase, PodStatus, PodView, Sandbox,
    sequence::{self, Due},
    status,
};

/// Why a container is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillReason {
    /// The pod goes away.
    PodDeleted,
    /// Its sandbox is gone or changed.
    SandboxChanged,
    /// Its specification changed.
    SpecChanged,
    /// Its liveness probe failed.
    Unhealthy,
    /// Its startup probe failed.
    NeverStarted,
    /// Nothing is left to run in the pod.
    PodCompleted,
}

/// One thing for the shell to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make and start a sandbox.
    CreateSandbox {
        /// Counts the pod's sandboxes.
        attempt: u32,
    },
    /// Stop a sandbox; its containers have been stopped before.
    StopSandbox {
        /// The sandbox.
        id: String,
    },
    /// Pull, make and start a container in the newest sandbox.
    Start {
        /// The container's name.
        name: String,
        /// Counts the starts.
        attempt: u32,
        /// When the one before it ended.
        ended: Option<Millis>,
    },
    /// Stop a running container.
    Kill {
        /// The container's name.
        name: String,
        /// The runtime's id.
        id: String,
        /// Why.
        reason: KillReason,
    },
    /// Remove an ended container that nobody asks for any more.
    Remove {
        /// The runtime's id.
        id: String,
    },
    /// Everything has stopped: free what the pod held, report, and let the object go.
    Finish,
}

/// What is due now, when to ask again, and what to report.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In order. Kills may be done side by side.
    pub actions: Vec<Action>,
    /// Ask again at this time even if nothing happens.
    pub wake: Option<Millis>,
    /// What to report.
    pub status: PodStatus,
}

/// Decides what is due. Never fails; an unexpected world leads to stopping what is too much and
/// starting what is missing.
#[must_use]
pub fn plan(view: &PodView, observed: &Observed, memory: &Memory, now: Millis) -> Plan {
    let status = status::status(view, observed, memory, now);
    let mut plan = Plan {
        actions: Vec::new(),
        wake: None,
        status,
    };
    if view.deletion.is_some() {
        stop_all(&mut plan, observed, KillReason::PodDeleted);
        if plan.actions.is_empty() {
            plan.actions.push(Action::Finish);
        }
    } else if view.rejected.is_some() || terminal(plan.status.phase) {
        stop_all(&mut plan, observed, KillReason::PodCompleted);
    } else {
        run(&mut plan, view, observed, memory, now);
        collect(&mut plan, observed);
    }
    plan
}

const fn terminal(phase: Phase) -> bool {
    matches!(phase, Phase::Succeeded | Phase::Failed)
}

/// Stops the containers, then, in the next plan, the sandboxes.
fn stop_all(plan: &mut Plan, observed: &Observed, reason: KillReason) {
    plan.actions
        .extend(observed.running().map(|container| kill(container, reason)));
    if plan.actions.is_empty() {
        let ready = observed.sandboxes.iter().filter(|sandbox| sandbox.ready);
        plan.actions
            .extend(ready.map(|sandbox| Action::StopSandbox {
                id: sandbox.id.clone(),
            }));
    }
}

fn run(plan: &mut Plan, view: &PodView, observed: &Observed, memory: &Memory, now: Millis) {
    let Some(sandbox) = usable(observed) else {
        stop_all(plan, observed, KillReason::SandboxChanged);
        if plan.actions.is_empty() {
            let attempt = observed.sandbox().map_or(0, |sandbox| sandbox.attempt + 1);
            match memory.sandbox_wait(now) {
                Some(until) => plan.wake = Some(until),
                None => plan.actions.push(Action::CreateSandbox { attempt }),
            }
        }
        return;
    };
    for due in sequence::due(view, observed, sandbox, memory, now) {
        match due {
            Due::Act(action) => plan.actions.push(action),
            Due::Wait(until) => plan.wake = Some(plan.wake.map_or(until, |old| old.min(until))),
        }
    }
}

/// The newest sandbox, if it runs and is the only one that does.
fn usable(observed: &Observed) -> Option<&Sandbox> {
    let newest = observed.sandbox().filter(|sandbox| sandbox.ready)?;
    let running = observed
        .sandboxes
        .iter()
        .filter(|sandbox| sandbox.ready)
        .count();
    (running == 1).then_some(newest)
}

pub(crate) fn kill(container: &Container, reason: KillReason) -> Action {
    Action::Kill {
        name: container.name.clone(),
        id: container.id.clone(),
        reason,
    }
}

/// Of each name the newest container is kept, and the one before it for its log and last state.
fn collect(plan: &mut Plan, observed: &Observed) {
    let dead = observed
        .containers
        .iter()
        .filter(|one| one.state != ContainerState::Running);
    let needless = dead.filter(|one| {
        let keep = [observed.latest(&one.name), observed.previous(&one.name)];
        !keep.into_iter().flatten().any(|kept| kept.id == one.id)
    });
    plan.actions
        .extend(needless.map(|one| Action::Remove { id: one.id.clone() }));
}
