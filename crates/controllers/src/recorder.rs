//! Writes Events: repeated ones count up instead of piling up, and a noisy object is held back, as upstream does.
//!
//! ```ignore
//! let events = Recorder::start(client, "daemonset-controller", stop);   // cheap to clone
//! events.event(&About::new("apps/v1", "DaemonSet", &ds.metadata), Level::Normal, "SuccessfulCreate", text);
//! ```
//!
//! Recording never waits and never fails: when the bounded queue is full, the event is dropped.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use jiff::Timestamp;
use kube::Client;
use pandaemon_runtime::Shutdown;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    api::{self, Patch, Rest},
    meta::Meta,
};

/// Events that may wait to be written; upstream holds 1,000.
const PENDING: usize = 1_000;
/// Events that may count up; older ones are written anew. Upstream remembers 4,096.
const REMEMBERED: usize = 4_096;
/// Each object may have this many events at once, and one more every five minutes, as upstream.
const BURST: u32 = 25;
const REFILL: Duration = Duration::from_secs(300);

/// Whether an event tells of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It does not.
    Normal,
    /// It does.
    Warning,
}

/// The object that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct About {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Resource version; not part of the identity.
    pub resource_version: String,
}

impl About {
    /// Names the object that has this metadata.
    #[must_use]
    pub fn new(api_version: &str, kind: &str, meta: &Meta) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
        }
    }

    /// A node, in the way that upstream's controllers name it.
    #[must_use]
    pub fn node(name: &str, uid: &str) -> Self {
        Self {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            namespace: String::new(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            resource_version: String::new(),
        }
    }

    fn to_value(&self) -> Value {
        let mut value = json!({
            "apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": self.uid,
        });
        for (field, text) in [
            ("namespace", &self.namespace),
            ("resourceVersion", &self.resource_version),
        ] {
            if !text.is_empty() {
                value[field] = json!(text);
            }
        }
        value
    }
}

#[derive(Debug)]
struct Happening {
    about: About,
    level: Level,
    reason: &'static str,
    message: String,
    at: Timestamp,
}

/// Where a loop records its events.
#[derive(Debug, Clone)]
pub struct Recorder(mpsc::Sender<Happening>);

impl Recorder {
    /// Starts the task that writes.
    #[must_use]
    pub fn start(client: Client, component: &'static str, stop: Shutdown) -> Self {
        let (sender, receiver) = mpsc::channel(PENDING);
        let writer = Writer {
            api: Rest::new(client),
            component,
            correlator: Correlator::default(),
        };
        pandaemon_runtime::spawn("events", async move {
            stop.guard(writer.run(receiver)).await;
        });
        Self(sender)
    }

    /// Records that something has happened.
    pub fn event(
        &self,
        about: &About,
        level: Level,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let happening = Happening {
            about: about.clone(),
            level,
            reason,
            message: message.into(),
            at: Timestamp::now(),
        };
        if self.0.try_send(happening).is_err() {
            tracing::debug!(reason, "event dropped: too many are waiting");
        }
    }
}

struct Writer {
    api: Rest,
    component: &'static str,
    correlator: Correlator,
}

impl Writer {
    async fn run(mut self, mut incoming: mpsc::Receiver<Happening>) {
        while let Some(happening) = incoming.recv().await {
            let verdict = self.correlator.judge(&happening, Instant::now());
            if let Err(error) = self.write(&happening, verdict).await {
                // A namespace that is going, or an API that is away: events are best effort.
                tracing::debug!(reason = happening.reason, %error, "event not written");
            }
        }
    }

    async fn write(&mut self, happening: &Happening, verdict: Verdict) -> kube::Result<()> {
        let (first, count) = match verdict {
            Verdict::Drop => return Ok(()),
            Verdict::New => (happening.at, 1),
            Verdict::Again { path, first, count } => {
                let body = json!({
                    "count": count, "lastTimestamp": seconds(happening.at), "message": happening.message,
                });
                match self.api.patch(&path, Patch::Merge, &body).await {
                    // Expired: write it anew.
                    Err(error) if api::is_not_found(&error) => (first, count),
                    other => return other,
                }
            }
        };
        let (collection, event) = self.render(happening, first, count);
        let made: Value = self.api.create(&collection, &event).await?;
        let name = made["metadata"]["name"].as_str().unwrap_or_default();
        self.correlator
            .written(happening, format!("{collection}/{name}"), first, count);
        Ok(())
    }

