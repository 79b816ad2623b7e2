//! Performing actions: each in a future of its own, so that a slow one delays no other.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use pandaemon_podsync::{Action, Memory, Observed};
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
    pub(crate) fn note(&self, memory: &mut Memory) {
        let now = now();
        match self {
            Self::SandboxMade => memory.sandbox_made(),
            Self::SandboxFailed(message) => memory.sandbox_failed(message, now),
            Self::Started { name } => memory.started(name),
            Self::Failed {
                name,
                reason,
                message,
            } => memory.failed(name, reason, message, now),
            Self::PullFailed {
                name,
                image,
                message,
            } => {
                memory.pull_failed(name, image, message, now);
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
        action: Action,
        starter: &Starter,
        observed: &Observed,
        memory: &mut Memory,
    ) {
        let key = key(&action);
        let busy = |prefix: &str| self.keys.keys().any(|key| key.starts_with(prefix));
        // Freeing a pod must not run beside anything that makes something of it.
        if self.keys.contains_key(&key) || (action == Action::Finish && busy("")) {
            return;
        }
        if let Action::Start { name, ended, .. } = &action
            && let Some((container, _)) = starter.pod.container(name)
        {
            let image = container.image.clone().unwrap_or_default();
            let hash = pandaemon_podsync::container_hash(name, &image);
            memory.starting(name, &hash, *ended, now());
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

fn key(action: &Action) -> String {
    match action {
        Action::CreateSandbox { .. } => "sandbox".to_owned(),
        Action::StopSandbox { id } => format!("stop {id}"),
        Action::Start { name, .. } => format!("start {name}"),
        Action::Kill { id, .. } => format!("kill {id}"),
        Action::Remove { id } => format!("remove {id}"),
        Action::Finish => "finish".to_owned(),
    }
}

fn perform(action: Action, starter: Starter, observed: &Observed) -> BoxFuture<'static, Outcome> {
    let (context, pod) = (Arc::clone(&starter.context), Arc::clone(&starter.pod));
    match action {
        Action::CreateSandbox { attempt } => {
            Box::pin(async move { starter.sandbox(attempt).await })
        }
        Action::Start { name, attempt, .. } => {
            let sandbox = observed
                .sandbox()
                .map(|one| one.id.clone())
                .unwrap_or_default();
            Box::pin(async move { starter.container(sandbox, name, attempt).await })
        }
        Action::Kill { name, id, reason } => {
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
        Action::StopSandbox { id } => Box::pin(async move {
            match context.runtime.stop_sandbox(&id).await {
                Ok(()) => Outcome::Killed,
                Err(error) => {
                    tracing::warn!(%error, pod = pod.name, "stop a sandbox");
                    Outcome::Retry
                }
            }
        }),
        Action::Remove { id } => Box::pin(async move {
            match context.runtime.remove_container(&id).await {
                Ok(()) => Outcome::Killed,
                Err(error) => {
                    tracing::warn!(%error, pod = pod.name, "remove a container");
                    Outcome::Retry
                }
            }
        }),
        Action::Finish => Box::pin(kill::free(context, pod, observed.clone())),
    }
}
