//! Records Events as client-go's EventRecorder does: a repeated event raises `count` of the first,
//! and each reason of an object has a budget.
//!
//! ```ignore
//! let events = EventRecorder::start(client, "daemonset-controller", stop);   // cheap to clone
//! let set = ObjectReference::new("apps/v1", "DaemonSet", &ds.metadata);
//! events.event(&set, EventType::Normal, "SuccessfulCreate", text);
//! ```
//!
//! Recording never waits and never fails: when the bounded queue is full, the event is dropped.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use jiff::Timestamp;
use kube::Client;
use pandaemon_runtime::{Shutdown, catch_panic};
use pandaemon_types::time::rfc3339_seconds;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    errors,
    object_meta::ObjectMeta,
    rest::{Patch, Rest},
    supervise::restart_on_panic,
};

/// Events that may wait to be written; upstream holds 1,000.
const PENDING: usize = 1_000;
/// Events that may count up; older ones are written anew. Upstream remembers 4,096.
const REMEMBERED: usize = 4_096;
/// Events of one object and reason that may be written at once; one more every [`REFILL`]. Upstream
/// (`EventSourceObjectSpamFilter`) has one such budget for all reasons of an object: there, the
/// creations of a roll-out drop the failures that follow.
const BURST: u32 = 25;
const REFILL: Duration = Duration::from_secs(300);
/// How long writing one event may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The `type` of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventType {
    /// Something went as intended.
    Normal,
    /// Something went wrong.
    Warning,
}

/// The object that an event is about (`involvedObject`).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectReference {
    /// Group and version of its kind.
    pub api_version: String,
    /// The object's kind, such as `Pod`.
    pub kind: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// The version that the event is about; repetitions may differ in it.
    pub resource_version: String,
    /// The part of the object that the event is about, such as `spec.containers{name}`; empty for
    /// all of it.
    pub field_path: String,
}

impl ObjectReference {
    /// Names the object that has this metadata.
    #[must_use]
    pub fn new(api_version: &str, kind: &str, meta: &ObjectMeta) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            field_path: String::new(),
        }
    }

    /// A node, in the way that upstream's controllers name it.
    #[must_use]
    pub fn node(name: &str, uid: &str) -> Self {
        Self {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            ..Self::default()
        }
    }

    fn to_value(&self) -> Value {
        let mut value = json!({
            "kind": self.kind, "name": self.name, "uid": self.uid,
        });
        for (field, text) in [
            ("apiVersion", &self.api_version),
            ("namespace", &self.namespace),
            ("resourceVersion", &self.resource_version),
            ("fieldPath", &self.field_path),
        ] {
            if !text.is_empty() {
                value[field] = json!(text);
            }
        }
        value
    }
}

#[derive(Debug)]
struct PendingEvent {
    object: ObjectReference,
    event_type: EventType,
    reason: &'static str,
    message: String,
    at: Timestamp,
}

/// Records events; a task of its own writes them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventRecorder(mpsc::Sender<PendingEvent>);

impl EventRecorder {
    /// Starts the task that writes the events of a component.
    #[must_use]
    pub fn start(client: Client, component: &'static str, stop: Shutdown) -> Self {
        Self::start_on(client, component, String::new(), stop)
    }

    /// As [`EventRecorder::start`], for a component that runs on a node.
    #[must_use]
    pub fn start_on(client: Client, component: &'static str, node: String, stop: Shutdown) -> Self {
        let (sender, receiver) = mpsc::channel(PENDING);
        // Outlives a panic, with the events that wait and the counts of those that were written.
        let writer = tokio::sync::Mutex::new(EventWriter {
            api: Rest::new(client).timeout(TIMEOUT),
            component,
            node,
            correlator: EventCorrelator::default(),
            incoming: receiver,
        });
        pandaemon_runtime::spawn("events", async move {
            let start = || async { writer.lock().await.run().await };
            stop.guard(restart_on_panic("events", start)).await;
        });
        Self(sender)
    }

    /// Records an event about an object. `reason` is one word in CamelCase, `message` a sentence.
    pub fn event(
        &self,
        object: &ObjectReference,
        event_type: EventType,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let pending = PendingEvent {
            object: object.clone(),
            event_type,
            reason,
            message: message.into(),
            at: Timestamp::now(),
        };
        if self.0.try_send(pending).is_err() {
            tracing::debug!(reason, "event dropped: the queue of events is full");
        }
    }
}

struct EventWriter {
    api: Rest,
    component: &'static str,
    /// Empty for a component that belongs to no node.
    node: String,
    correlator: EventCorrelator,
    incoming: mpsc::Receiver<PendingEvent>,
}

