//! The status manager of one pod: sends the latest status until the API server has accepted it.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use pandaemon_runtime::Shutdown;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use crate::{context::Context, pod::PodRef};

/// The first delay before a request is tried again; it doubles with each failure.
const FIRST_DELAY: Duration = Duration::from_millis(200);
/// The longest delay before a request is tried again.
const MAX_DELAY: Duration = Duration::from_secs(3);
/// Timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Sends the status of one pod.
pub(crate) struct StatusManager {
    latest: watch::Sender<Value>,
    end: Option<oneshot::Sender<bool>>,
    ended: oneshot::Receiver<()>,
}

impl StatusManager {
    /// Starts the task that sends statuses. The receiver shows the latest status.
    #[must_use]
    pub(crate) fn start(
        context: &Arc<Context>,
        pod: &Arc<PodRef>,
        previous: Value,
        shutdown: Shutdown,
    ) -> (Self, watch::Receiver<Value>) {
        let (latest, mut receiver) = watch::channel(previous);
        receiver.mark_unchanged();
        let (end, end_receiver) = oneshot::channel();
        let (ended_sender, ended) = oneshot::channel();
        let task = StatusSender {
            api: Api::namespaced(context.client.clone(), &pod.namespace),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
        };
        let seen = latest.subscribe();
        pandaemon_runtime::spawn("status manager", async move {
            shutdown.guard(task.run(receiver, end_receiver)).await;
            let _ = ended_sender.send(());
        });
        (
            Self {
                latest,
                end: Some(end),
                ended,
            },
            seen,
        )
    }

    /// The latest status that was passed to [`StatusManager::set`].
    #[must_use]
    pub(crate) fn last(&self) -> Value {
        self.latest.borrow().clone()
    }

    /// Replaces the status that is to be sent.
    pub(crate) fn set(&self, status: Value) {
        self.latest.send_replace(status);
    }

    /// Sends the last status and then deletes the Pod with grace period 0; with `removed`, when its
    /// object no longer exists, does neither.
    pub(crate) async fn finish(mut self, removed: bool) {
        if let Some(end) = self.end.take() {
            let _ = end.send(removed);
        }
        let _ = self.ended.await;
    }
}

struct StatusSender {
    api: Api<Pod>,
    name: String,
    uid: String,
}

impl StatusSender {
    async fn run(self, mut latest: watch::Receiver<Value>, mut end: oneshot::Receiver<bool>) {
        let removed = loop {
            tokio::select! {
                biased;
                changed = latest.changed() => {
                    if changed.is_err() {
                        // The worker has dropped the sender; `end` says why.
                        break end.await.unwrap_or(true);
                    }
                    if let Some(removed) = self.send_unless_removed(&mut latest, &mut end).await {
                        break removed;
                    }
                }
                removed = &mut end => break removed.unwrap_or(true),
            }
        };
        if !removed {
            self.delete().await;
        }
    }

    /// Sends the latest status, and returns the value of `end` if that arrives meanwhile (a oneshot
    /// must not be polled again). If the Pod is removed, sending stops; otherwise it is completed
    /// first.
    async fn send_unless_removed(
        &self,
        latest: &mut watch::Receiver<Value>,
        end: &mut oneshot::Receiver<bool>,
    ) -> Option<bool> {
        let mut sending = std::pin::pin!(self.send(latest));
        tokio::select! {
            () = &mut sending => None,
            removed = end => {
                let removed = removed.unwrap_or(true);
                if !removed {
                    sending.await;
                }
                Some(removed)
            }
        }
    }

    /// Sends the latest status until the server accepts it or says that this pod no longer exists.
    async fn send(&self, latest: &mut watch::Receiver<Value>) {
        let mut delay = FIRST_DELAY;
        loop {
            let status = latest.borrow_and_update().clone();
            let patch = json!({ "metadata": { "uid": self.uid }, "status": status });
            let params = PatchParams::default();
            let patch = Patch::Merge(&patch);
            let call = self.api.patch_status(&self.name, &params, &patch);
            match tokio::time::timeout(REQUEST_TIMEOUT, call).await {
                Ok(Ok(_pod)) => return,
                Ok(Err(kube::Error::Api(error))) if matches!(error.code, 404 | 409 | 410) => {
                    // The pod does not exist, or another one has its name.
                    tracing::debug!(
                        pod = self.name,
                        error = error.message,
                        "dropped a status: the pod no longer exists"
                    );
                    return;
                }
                Ok(Err(error)) => {
                    tracing::debug!(pod = self.name, %error, "cannot send a status; trying again");
                }
                Err(_elapsed) => {
                    tracing::debug!(pod = self.name, "sending a status timed out; trying again");
                }
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(MAX_DELAY);
        }
    }

    async fn delete(&self) {
        let preconditions = Preconditions {
            uid: Some(self.uid.clone()),
            ..Preconditions::default()
        };
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        let mut delay = FIRST_DELAY;
        loop {
            match tokio::time::timeout(REQUEST_TIMEOUT, self.api.delete(&self.name, &params)).await
            {
                Ok(Ok(_)) => return,
                Ok(Err(kube::Error::Api(error))) if matches!(error.code, 404 | 409 | 410) => return,
                Ok(Err(error)) => {
                    tracing::debug!(pod = self.name, %error, "cannot delete a pod; trying again");
                }
                Err(_elapsed) => {
                    tracing::debug!(pod = self.name, "deleting a pod timed out; trying again");
                }
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(MAX_DELAY);
        }
    }
}
