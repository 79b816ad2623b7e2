//! The status manager of one pod: sends the latest status until the API server has accepted it, and
//! then deletes the object of a terminated pod. What others change of the conditions that the node
//! owns is sent again. Upstream: `pkg/kubelet/status`.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use pandaemon_client::supervise::restart_on_panic;
use pandaemon_runtime::Shutdown;
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    context::Context,
    pod::{
        PodRef,
        api_status::{owned_conditions_differ, status_patch},
    },
};

/// The first delay before a request is tried again; it doubles with each failure.
const FIRST_DELAY: Duration = Duration::from_millis(200);
/// The longest delay before a request is tried again.
const MAX_DELAY: Duration = Duration::from_secs(3);
/// Timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// What the API server is to know of a pod.
#[derive(Debug, Clone)]
struct Goal {
    /// The latest status.
    status: Value,
    /// The newest version of the object in which another client had changed what the node owns.
    changed_at: u64,
    /// Set when nothing of the pod is left on the node.
    end: Option<End>,
}

/// What happens to the Pod object in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It is deleted with grace period 0 after the last status was sent.
    Delete,
    /// It no longer exists: nothing more is sent.
    Forget,
}

/// What the API server has accepted.
#[derive(Debug, Clone)]
struct Accepted {
    status: Value,
    /// The version of the object with that status.
    version: u64,
}

impl Accepted {
    /// Whether nothing is left to be sent.
    fn reaches(&self, goal: &Goal) -> bool {
        self.status == goal.status && self.version >= goal.changed_at
    }
}

/// Sends the status of one pod.
#[derive(Debug)]
pub(crate) struct StatusManager {
    goal: watch::Sender<Goal>,
    ended: watch::Receiver<bool>,
}

impl StatusManager {
    /// Starts the task that sends statuses; `reported` is the status that the API server has.
    #[must_use]
    pub(crate) fn start(
        context: &Arc<Context>,
        pod: &Arc<PodRef>,
        reported: Value,
        shutdown: Shutdown,
    ) -> Arc<Self> {
        let goal = watch::Sender::new(Goal {
            status: reported.clone(),
            changed_at: 0,
            end: None,
        });
        let (ended_sender, ended) = watch::channel(false);
        let sender = StatusSender {
            api: Api::namespaced(context.client.clone(), &pod.namespace),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            accepted: watch::Sender::new(Accepted {
                status: reported,
                version: 0,
            }),
        };
        let receiver = goal.subscribe();
        pandaemon_runtime::spawn("status manager", async move {
            let run = || sender.clone().run(receiver.clone());
            shutdown
                .guard(restart_on_panic("status manager", run))
                .await;
            ended_sender.send_replace(true);
        });
        Arc::new(Self { goal, ended })
    }

    /// The latest status that was passed to [`StatusManager::set`].
    #[must_use]
    pub(crate) fn last(&self) -> Value {
        self.goal.borrow().status.clone()
    }

    /// Replaces the status that is to be sent.
    pub(crate) fn set(&self, status: Value) {
        self.goal.send_modify(|goal| goal.status = status);
    }

    /// Takes in the pod as the API server shows it. When another client has changed a condition
    /// that the node owns, the status is sent again: the node life cycle controller marks the pods
    /// of a silent node as not ready, and the node may come back. Upstream: `needsReconcile`.
    pub(crate) fn reconcile(&self, pod: &PodRef) {
        let version = pod.object.metadata.resource_version.as_deref();
        let version = version.and_then(|version| version.parse().ok());
        let shown = pod.object.status.as_ref();
        self.goal.send_if_modified(|goal| match (version, shown) {
            (Some(version), Some(shown)) if owned_conditions_differ(shown, &goal.status) => {
                std::mem::replace(&mut goal.changed_at, version) != version
            }
            _ => false,
        });
    }

    /// Sends the last status and then deletes the Pod with grace period 0. With `removed`, when its
    /// object no longer exists, does neither.
    pub(crate) async fn finish(&self, removed: bool) {
        let end = if removed { End::Forget } else { End::Delete };
        self.goal.send_modify(|goal| goal.end = Some(end));
        let mut ended = self.ended.clone();
        let _closed = ended.wait_for(|ended| *ended).await;
    }
}

#[derive(Clone)]
struct StatusSender {
    api: Api<Pod>,
    name: String,
    uid: String,
    accepted: watch::Sender<Accepted>,
}

impl StatusSender {
    async fn run(self, mut goal: watch::Receiver<Goal>) {
        let mut forgotten = goal.clone();
        tokio::select! {
            () = self.reach(&mut goal) => (),
            _ = forgotten.wait_for(|goal| goal.end == Some(End::Forget)) => (),
        }
    }

    /// Sends each new status, and deletes the pod in the end.
    async fn reach(&self, goal: &mut watch::Receiver<Goal>) {
        loop {
            let latest = goal.borrow_and_update().clone();
            if !self.accepted.borrow().reaches(&latest) {
                self.send(goal).await;
            } else if latest.end == Some(End::Delete) {
                return self.delete().await;
            } else if goal.changed().await.is_err() {
                return;
            }
        }
    }

    /// Sends the latest status until the server accepts it or says that this pod no longer exists.
    async fn send(&self, goal: &mut watch::Receiver<Goal>) {
        let mut delay = FIRST_DELAY;
        loop {
            let Goal {
                status, changed_at, ..
            } = goal.borrow_and_update().clone();
            let patch = status_patch(&self.uid, status.clone());
            let params = PatchParams::default();
            let patch = Patch::Strategic(&patch);
            let call = self.api.patch_status(&self.name, &params, &patch);
            match tokio::time::timeout(REQUEST_TIMEOUT, call).await {
                Ok(Ok(pod)) => {
                    let version = pod.metadata.resource_version;
                    let version = version.and_then(|version| version.parse().ok());
                    // The change may have been undone already: then nothing was written.
                    let version = version.unwrap_or(0).max(changed_at);
                    self.accepted.send_replace(Accepted { status, version });
                    return;
                }
                Ok(Err(kube::Error::Api(error))) if matches!(error.code, 404 | 409 | 410) => {
                    // The pod does not exist, or another one has its name.
                    tracing::debug!(pod = self.name, error = error.message, "dropped a status");
                    let version = changed_at;
                    self.accepted.send_replace(Accepted { status, version });
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
