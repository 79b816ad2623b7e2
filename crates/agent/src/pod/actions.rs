//! Performs pod actions, each in a future of its own, so that a slow one does not delay another.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use pandaemon_podsync::{BackoffState, ObservedPod, PodAction};
use tokio_util::sync::CancellationToken;

use super::{action_result::ActionResult, handlers::ContainerTarget, kill, start::Starter};

/// The key of the update of volumes among the actions in progress.
const UPDATE_VOLUMES: &str = "update volumes";

/// The actions in progress.
#[derive(Default)]
pub(crate) struct RunningActions {
    futures: FuturesUnordered<BoxFuture<'static, (String, ActionResult)>>,
    cancel: BTreeMap<String, CancellationToken>,
}

impl RunningActions {
    /// Waits for the next action to end and returns its result. Never resolves if none is in
    /// progress.
    pub(crate) async fn next(&mut self) -> ActionResult {
        match self.futures.next().await {
            Some((key, result)) => {
                self.cancel.remove(&key);
                result
            }
            None => std::future::pending().await,
        }
    }

    /// Cancels the kills in progress. The next computation kills with the new grace period.
    pub(crate) fn cancel_kills(&self) {
        self.cancel
            .iter()
            .filter(|(key, _)| key.starts_with("kill "))
            .for_each(|(_, one)| one.cancel());
    }

    /// Starts an action unless the same one is in progress.
    pub(crate) fn start(
        &mut self,
        action: PodAction,
        starter: &Starter,
        observed: &ObservedPod,
        backoff: &mut BackoffState,
    ) {
        let key = key(&action);
        let busy = |prefix: &str| self.cancel.keys().any(|key| key.starts_with(prefix));
        // The clean-up of a pod must not run while another action creates something of it.
        if self.cancel.contains_key(&key) || (action == PodAction::CleanUp && busy("")) {
            return;
        }
        if let PodAction::StartContainer { name, ended, .. } = &action
            && let Some((container, _)) = starter.pod.container(name)
        {
            let image = container.image.clone().unwrap_or_default();
            let hash = pandaemon_podsync::container_hash(name, &image);
            backoff.record_start(name, &hash, *ended, starter.context.clock.now());
        }
        let cancel = CancellationToken::new();
        let future = perform(action, starter.clone(), observed);
        self.push(key, cancel, future);
    }

    /// Starts an update of the volumes of a running pod. Returns false if one is in progress: that
    /// one may have older objects.
    pub(crate) fn update_volumes(&mut self, starter: &Starter) -> bool {
        if self.cancel.contains_key(UPDATE_VOLUMES) {
            return false;
        }
        let starter = starter.clone();
        self.push(
            UPDATE_VOLUMES.to_owned(),
            CancellationToken::new(),
            async move { starter.update_volumes().await },
        );
        true
    }

    fn push(
        &mut self,
        key: String,
        cancel: CancellationToken,
        future: impl Future<Output = ActionResult> + Send + 'static,
    ) {
        self.cancel.insert(key.clone(), cancel.clone());
        self.futures.push(Box::pin(async move {
            let result = cancel.run_until_cancelled(future).await;
            (key, result.unwrap_or(ActionResult::Skipped))
        }));
    }
}

/// What identifies an action among those in progress.
fn key(action: &PodAction) -> String {
    match action {
        PodAction::CreateSandbox { .. } => "sandbox".to_owned(),
        PodAction::StopSandbox { id } => format!("stop {id}"),
        PodAction::StartContainer { name, .. } => format!("start {name}"),
        PodAction::KillContainer { id, .. } => format!("kill {id}"),
        PodAction::RemoveContainer { id } => format!("remove {id}"),
        PodAction::CleanUp => "clean-up".to_owned(),
    }
}

fn perform(
    action: PodAction,
    starter: Starter,
    observed: &ObservedPod,
) -> BoxFuture<'static, ActionResult> {
    let (context, pod) = (Arc::clone(&starter.context), Arc::clone(&starter.pod));
    match action {
        PodAction::CreateSandbox { attempt } => {
            Box::pin(async move { starter.create_sandbox(attempt).await })
        }
        PodAction::StartContainer { name, attempt, .. } => {
            let sandbox = observed
                .sandbox()
                .map(|one| one.id.clone())
                .unwrap_or_default();
            Box::pin(async move { starter.start_container(sandbox, name, attempt).await })
        }
        PodAction::KillContainer { name, id, reason } => {
            let ip = starter
                .node_info
                .pod_ips
                .first()
                .and_then(|ip| ip.parse().ok());
            let target = ContainerTarget {
                id,
                ip: ip.unwrap_or(context.address),
            };
            Box::pin(kill::kill_container(context, pod, target, name, reason))
        }
        PodAction::StopSandbox { id } => Box::pin(async move {
            match context.runtime.stop_sandbox(&id).await {
                Ok(()) => ActionResult::Done,
                Err(error) => {
                    tracing::warn!(%error, pod = pod.name, "cannot stop a sandbox; trying again");
                    ActionResult::Retry
                }
            }
        }),
        PodAction::RemoveContainer { id } => Box::pin(async move {
            match context.runtime.remove_container(&id).await {
                Ok(()) => ActionResult::Done,
                Err(error) => {
                    tracing::warn!(%error, pod = pod.name, "cannot remove an exited container; trying again");
                    ActionResult::Retry
                }
            }
        }),
        PodAction::CleanUp => Box::pin(kill::clean_up(context, pod, observed.clone())),
    }
}