impl EventWriter {
    async fn run(&mut self) {
        while let Some(pending) = self.incoming.recv().await {
            let written = catch_panic("events", self.record(&pending)).await;
            if let Some(Err(error)) = written {
                // The namespace is being deleted or the API is away: events are best effort.
                tracing::debug!(reason = pending.reason, %error, "event not written");
            }
        }
    }

    async fn record(&mut self, pending: &PendingEvent) -> kube::Result<()> {
        let decision = self.correlator.correlate(pending, Instant::now());
        self.write(pending, decision).await
    }

    async fn write(&mut self, pending: &PendingEvent, decision: Decision) -> kube::Result<()> {
        let (first, count) = match decision {
            Decision::Drop => return Ok(()),
            Decision::New => (pending.at, 1),
            Decision::Repeated { path, first, count } => {
                let body = json!({
                    "count": count, "lastTimestamp": rfc3339_seconds(pending.at), "message": pending.message,
                });
                match self.api.patch(&path, Patch::Merge, &body).await {
                    // The first one has expired: write a new one.
                    Err(error) if errors::is_not_found(&error) => (first, count),
                    other => return other,
                }
            }
        };
        let (collection, event) = self.render(pending, first, count);
        let made: Value = self.api.create(&collection, &event).await?;
        let name = made["metadata"]["name"].as_str().unwrap_or_default();
        self.correlator
            .written(pending, format!("{collection}/{name}"), first, count);
        Ok(())
    }

    fn render(&self, pending: &PendingEvent, first: Timestamp, count: u32) -> (String, Value) {
        let object = &pending.object;
        let namespace = if object.namespace.is_empty() {
            "default"
        } else {
            object.namespace.as_str()
        };
        let mut source = json!({ "component": self.component });
        if !self.node.is_empty() {
            source["host"] = json!(self.node);
        }
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": format!("{}.{:x}", object.name, pending.at.as_nanosecond()),
                "namespace": namespace,
            },
            "involvedObject": object.to_value(),
            "reason": pending.reason,
            "message": pending.message,
            "type": match pending.event_type { EventType::Normal => "Normal", EventType::Warning => "Warning" },
            "source": source,
            "reportingComponent": self.component,
            "reportingInstance": self.node,
            "firstTimestamp": rfc3339_seconds(first),
            "lastTimestamp": rfc3339_seconds(pending.at),
            "count": count,
        });
        (format!("/api/v1/namespaces/{namespace}/events"), event)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    New,
    Repeated {
        path: String,
        first: Timestamp,
        count: u32,
    },
    Drop,
}

/// What must be equal for an event to count as a repetition.
type EventKey = (ObjectReference, EventType, &'static str, String);

/// Decides whether an event is new, a repetition, or over the budget of its object and reason.
/// Reads no clock. Upstream: `EventCorrelator` in `k8s.io/client-go/tools/record`.
#[derive(Debug, Default)]
struct EventCorrelator {
    seen: BTreeMap<EventKey, (String, Timestamp, u32)>,
    order: VecDeque<EventKey>,
    budgets: BTreeMap<(ObjectReference, &'static str), (u32, Instant)>,
}

fn event_key(pending: &PendingEvent) -> EventKey {
    let object = ObjectReference {
        resource_version: String::new(),
        ..pending.object.clone()
    };
    (
        object,
        pending.event_type,
        pending.reason,
        pending.message.clone(),
    )
}

impl EventCorrelator {
    fn correlate(&mut self, pending: &PendingEvent, now: Instant) -> Decision {
        let key = event_key(pending);
        if !self.spend((key.0.clone(), pending.reason), now) {
            return Decision::Drop;
        }
        match self.seen.get_mut(&key) {
            Some((path, first, count)) => {
                *count += 1;
                Decision::Repeated {
                    path: path.clone(),
                    first: *first,
                    count: *count,
                }
            }
            None => Decision::New,
        }
    }

    fn spend(&mut self, budget: (ObjectReference, &'static str), now: Instant) -> bool {
        if self.budgets.len() > REMEMBERED {
            self.budgets
                .retain(|_, (left, since)| now - *since < REFILL && *left < BURST / 2);
        }
        if self.budgets.len() > REMEMBERED {
            // All budgets are used up: forget the budgets rather than grow without bound.
            self.budgets.clear();
        }
        let (left, since) = self.budgets.entry(budget).or_insert((BURST, now));
        let refills = u32::try_from((now - *since).as_secs() / REFILL.as_secs()).unwrap_or(BURST);
        if refills > 0 {
            *left = left.saturating_add(refills).min(BURST);
            *since = now;
        }
        let allowed = *left > 0;
        *left = left.saturating_sub(1);
        allowed
    }

    fn written(&mut self, pending: &PendingEvent, path: String, first: Timestamp, count: u32) {
        let key = event_key(pending);
        if self
            .seen
            .insert(key.clone(), (path, first, count))
            .is_none()
        {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
    }
}
