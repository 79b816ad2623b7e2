//! Reporting a pod's status: the latest only, again and again until the server has it.

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

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(3);
/// An answer that takes longer is given up, and asked for again.
const LIMIT: Duration = Duration::from_secs(15);

/// Reports one pod's status.
pub(crate) struct Reporter {
    latest: watch::Sender<Value>,
    end: Option<oneshot::Sender<bool>>,
    ended: oneshot::Receiver<()>,
}

impl Reporter {
    /// Starts reporting; the receiver shows the latest status.
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
        let task = Task {
            api: Api::namespaced(context.client.clone(), &pod.namespace),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
        };
        let seen = latest.subscribe();
        pandaemon_runtime::spawn("report", async move {
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

    /// The status last reported.
    #[must_use]
    pub(crate) fn last(&self) -> Value {
        self.latest.borrow().clone()
    }

    /// Reports this status as soon as possible.
    pub(crate) fn report(&self, status: Value) {
        self.latest.send_replace(status);
    }

    /// Reports the last status and then lets the pod's object go, unless it is gone.
    pub(crate) async fn finish(mut self, gone: bool) {
        if let Some(end) = self.end.take() {
            let _ = end.send(gone);
        }
        let _ = self.ended.await;
    }
}

struct Task {
    api: Api<Pod>,
    name: String,
    uid: String,
}

impl Task {
    async fn run(self, mut latest: watch::Receiver<Value>, mut end: oneshot::Receiver<bool>) {
        let gone = loop {
            tokio::select! {
                biased;
                changed = latest.changed() => {
                    if changed.is_err() {
                        // The worker has ended; why is in the other channel.
                        break end.await.unwrap_or(true);
                    }
                    if let Some(gone) = self.send_unless_gone(&mut latest, &mut end).await {
                        break gone;
                    }
                }
                gone = &mut end => break gone.unwrap_or(true),
            }
        };
        if !gone {
            self.delete().await;
        }
    }

    /// Sends the latest status. Whoever ends the report meanwhile is heard (once: a oneshot must not be
    /// asked again): when the pod is gone nobody wants the status, otherwise it is sent first.
    async fn send_unless_gone(
        &self,
        latest: &mut watch::Receiver<Value>,
        end: &mut oneshot::Receiver<bool>,
    ) -> Option<bool> {
        let mut sending = std::pin::pin!(self.send(latest));
        tokio::select! {
            () = &mut sending => None,
            gone = end => {
                let gone = gone.unwrap_or(true);
                if !gone {
                    sending.await;
                }
                Some(gone)
            }
        }
    }

    /// Sends the latest status until it arrives, or turns out to be wanted by nobody.
    async fn send(&self, latest: &mut watch::Receiver<Value>) {
        let mut pause = FIRST_RETRY;
        loop {
            let status = latest.borrow_and_update().clone();
            let patch = json!({ "metadata": { "uid": self.uid }, "status": status });
            let params = PatchParams::default();
            let patch = Patch::Merge(&patch);
            let call = self.api.patch_status(&self.name, &params, &patch);
            match tokio::time::timeout(LIMIT, call).await {
                Ok(Ok(_pod)) => return,
                Ok(Err(kube::Error::Api(error))) if matches!(error.code, 404 | 409 | 410) => {
                    // Gone, or another pod of that name.
                    tracing::debug!(pod = self.name, error = error.message, "status unwanted");
                    return;
                }
                Ok(Err(error)) => tracing::debug!(pod = self.name, %error, "report a status"),
                Err(_elapsed) => tracing::debug!(pod = self.name, "reporting takes too long"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_RETRY);
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
        let mut pause = FIRST_RETRY;
        loop {
            match tokio::time::timeout(LIMIT, self.api.delete(&self.name, &params)).await {
                Ok(Ok(_)) => return,
                Ok(Err(kube::Error::Api(error))) if matches!(error.code, 404 | 409 | 410) => return,
                Ok(Err(error)) => tracing::debug!(pod = self.name, %error, "delete a pod"),
                Err(_elapsed) => tracing::debug!(pod = self.name, "deleting takes too long"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_RETRY);
        }
    }
}
