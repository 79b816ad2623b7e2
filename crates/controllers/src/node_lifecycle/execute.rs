//! The requests of the node lifecycle controller.

use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use pandaemon_client::{
    errors,
    events::{EventRecorder, EventType, ObjectReference},
    object_meta::PartialObjectMetadata,
    rest::{Patch, Rest, uid_precondition},
};
use pandaemon_runtime::Shutdown;
use pandaemon_types::time::rfc3339_seconds;
use serde_json::{Value, json};

use crate::views::{Node, NodeTaint, Pod};

/// Sends the requests. Methods return true when nothing must be tried again.
#[derive(Clone)]
pub struct Executor {
    api: Rest,
    nodes: EventRecorder,
    taints: EventRecorder,
}

fn pod_path(pod: &Pod) -> String {
    format!(
        "/api/v1/namespaces/{}/pods/{}",
        pod.meta.namespace, pod.meta.name
    )
}

/// True if the request succeeded, or the object does not exist any more.
fn succeeded(what: &str, name: &str, result: kube::Result<()>) -> bool {
    match result {
        Ok(()) => true,
        Err(error) if errors::is_not_found(&error) => true,
        Err(error) => {
            if !errors::is_conflict(&error) {
                tracing::warn!(what, name, %error, "write failed");
            }
            false
        }
    }
}

impl Executor {
    /// Records events as upstream's controllers do.
    #[must_use]
    pub fn new(client: Client, stop: &Shutdown) -> Self {
        Self {
            api: Rest::new(client.clone()),
            nodes: EventRecorder::start(client.clone(), "node-controller", stop.clone()),
            taints: EventRecorder::start(client, "taint-eviction-controller", stop.clone()),
        }
    }

    /// Writes a node's conditions, or its taints if the conditions are right. A conflict is tried
    /// again.
    pub async fn write_node(
        &self,
        node: &Node,
        conditions: Vec<Value>,
        taints: Option<Vec<NodeTaint>>,
    ) -> bool {
        let (name, version) = (&node.meta.name, &node.meta.resource_version);
        let path = format!("/api/v1/nodes/{name}");
        if !conditions.is_empty() {
            let body = json!({
                "metadata": { "resourceVersion": version }, "status": { "conditions": conditions },
            });
            let result = self
                .api
                .patch(&format!("{path}/status"), Patch::Strategic, &body)
                .await;
            if !succeeded("node conditions", name, result) {
                return false;
            }
            tracing::info!(
                node = name,
                "node is unresponsive: its conditions are Unknown now"
            );
            return true;
        }
        let Some(taints) = taints else { return true };
        let taints = if taints.is_empty() {
            Value::Null
        } else {
            json!(taints)
        };
        let body =
            json!({ "metadata": { "resourceVersion": version }, "spec": { "taints": taints } });
        succeeded(
            "node taints",
            name,
            self.api.patch(&path, Patch::Merge, &body).await,
        )
    }

    /// Records the event that a node has become not ready.
    pub fn record_node_not_ready(&self, node: &Node) {
        let (name, uid) = (&node.meta.name, &node.meta.uid);
        let about = ObjectReference::node(name, uid);
        let text = format!("Node {name} status is now: NodeNotReady");
        self.nodes
            .event(&about, EventType::Normal, "NodeNotReady", text);
    }

    /// Writes the condition Ready=False of a pod whose node is not ready, and an event.
    pub async fn mark_pod_not_ready(&self, pod: &Pod) -> bool {
        let body = json!({
            "metadata": { "uid": pod.meta.uid },
            "status": { "conditions": [{
                "type": "Ready", "status": "False",
                "lastTransitionTime": rfc3339_seconds(Timestamp::now()),
            }]},
        });
        let path = format!("{}/status", pod_path(pod));
        match self.api.patch(&path, Patch::Strategic, &body).await {
            Ok(()) => {
                let about = ObjectReference::new("v1", "Pod", &pod.meta);
                let text = "Node is not ready";
                self.nodes
                    .event(&about, EventType::Warning, "NodeNotReady", text);
                true
            }
            // The pod of this uid does not exist any more.
            Err(error) if errors::is_conflict(&error) => true,
            failed => succeeded("pod condition Ready", &pod.meta.name, failed),
        }
    }

    /// Deletes a pod because of a NoExecute taint.
    pub async fn evict(&self, pod: &Pod) -> bool {
        let about = ObjectReference::new("v1", "Pod", &pod.meta);
        let text = format!("Marking for deletion Pod {}", pod.meta.key());
        self.taints
            .event(&about, EventType::Normal, "TaintManagerEviction", text);
        let (reason, message) = (
            "DeletionByTaintManager",
            "Taint manager: deleting due to NoExecute taint",
        );
        if !self.write_disruption(pod, reason, message, false).await {
            return false;
        }
        let deleted = self
            .api
            .delete(&pod_path(pod), &uid_precondition(&pod.meta.uid))
            .await
            .map(drop);
        succeeded("eviction", &pod.meta.name, deleted)
    }

    /// Writes the condition DisruptionTarget, which explains the deletion.
    async fn write_disruption(&self, pod: &Pod, reason: &str, message: &str, failed: bool) -> bool {
        let mut status = json!({ "conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": rfc3339_seconds(Timestamp::now()),
        }]});
        if failed {
            status["phase"] = json!("Failed");
        }
        let body = json!({ "metadata": { "uid": pod.meta.uid }, "status": status });
        let path = format!("{}/status", pod_path(pod));
        let result = self.api.patch(&path, Patch::Strategic, &body).await;
        result.as_ref().is_err_and(errors::is_conflict)
            || succeeded("pod status", &pod.meta.name, result)
    }

    /// Deletes the pods of a node that does not exist, and pods that were never bound.
    pub async fn delete_orphans(&self, node: &str, pods: Vec<Arc<Pod>>) -> bool {
        if !node.is_empty() {
            match self
                .api
                .get_metadata::<PartialObjectMetadata>(&format!("/api/v1/nodes/{node}"))
                .await
            {
                Ok(None) => (),
                // The node exists again; its event will come.
                Ok(Some(_)) => return true,
                Err(_) => return false,
            }
        }
        let mut ok = true;
        for pod in pods {
            if !node.is_empty() && !pod.phase.is_terminal() {
                let (reason, message) = ("DeletionByPodGC", "PodGC: node no longer exists");
                ok &= self.write_disruption(&pod, reason, message, true).await;
            }
            let mut options = uid_precondition(&pod.meta.uid);
            options["gracePeriodSeconds"] = json!(0);
            let deleted = self.api.delete(&pod_path(&pod), &options).await.map(drop);
            tracing::info!(pod = %pod.meta.key(), node, "pod deleted: its node does not exist");
            ok &= succeeded("pod collection", &pod.meta.name, deleted);
        }
        ok
    }
}
