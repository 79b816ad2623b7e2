//! Failures that the DaemonSet's events tell of: pods that could not be created, and back-offs
//! after failed pods. The controller keeps neither in an object.

use std::collections::BTreeMap;

use pandaemon_planner::failed_pod_back_off;
use pandaemon_types::Timestamp;
use serde_json::Value;

/// Age in seconds above which a failed creation is not reported any more.
const RECENT: i64 = 10 * 60;

/// The last failed creation of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailedCreate {
    pub(crate) at: Timestamp,
    pub(crate) message: String,
}

/// Failed requests by node and reason, as recorded events tell of them.
#[derive(Debug, Default)]
pub(crate) struct EventFailures {
    pub(crate) create: Option<FailedCreate>,
    /// By node: the number of failed pods, and when the last one was deleted.
    failed: BTreeMap<String, (u32, Timestamp)>,
}

impl EventFailures {
    pub(crate) fn of(events: &[Value], now: Timestamp) -> Self {
        let mut failures = Self::default();
        let mut last_success = None;
        for event in events {
            let text = |field: &str| event.get(field).and_then(Value::as_str).unwrap_or_default();
            let Some(at) = time(event) else { continue };
            match text("reason") {
                "SuccessfulCreate" => last_success = last_success.max(Some(at)),
                "FailedCreate" if failures.create.as_ref().is_none_or(|known| known.at < at) => {
                    let message = text("message");
                    let message = message.strip_prefix("Error creating: ").unwrap_or(message);
                    let message = message.to_owned();
                    failures.create = Some(FailedCreate { at, message });
                }
                "FailedDaemonPod" => failures.failed_pod(event, text("message"), at),
                _ => {}
            }
        }
        let recent = |failed: &FailedCreate| {
            now.millis_since(failed.at) / 1000 < RECENT
                && last_success.is_none_or(|success| success < failed.at)
        };
        failures.create = failures.create.filter(recent);
        failures
    }

    fn failed_pod(&mut self, event: &Value, message: &str, at: Timestamp) {
        let node = message.split(" on node ").nth(1);
        let Some(node) = node.and_then(|rest| rest.split(',').next()) else {
            return;
        };
        let count = event.get("count").and_then(Value::as_u64).unwrap_or(1);
        let entry = self.failed.entry(node.to_owned()).or_insert((0, at));
        entry.0 += u32::try_from(count).unwrap_or(1);
        entry.1 = entry.1.max(at);
    }

    /// How many pods failed on a node lately, and the end of the back-off that follows from it by
    /// the rule of the planner, which is upstream's.
    pub(crate) fn back_off(&self, node: &str, now: Timestamp) -> Option<(u32, Timestamp)> {
        let (count, at) = *self.failed.get(node)?;
        Some((count, failed_pod_back_off(count, at, now)?))
    }
}

fn time(event: &Value) -> Option<Timestamp> {
    let fields = [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/eventTime",
        "/metadata/creationTimestamp",
    ];
    fields
        .iter()
        .find_map(|field| event.pointer(field)?.as_str()?.parse().ok())
}
