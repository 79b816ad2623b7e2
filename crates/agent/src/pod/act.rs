//! Performing actions: each in a future of its own, so that a slow one delays no other.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use pandaemon_podsync::{BackoffState, ObservedPod, PodAction};
use tokio_util::sync::CancellationToken;

use super::{hooks::Target, kill, start::Starter};
use crate::context::now;

/// What became of an action.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// A sandbox runs.
    SandboxMade,
    /// None could be made; the words.
    SandboxFailed(String),
    /// A container runs.
    Started {
        /// Its name.
        name: String,
    },
    /// A container could not be made or started.
    Failed {
        /// Its name.
        name: String,
        /// The waiting reason.
        reason: &'static str,
        /// The words.
        message: String,
    },
    /// A container's image could not be pulled.
    PullFailed {
        /// The container's name.
        name: String,
        /// The image.
        image: String,
        /// The words.
        message: String,
    },
    /// Something was stopped or removed.
    Killed,
    /// It did not work out; the next plan will ask for it again after a while.
    Retry,
    /// Everything that the pod held is free.
    Finished,
    /// Nothing was done.
    Nothing,
}

impl Outcome {
    /// Notes what the next plans must know.
    pub(crate) fn note(&self, memory: &mut BackoffState) {
        let now = now();
        match self {
            Self::SandboxMade => memory.record_sandbox_created(),
            Self::SandboxFailed(message) => memory.record_sandbox_failure(message, now),
            Self::Started { name } => memory.record_started(name),
            Self::Failed {
                name,
                reason,
                message,
            } => memory.record_failure(name, reason, message, now),
            Self::PullFailed {
                name,
                image,
                message,
            } => {
                memory.record_pull_failure(name, image, message, now);
            }
            Self::Killed | Self::Retry | Self::Finished | Self::Nothing => (),
        }
    }
}

/// The actions under way, by what they are about.
#[derive(Default)]
pub(crate) struct InFlight {
    futures: FuturesUnordered<BoxFuture<'static, (String, Outcome)>>,
    keys: BTreeMap<String, CancellationToken>,
}

impl InFlight {
    /// The next action that ends; never if none is under way.
    pub(crate) async fn next(&mut self) -> Outcome {
        match self.futures.next().await {
            Some((key, outcome)) => {
                self.keys.remove(&key);
                outcome
            }
            None => std::future::pending().await,
        }
    }

    /// Gives up stopping with the old grace period; the next plan stops with the new one.
    pub(crate) fn cancel_kills(&self) {
        self.keys
            .iter()
            .filter(|(key, _)| key.starts_with("kill "))
            .for_each(|(_, one)| one.cancel());
    }

    /// Begins an action unless the same is under way.
    pub(crate) fn begin(
        &mut self,
        action: PodAction,
        starter: &Starter,
        observed: &ObservedPod,
        memory: &mut BackoffState,
    ) {
        let key = key(&action);
        let busy = |prefix: &str| self.keys.keys().any(|key| key.starts_with(prefix));
        // Freeing a pod must not run beside anything that makes something of it.
        if self.keys.contains_key(&key) || (action == PodAction::CleanUp && busy("")) {
            return;
        }
        if let PodAction::StartContainer { name, ended, .. } = &action
            && let Some((container, _)) = starter.pod.container(name)
        {
            let image = container.image.clone().unwrap_or_default();
            let hash = pandaemon_podsync::container_hash(name, &image);
            memory.record_start(name, &hash, *ended, now());
        }
        let cancel = CancellationToken::new();
        let future = perform(action, starter.clone(), observed);
        self.push(key, cancel, future);
    }

    fn push(
        &mut self,
        key: String,
        cancel: CancellationToken,
        future: impl Future<Output = Outcome> + Send + 'static,
    ) {
        self.keys.insert(key.clone(), cancel.clone());
        self.futures.push(Box::pin(async move {
            let outcome = cancel.run_until_cancelled(future).await;
            (key, outcome.unwrap_or(Outcome::Nothing))
        }));
    }
}

fn key(action: &PodAction) -> String {
    match action {
        PodAction::CreateSandbox { .. } => "sandbox".to_owned(),
        PodAction::StopSandbox { id } => format!("stop {id}"),
        PodAction::StartContainer { name, .. } => format!("start {name}"),
        PodAction::KillContainer { id, .. } => format!("kill {id}"),
        PodAction::RemoveContainer { id } => format!("remove {id}"),
        PodAction::CleanUp => "finish".to_owned(),
    }
}

fn perform(
    action: PodAction,
    starter: Starter,
    observed: &ObservedPod,
) -> BoxFuture<'static, Outcome> {
    let (context, pod) = (Arc::clone(&starter.context), Arc::clone(&starter.pod));
    match action {
        PodAction::CreateSandbox { attempt } => {
            Box::pin(async move { starter.sandbox(attempt).await })
        }
        PodAction::StartContainer { name, attempt, .. } => {
            let sandbox = observed
                .sandbox()
                .map(|one| one.id.clone())
                .unwrap_or_default();
            Box::pin(async move { starter.container(sandbox, name, attempt).await })
        }
        PodAction::KillContainer { name, id, reason } => {
            let ip = starter
                .around
                .pod_ips
                .first()
                .and_then(|ip| ip.parse().ok());
            let target = Target {
                id,
                ip: ip.unwrap_or(context.address),
            };
            Box::pin(kill::container(context, pod, target, name, reason))
        }
        PodAction::StopSandbox { id } => Box::pin(async move {
            match context.runtime.stop_sandbox(&id).await {
                Ok(()) => Outcome::Killed,
                Err(error) => {
                    tracing::warn!(%error, pod = pod.name, "stop a sandbox");
                    Outcome::Retry
                }
            }
        }),
        PodAction::RemoveContainer { id } => Box::pin(async move {
            match context.runtime.remove_container(&id).await {
                Ok(()) => Outcome::Killed,
                Err(error) => {
                    tracing::warn!(%error, pod = pod.name, "remove a container");
                    Outcome::Retry
                }
            }
        }),
        PodAction::CleanUp => Box::pin(kill::free(context, pod, observed.clone())),
    }
}
