//! Records events about pods and the node. They are sent in the background and may be lost.

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

/// Events that wait to be sent; if there are more, they are dropped.
const QUEUE: usize = 256;
/// Events whose repetition increases the count of the one that was sent.
const CORRELATED: usize = 128;

/// An event to send.
#[derive(Debug, Clone)]
struct PendingEvent {
    subject: ObjectReference,
    warning: bool,
    reason: &'static str,
    message: String,
}

/// Records events; client-go's EventRecorder. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct EventRecorder(mpsc::Sender<PendingEvent>);

impl EventRecorder {
    /// Starts the task that sends the events of the node with this name.
    #[must_use]
    pub(crate) fn start(client: Client, node: String, shutdown: Shutdown) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        pandaemon_runtime::spawn("events", async move {
            shutdown
                .guard(
                    EventSender {
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

    /// Records an event of type Normal.
    pub(crate) fn normal(&self, subject: &ObjectReference, reason: &'static str, message: String) {
        self.send(subject, false, reason, message);
    }

    /// Records an event of type Warning.
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
        let note = PendingEvent {
            subject: subject.clone(),
            warning,
            reason,
            message,
        };
        if self.0.try_send(note).is_err() {
            tracing::debug!(reason, "the event queue is full: dropped an event");
        }
    }
}

/// A reference to a pod, or to one of its containers (its name and whether it is an init
/// container).
#[must_use]
pub(crate) fn object_reference(pod: &Pod, container: Option<(&str, bool)>) -> ObjectReference {
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

/// A reference to the node, with its name as uid, as the kubelet writes it.
#[must_use]
pub(crate) fn node_reference(name: &str) -> ObjectReference {
    ObjectReference {
        kind: Some("Node".to_owned()),
        name: Some(name.to_owned()),
        uid: Some(name.to_owned()),
        ..ObjectReference::default()
    }
}

struct SentEvent {
    note: PendingEvent,
    name: String,
    count: i32,
}

struct EventSender {
    client: Client,
    node: String,
    sent: VecDeque<SentEvent>,
}

impl EventSender {
    async fn run(mut self, mut notes: mpsc::Receiver<PendingEvent>) {
        while let Some(note) = notes.recv().await {
            let timeout = Duration::from_secs(10);
            match tokio::time::timeout(timeout, self.send(note)).await {
                Ok(Ok(())) => (),
                Ok(Err(error)) => tracing::debug!(%error, "cannot send an event"),
                Err(_elapsed) => tracing::debug!("sending an event timed out"),
            }
        }
    }

    async fn send(&mut self, note: PendingEvent) -> kube::Result<()> {
        let namespace = note
            .subject
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let now = Time(jiff::Timestamp::now());
        let same = |sent: &&mut SentEvent| {
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
                Err(error) => {
                    tracing::debug!(%error, "cannot increase the count of an event; sending a new one");
                }
            }
        }
        let event = self.event(&note, &namespace, now);
        let name = event.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &event).await?;
        if self.sent.len() == CORRELATED {
            self.sent.pop_front();
        }
        self.sent.push_back(SentEvent {
            note,
            name,
            count: 1,
        });
        Ok(())
    }

    fn event(&self, note: &PendingEvent, namespace: &str, now: Time) -> Event {
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
