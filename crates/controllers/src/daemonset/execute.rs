//! Carries out one action and returns its outcome.

use http::Method;
use kube::core::Status as ApiStatus;
use pandaemon_client::{
    errors,
    rest::{self, JSON, Rest},
};
use pandaemon_planner::{
    Action, DaemonSetView, Failure, FailureKind, Patch, Purpose, Reply, RevisionView, SetKey,
    Status, revision_text,
};
use pandaemon_types::{PodView, Uid};
use serde::de::DeserializeOwned;
use serde_json::{Value, json, value::RawValue};

use crate::flow_control::request_gate::RequestPriority;

/// Sends the requests of actions.
#[derive(Clone)]
pub(super) struct Executor {
    api: Rest,
}

impl Executor {
    pub(super) const fn new(api: Rest) -> Self {
        Self { api }
    }

    /// The same, with another priority of its requests at the request gate.
    pub(super) fn with_priority(&self, priority: Option<RequestPriority>) -> Self {
        let api = self.api.clone();
        Self {
            api: match priority {
                Some(priority) => api.extension(priority),
                None => api,
            },
        }
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        media_type: &'static str,
        body: String,
    ) -> kube::Result<T> {
        self.api
            .send(method, path, media_type, body.into_bytes())
            .await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> kube::Result<T> {
        self.send(Method::GET, path, JSON, String::new()).await
    }

    async fn patch<T: DeserializeOwned>(&self, path: &str, patch: &Patch) -> kube::Result<T> {
        let (form, body) = match patch {
            Patch::Merge(body) => (rest::Patch::Merge, body),
            Patch::Strategic(body) => (rest::Patch::Strategic, body),
        };
        self.send(Method::PATCH, path, form.media_type(), body.to_string())
            .await
    }
}

fn pods(set: &SetKey) -> String {
    format!("/api/v1/namespaces/{}/pods", set.namespace)
}

fn revisions(set: &SetKey) -> String {
    format!(
        "/apis/apps/v1/namespaces/{}/controllerrevisions",
        set.namespace
    )
}

fn set_path(set: &SetKey) -> String {
    format!(
        "/apis/apps/v1/namespaces/{}/daemonsets/{}",
        set.namespace, set.name
    )
}

/// Carries out an action and returns the reply or the failure for the planner.
pub(super) async fn execute(api: &Executor, action: &Action) -> Result<Reply, Failure> {
    let result = match action {
        Action::CreatePod {
            set,
            node,
            name,
            bind,
            template,
            ..
        } => {
            let body = template.render(name, node, *bind);
            return create_pod(api, set, name, body).await;
        }
        Action::DeletePod { set, pod, .. } => {
            return delete(api, &format!("{}/{}", pods(set), pod.name), &pod.uid).await;
        }
        Action::PatchPod {
            set,
            owner,
            pod,
            purpose,
            patch,
        } => {
            check_owner(api, set, owner, *purpose).await?;
            let path = format!("{}/{}", pods(set), pod.name);
            api.patch(&path, patch)
                .await
                .map(|pod| Reply::Pod(Box::new(pod)))
        }
        Action::CreateRevision { set, object, .. } => {
            return create_revision(api, set, object).await;
        }
        Action::PatchRevision {
            set,
            owner,
            name,
            purpose,
            patch,
        } => {
            check_owner(api, set, owner, *purpose).await?;
            let path = format!("{}/{name}", revisions(set));
            api.patch(&path, patch)
                .await
                .map(|revision| Reply::Revision(Box::new(revision)))
        }
        Action::DeleteRevision { set, name, uid, .. } => {
            return delete(api, &format!("{}/{name}", revisions(set)), uid).await;
        }
        Action::WriteStatus { set, uid, status } => {
            let path = format!("{}/status", set_path(set));
            let body = Patch::Merge(status_patch(uid, status));
            api.patch(&path, &body)
                .await
                .map(|set| Reply::Set(Box::new(set)))
        }
        Action::Event { .. } => Ok(Reply::Done),
    };
    result.map_err(|error| failure(&error))
}

/// Creates a pod. If its name is taken, returns the pod that has it: perhaps an earlier request
/// succeeded and its reply was lost.
async fn create_pod(
    api: &Executor,
    set: &SetKey,
    name: &str,
    body: String,
) -> Result<Reply, Failure> {
    let path = pods(set);
    // What a creation does not find is its namespace, and what the second request does not find is
    // gone: in both cases no pod was created.
    let not_created = |error: &kube::Error| match failure(error) {
        Failure {
            kind: FailureKind::NotFound,
            message,
            ..
        } => refused(message),
        failure => failure,
    };
    match api.send::<PodView>(Method::POST, &path, JSON, body).await {
        Ok(pod) => Ok(Reply::Pod(Box::new(pod))),
        Err(error) if errors::is_already_exists(&error) => {
            let found = api.get::<PodView>(&format!("{path}/{name}")).await;
            found
                .map(|pod| Reply::ExistingPod(Box::new(pod)))
                .map_err(|error| not_created(&error))
        }
        Err(error) => Err(not_created(&error)),
    }
}

async fn create_revision(api: &Executor, set: &SetKey, object: &Value) -> Result<Reply, Failure> {
    let path = revisions(set);
    match api
        .send::<RevisionView>(Method::POST, &path, JSON, revision_text(object))
        .await
    {
        Ok(revision) => Ok(Reply::Revision(Box::new(revision))),
        Err(error) if errors::is_already_exists(&error) => {
            let name = object
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let found = api.get::<RevisionView>(&format!("{path}/{name}")).await;
            found
                .map(|found| Reply::Revision(Box::new(found)))
                .map_err(|error| failure(&error))
        }
        Err(error) => Err(failure(&error)),
    }
}

/// Deletes the object with this uid. A conflict means that another object has its name, so that it
/// is gone.
async fn delete(api: &Executor, path: &str, uid: &Uid) -> Result<Reply, Failure> {
    let options = json!({
        "kind": "DeleteOptions", "apiVersion": "v1",
        "preconditions": {"uid": uid.to_string()},
    });
    // The reply is the object that is being deleted, or a Status when it is gone.
    match api
        .send::<Box<RawValue>>(Method::DELETE, path, JSON, options.to_string())
        .await
    {
        Ok(reply) => Ok(serde_json::from_str::<PodView>(reply.get())
            .ok()
            .filter(|pod| pod.uid == *uid)
            .map_or(Reply::Done, |pod| Reply::Pod(Box::new(pod)))),
        Err(error) if errors::is_conflict(&error) => {
            let Failure { message, .. } = failure(&error);
            Err(Failure {
                kind: FailureKind::NotFound,
                message,
                retry_after: 0,
            })
        }
        Err(error) => Err(failure(&error)),
    }
}

/// Before an adoption, reads the set again: adopting for a set that is being deleted would have the
/// pod deleted, too. As upstream's `RecheckDeletionTimestamp`.
async fn check_owner(
    api: &Executor,
    set: &SetKey,
    owner: &Uid,
    purpose: Purpose,
) -> Result<(), Failure> {
    if purpose != Purpose::Adopt {
        return Ok(());
    }
    match api.get::<DaemonSetView>(&set_path(set)).await {
        Ok(fresh) if !fresh.deleting && fresh.uid == *owner => Ok(()),
        Ok(_) => Err(refused(format!(
            "daemon set {set} is being deleted, or another one has its name"
        ))),
        Err(error) => Err(refused(error.to_string())),
    }
}

fn status_patch(uid: &Uid, status: &Status) -> Value {
    let optional = |number: usize| (number > 0).then_some(number);
    json!({
        "metadata": {"uid": uid.to_string()},
        "status": {
            "currentNumberScheduled": status.current_number_scheduled,
            "numberMisscheduled": status.number_misscheduled,
            "desiredNumberScheduled": status.desired_number_scheduled,
            "numberReady": status.number_ready,
            "observedGeneration": status.observed_generation,
            "updatedNumberScheduled": optional(status.updated_number_scheduled),
            "numberAvailable": optional(status.number_available),
            "numberUnavailable": optional(status.number_unavailable),
            "collisionCount": status.collision_count,
        },
    })
}

fn refused(message: String) -> Failure {
    Failure {
        kind: FailureKind::Refused,
        message,
        retry_after: 0,
    }
}

fn failure(error: &kube::Error) -> Failure {
    let kind = match errors::status(error) {
        _ if errors::is_namespace_terminating(error) => FailureKind::NamespaceTerminating,
        Some(ApiStatus { code: 404, .. }) => FailureKind::NotFound,
        Some(ApiStatus { code: 400..500, .. }) => FailureKind::Refused,
        Some(_) | None => FailureKind::Unclear,
    };
    let status = errors::status(error);
    let seconds = status.and_then(|status| status.details.as_ref()?.retry_after_seconds.into());
    let message = status.map_or_else(|| error.to_string(), |status| status.message.clone());
    Failure {
        kind,
        message,
        retry_after: i64::from(seconds.unwrap_or(0_u32)) * 1000,
    }
}
