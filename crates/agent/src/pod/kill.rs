//! Stopping containers, and freeing what a pod held.

use std::{sync::Arc, time::Duration};

use pandaemon_podsync::{KillReason, ObservedPod};
use tokio::time::Instant;

use super::{
    PodRef,
    act::Outcome,
    hooks::{self, Target},
};
use crate::{api::events, context::Context, files, logs, volumes};

/// After a preStop hook that used up the grace period a container still gets this long.
const AT_LEAST: Duration = Duration::from_secs(2);

/// Stops a container: preStop hook, then SIGTERM, then, after the grace period, SIGKILL.
pub(crate) async fn container(
    context: Arc<Context>,
    pod: Arc<PodRef>,
    target: Target,
    name: String,
    reason: KillReason,
) -> Outcome {
    let (container, init) = match pod.container(&name) {
        Some((container, init)) => (Some(container), init),
        None => (None, false),
    };
    let about = events::subject(&pod.object, Some((&name, init)));
    context
        .events
        .normal(&about, "Killing", words(&name, reason));
    let grace = Duration::from_secs(u64::try_from(grace(&pod, &name, reason)).unwrap_or(30));
    let began = Instant::now();
    let hook = container
        .and_then(|one| one.lifecycle.as_ref())
        .and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    if let (Some(container), Some(hook)) = (container, hook) {
        let run = hooks::run(&context, &target, container, hook);
        match tokio::time::timeout(grace, run).await {
            Ok(Ok(())) => (),
            Ok(Err(message)) => {
                let message = format!("PreStopHook failed: {message}");
                context.events.warning(&about, "FailedPreStopHook", message);
            }
            Err(_elapsed) => tracing::info!(name, "the preStop hook used up the grace period"),
        }
    }
    let left = grace
        .saturating_sub(began.elapsed())
        .max(AT_LEAST.min(grace));
    match context.runtime.stop_container(&target.id, left).await {
        Ok(()) => Outcome::Killed,
        Err(error) => {
            tracing::warn!(%error, name, "stop a container");
            Outcome::Retry
        }
    }
}

fn grace(pod: &PodRef, name: &str, reason: KillReason) -> i64 {
    let probe = pod.container(name).and_then(|(container, _)| match reason {
        KillReason::LivenessProbeFailed => container.liveness_probe.as_ref(),
        KillReason::StartupProbeFailed => container.startup_probe.as_ref(),
        _ => None,
    });
    let own = probe.and_then(|probe| probe.termination_grace_period_seconds);
    own.unwrap_or_else(|| pod.grace_seconds())
}

fn words(name: &str, reason: KillReason) -> String {
    match reason {
        KillReason::LivenessProbeFailed => {
            format!("Container {name} failed liveness probe, will be restarted")
        }
        KillReason::StartupProbeFailed => {
            format!("Container {name} failed startup probe, will be restarted")
        }
        KillReason::SpecChanged => {
            format!("Container {name} definition changed, will be restarted")
        }
        KillReason::PodDeleted | KillReason::SandboxChanged | KillReason::PodCompleted => {
            format!("Stopping container {name}")
        }
    }
}

/// Frees everything that a stopped pod held: containers, sandboxes, mounts, groups, logs.
pub(crate) async fn free(
    context: Arc<Context>,
    pod: Arc<PodRef>,
    observed: ObservedPod,
) -> Outcome {
    for sandbox in &observed.sandboxes {
        // Stopping once more releases the network of one that died by itself.
        let stopped = context.runtime.stop_sandbox(&sandbox.id).await;
        let removed = context.runtime.remove_sandbox(&sandbox.id).await;
        if let Err(error) = stopped.and(removed) {
            tracing::warn!(%error, pod = pod.name, "remove a sandbox");
            return Outcome::Retry;
        }
    }
    let dir = context.paths.pod(&pod.uid);
    if let Err(error) = volumes::free(&dir) {
        tracing::warn!(%error, dir = %dir.display(), "free a pod's volumes");
        return Outcome::Retry;
    }
    context.cgroups.remove(&pod.uid);
    logs::unlink(&context, &pod);
    let logs = context.paths.pod_logs(&pod.namespace, &pod.name, &pod.uid);
    if let Err(error) = files::remove_dir(&logs) {
        tracing::warn!(%error, dir = %logs.display(), "remove a pod's logs");
    }
    Outcome::Finished
}