    fn render(&self, happening: &Happening, first: Timestamp, count: u32) -> (String, Value) {
        let about = &happening.about;
        let namespace = if about.namespace.is_empty() {
            "default"
        } else {
            about.namespace.as_str()
        };
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": format!("{}.{:x}", about.name, happening.at.as_nanosecond()),
                "namespace": namespace,
            },
            "involvedObject": about.to_value(),
            "reason": happening.reason,
            "message": happening.message,
            "type": match happening.level { Level::Normal => "Normal", Level::Warning => "Warning" },
            "source": { "component": self.component },
            "reportingComponent": self.component,
            "reportingInstance": "",
            "firstTimestamp": seconds(first),
            "lastTimestamp": seconds(happening.at),
            "count": count,
        });
        (format!("/api/v1/namespaces/{namespace}/events"), event)
    }
}

/// A time as the API writes it.
#[must_use]
pub fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    New,
    Again {
        path: String,
        first: Timestamp,
        count: u32,
    },
    Drop,
}

/// An event's identity: the same object, reason and words.
type Identity = (About, Level, &'static str, String);

/// Decides whether an event is new, a repetition, or one too many. Pure: time is an argument.
#[derive(Debug, Default)]
struct Correlator {
    seen: BTreeMap<Identity, (String, Timestamp, u32)>,
    order: VecDeque<Identity>,
    budgets: BTreeMap<About, (u32, Instant)>,
}

fn identity(happening: &Happening) -> Identity {
    let about = About {
        resource_version: String::new(),
        ..happening.about.clone()
    };
    (
        about,
        happening.level,
        happening.reason,
        happening.message.clone(),
    )
}

impl Correlator {
    fn judge(&mut self, happening: &Happening, now: Instant) -> Verdict {
        let identity = identity(happening);
        if !self.spend(identity.0.clone(), now) {
            return Verdict::Drop;
        }
        match self.seen.get_mut(&identity) {
            Some((path, first, count)) => {
                *count += 1;
                Verdict::Again {
                    path: path.clone(),
                    first: *first,
                    count: *count,
                }
            }
            None => Verdict::New,
        }
    }

    fn spend(&mut self, about: About, now: Instant) -> bool {
        if self.budgets.len() > REMEMBERED {
            self.budgets
                .retain(|_, (left, since)| now - *since < REFILL && *left < BURST / 2);
        }
        if self.budgets.len() > REMEMBERED {
            // All of them noisy: memory is worth more than holding them back.
            self.budgets.clear();
        }
        let (left, since) = self.budgets.entry(about).or_insert((BURST, now));
        let refills = u32::try_from((now - *since).as_secs() / REFILL.as_secs()).unwrap_or(BURST);
        if refills > 0 {
            *left = left.saturating_add(refills).min(BURST);
            *since = now;
        }
        let allowed = *left > 0;
        *left = left.saturating_sub(1);
        allowed
    }

    fn written(&mut self, happening: &Happening, path: String, first: Timestamp, count: u32) {
        let identity = identity(happening);
        if self
            .seen
            .insert(identity.clone(), (path, first, count))
            .is_none()
        {
            self.order.push_back(identity);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happening(message: &str) -> Happening {
        Happening {
            about: About::node("n1", "u"),
            level: Level::Normal,
            reason: "Test",
            message: message.to_owned(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn repetitions_count_up_and_a_flood_is_held_back() {
        let (mut correlator, start) = (Correlator::default(), Instant::now());
        assert_eq!(correlator.judge(&happening("a"), start), Verdict::New);
        correlator.written(&happening("a"), "/p".to_owned(), Timestamp::UNIX_EPOCH, 1);
        assert!(matches!(
            correlator.judge(&happening("a"), start),
            Verdict::Again { count: 2, .. }
        ));
        assert_eq!(correlator.judge(&happening("b"), start), Verdict::New);
        for _ in 3..BURST {
            assert_ne!(correlator.judge(&happening("a"), start), Verdict::Drop);
        }
        assert_eq!(correlator.judge(&happening("a"), start), Verdict::Drop);
        assert_ne!(
            correlator.judge(&happening("a"), start + REFILL),
            Verdict::Drop
        );
    }
}
