//! Kills containers, and releases the resources of a stopped pod.

use std::{sync::Arc, time::Duration};

use pandaemon_client::events::EventType;
use pandaemon_podsync::{KillReason, ObservedPod};
use tokio::time::Instant;

use super::{
    PodRef,
    action_result::ActionResult,
    handlers::{self, ContainerTarget},
};
use crate::{api::events, context::Context, files, logs, volumes};

/// A container gets at least this long after its preStop hook, even if the hook took the whole
/// grace period; the kubelet's `minimumGracePeriodInSeconds`.
const MIN_GRACE: Duration = Duration::from_secs(2);

/// Kills a container: preStop hook, SIGTERM and, after the grace period, SIGKILL.
pub(crate) async fn kill_container(
    context: Arc<Context>,
    pod: Arc<PodRef>,
    target: ContainerTarget,
    name: String,
    reason: KillReason,
) -> ActionResult {
    let (container, init) = match pod.container(&name) {
        Some((container, init)) => (Some(container), init),
        None => (None, false),
    };
    let reference = events::object_reference(&pod.object, Some((&name, init)));
    context.events.event(
        &reference,
        EventType::Normal,
        "Killing",
        kill_message(&name, reason),
    );
    let grace = Duration::from_secs(u64::try_from(grace(&pod, &name, reason)).unwrap_or(30));
    let began = Instant::now();
    let hook = container
        .and_then(|one| one.lifecycle.as_ref())
        .and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    if let (Some(container), Some(hook)) = (container, hook) {
        let run = handlers::run(&context, &target, container, hook);
        match tokio::time::timeout(grace, run).await {
            Ok(Ok(())) => (),
            Ok(Err(message)) => {
                let message = format!("PreStopHook failed: {message}");
                context
                    .events
                    .event(&reference, EventType::Warning, "FailedPreStopHook", message);
            }
            Err(_elapsed) => tracing::info!(name, "the preStop hook took the whole grace period"),
        }
    }
    // The hook is charged in whole seconds, as in the kubelet: CRI takes whole seconds too, and a
    // pod without a hook gets all of its grace period.
    let left = grace
        .saturating_sub(Duration::from_secs(began.elapsed().as_secs()))
        .max(MIN_GRACE.min(grace));
    match context.runtime.stop_container(&target.id, left).await {
        Ok(()) => ActionResult::Done,
        Err(error) => {
            tracing::warn!(%error, name, "cannot stop a container; trying again");
            ActionResult::Retry
        }
    }
}

/// The grace period in seconds; a failed probe may have its own.
fn grace(pod: &PodRef, name: &str, reason: KillReason) -> i64 {
    let probe = pod.container(name).and_then(|(container, _)| match reason {
        KillReason::LivenessProbeFailed => container.liveness_probe.as_ref(),
        KillReason::StartupProbeFailed => container.startup_probe.as_ref(),
        _ => None,
    });
    let own = probe.and_then(|probe| probe.termination_grace_period_seconds);
    own.unwrap_or_else(|| pod.grace_seconds())
}

/// The message of the `Killing` event.
fn kill_message(name: &str, reason: KillReason) -> String {
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

/// Releases everything of a stopped pod: containers, sandboxes, volumes, cgroups, logs.
pub(crate) async fn clean_up(
    context: Arc<Context>,
    pod: Arc<PodRef>,
    observed: ObservedPod,
) -> ActionResult {
    for sandbox in &observed.sandboxes {
        // Stopping again releases the network of a sandbox that ended by itself.
        let stopped = context.runtime.stop_sandbox(&sandbox.id).await;
        let removed = context.runtime.remove_sandbox(&sandbox.id).await;
        if let Err(error) = stopped.and(removed) {
            tracing::warn!(%error, pod = pod.name, "cannot remove a sandbox; trying again");
            return ActionResult::Retry;
        }
    }
    let dir = context.paths.pod(&pod.uid);
    if let Err(error) = volumes::tear_down(&dir) {
        tracing::warn!(%error, dir = %dir.display(), "cannot remove a pod's volumes; trying again");
        return ActionResult::Retry;
    }
    context.cgroups.remove(&pod.uid);
    logs::unlink(&context, &pod);
    let logs = context.paths.pod_logs(&pod.namespace, &pod.name, &pod.uid);
    if let Err(error) = files::remove_dir(&logs) {
        tracing::warn!(%error, dir = %logs.display(), "cannot remove a pod's logs");
    }
    ActionResult::CleanedUp
}
