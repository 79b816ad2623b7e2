//! The scheduler's requests: bindings, conditions and preemptions.

use jiff::Timestamp;
use kube::Client;
use pandaemon_client::{
    errors,
    events::{EventRecorder, EventType, ObjectReference},
    object_meta::Key,
    rest::{Patch, Rest, uid_precondition},
};
use pandaemon_runtime::Shutdown;
use pandaemon_types::time::rfc3339_seconds;
use serde_json::{Value, json};

use super::preemption::Victim;
use crate::views::Pod;

/// The scheduler whose pods this loop binds; also the component in its events.
pub const SCHEDULER_NAME: &str = "default-scheduler";

/// Carries out the scheduler's decisions.
pub struct Executor {
    api: Rest,
    events: EventRecorder,
}

fn path(key: &Key) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", key.namespace, key.name)
}

impl Executor {
    /// Records events as upstream's scheduler does.
    #[must_use]
    pub fn new(client: Client, stop: &Shutdown) -> Self {
        let events = EventRecorder::start(client.clone(), SCHEDULER_NAME, stop.clone());
        Self {
            api: Rest::new(client),
            events,
        }
    }

    /// Binds a pod to a node; true if the binding was made.
    pub async fn bind(&self, pod: &Pod, node: &str) -> bool {
        let key = pod.meta.key();
        let body = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": { "name": key.name, "namespace": key.namespace, "uid": pod.meta.uid },
            "target": { "apiVersion": "v1", "kind": "Node", "name": node },
        });
        let answer: kube::Result<serde::de::IgnoredAny> = self
            .api
            .create(&format!("{}/binding", path(&key)), &body)
            .await;
        match answer {
            Ok(_) => {
                let text = format!("Successfully assigned {key} to {node}");
                self.events
                    .event(&about(pod), EventType::Normal, "Scheduled", text);
                true
            }
            Err(error) => {
                if !errors::is_not_found(&error) && !errors::is_conflict(&error) {
                    tracing::warn!(pod = %key, node, %error, "binding failed");
                }
                false
            }
        }
    }

    /// Writes the condition PodScheduled=False with the reason, and an event.
    pub async fn unschedulable(&self, pod: &Pod, message: &str, nominated: Option<&str>) {
        self.events
            .event(&about(pod), EventType::Warning, "FailedScheduling", message);
        let pending = pod.pending.as_deref();
        let same_message = pending.is_some_and(|pending| pending.scheduled_message == message);
        let same_node =
            pending.is_some_and(|pending| nominated.is_none_or(|node| pending.nominated == node));
        if same_message && same_node {
            return;
        }
        let mut status = json!({ "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": message, "lastProbeTime": Value::Null,
            "lastTransitionTime": rfc3339_seconds(Timestamp::now()),
        }]});
        if let Some(node) = nominated {
            status["nominatedNodeName"] = json!(node);
        }
        let body = json!({ "metadata": { "uid": pod.meta.uid }, "status": status });
        let path = format!("{}/status", path(&pod.meta.key()));
        if let Err(error) = self.api.patch(&path, Patch::Strategic, &body).await
            && !errors::is_not_found(&error)
            && !errors::is_conflict(&error)
        {
            tracing::warn!(pod = %pod.meta.key(), %error, "condition PodScheduled not written");
        }
    }

    /// Nominates a node for the pod and deletes the victims there.
    pub async fn preempt(&self, pod: &Pod, node: &str, victims: &[Victim], message: &str) {
        self.unschedulable(pod, message, Some(node)).await;
        for victim in victims {
            self.preempt_victim(pod, node, victim).await;
        }
    }

    async fn preempt_victim(&self, pod: &Pod, node: &str, victim: &Victim) {
        let path = path(&victim.key);
        let why = format!("{SCHEDULER_NAME}: preempting to accommodate a higher priority pod");
        let body = json!({
            "metadata": { "uid": victim.uid },
            "status": { "conditions": [{
                "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
                "message": why, "lastTransitionTime": rfc3339_seconds(Timestamp::now()),
            }]},
        });
        // The condition only explains the deletion: without it, the pod is deleted all the same.
        if let Err(error) = self
            .api
            .patch(&format!("{path}/status"), Patch::Strategic, &body)
            .await
        {
            tracing::debug!(pod = %victim.key, %error, "condition DisruptionTarget not written");
        }
        match self.api.delete(&path, &uid_precondition(&victim.uid)).await {
            Err(error) if !errors::is_conflict(&error) => {
                tracing::warn!(pod = %victim.key, %error, "preemption failed");
            }
            _ => {
                let about = ObjectReference {
                    api_version: "v1".to_owned(),
                    kind: "Pod".to_owned(),
                    namespace: victim.key.namespace.clone(),
                    name: victim.key.name.clone(),
                    uid: victim.uid.clone(),
                    ..ObjectReference::default()
                };
                let text = format!("Preempted by pod {} on node {node}", pod.meta.uid);
                self.events
                    .event(&about, EventType::Normal, "Preempted", text);
            }
        }
    }
}

fn about(pod: &Pod) -> ObjectReference {
    ObjectReference::new("v1", "Pod", &pod.meta)
}
