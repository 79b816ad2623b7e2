//! Events about pods and the node, sent aside from the work: a lost event costs nobody anything.

use std::{collections::VecDeque, time::Duration};

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use pandaemon_runtime::Shutdown;
use serde_json::json;
use tokio::sync::mpsc;

/// Events that wait while the API is slow; more are dropped.
const QUEUE: usize = 256;
/// Sent events that a repetition may be counted onto.
const REMEMBERED: usize = 128;

/// What happened.
#[derive(Debug, Clone)]
struct Note {
    subject: ObjectReference,
    warning: bool,
    reason: &'static str,
    message: String,
}

/// Where to say what happened. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Events(mpsc::Sender<Note>);

impl Events {
    /// Starts sending events of the node with this name.
    #[must_use]
    pub(crate) fn start(client: Client, node: String, shutdown: Shutdown) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        pandaemon_runtime::spawn("events", async move {
            shutdown
                .guard(
                    Recorder {
                        client,
                        node,
                        sent: VecDeque::new(),
                    }
                    .run(receiver),
                )
                .await;
        });
        Self(sender)
    }

    /// Something went as it should.
    pub(crate) fn normal(&self, subject: &ObjectReference, reason: &'static str, message: String) {
        self.send(subject, false, reason, message);
    }

    /// Something went wrong.
    pub(crate) fn warning(&self, subject: &ObjectReference, reason: &'static str, message: String) {
        self.send(subject, true, reason, message);
    }

    fn send(
        &self,
        subject: &ObjectReference,
        warning: bool,
        reason: &'static str,
        message: String,
    ) {
        tracing::debug!(reason, message, name = subject.name, "event");
        let note = Note {
            subject: subject.clone(),
            warning,
            reason,
            message,
        };
        if self.0.try_send(note).is_err() {
            tracing::debug!(reason, "an event was dropped");
        }
    }
}

/// A reference to a pod, or to one of its containers.
#[must_use]
pub(crate) fn subject(pod: &Pod, container: Option<(&str, bool)>) -> ObjectReference {
    let field = container.map(|(name, init)| {
        let list = if init { "initContainers" } else { "containers" };
        format!("spec.{list}{{{name}}}")
    });
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path: field,
    }
}

/// A reference to the node.
#[must_use]
pub(crate) fn node_subject(name: &str) -> ObjectReference {
    ObjectReference {
        kind: Some("Node".to_owned()),
        name: Some(name.to_owned()),
        uid: Some(name.to_owned()),
        ..ObjectReference::default()
    }
}

struct Sent {
    note: Note,
    name: String,
    count: i32,
}

struct Recorder {
    client: Client,
    node: String,
    sent: VecDeque<Sent>,
}

impl Recorder {
    async fn run(mut self, mut notes: mpsc::Receiver<Note>) {
        while let Some(note) = notes.recv().await {
            let limit = Duration::from_secs(10);
            match tokio::time::timeout(limit, self.send(note)).await {
                Ok(Ok(())) => (),
                Ok(Err(error)) => tracing::debug!(%error, "send an event"),
                Err(_elapsed) => tracing::debug!("sending an event took too long"),
            }
        }
    }

    async fn send(&mut self, note: Note) -> kube::Result<()> {
        let namespace = note
            .subject
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let now = Time(jiff::Timestamp::now());
        let same = |sent: &&mut Sent| {
            sent.note.reason == note.reason
                && sent.note.message == note.message
                && sent.note.subject.uid == note.subject.uid
                && sent.note.subject.field_path == note.subject.field_path
        };
        if let Some(sent) = self.sent.iter_mut().find(same) {
            sent.count += 1;
            let patch = json!({ "count": sent.count, "lastTimestamp": now });
            let params = PatchParams::default();
            match api.patch(&sent.name, &params, &Patch::Merge(&patch)).await {
                Ok(_) => return Ok(()),
                Err(error) => tracing::debug!(%error, "count an event"),
            }
        }
        let event = self.event(&note, &namespace, now);
        let name = event.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &event).await?;
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent {
            note,
            name,
            count: 1,
        });
        Ok(())
    }

    fn event(&self, note: &Note, namespace: &str, now: Time) -> Event {
        let subject = note.subject.name.as_deref().unwrap_or_default();
        let name = format!("{subject}.{:x}", now.0.as_nanosecond());
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: note.subject.clone(),
            type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(note.reason.to_owned()),
            message: Some(note.message.clone()),
            count: Some(1),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            source: Some(EventSource {
                component: Some("kubelet".to_owned()),
                host: Some(self.node.clone()),
            }),
            reporting_component: Some("kubelet".to_owned()),
            reporting_instance: Some(self.node.clone()),
            ..Event::default()
        }
    }
}
