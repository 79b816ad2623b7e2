//! Events about containers that wait for their next start.

use pandaemon_client::events::{EventRecorder, EventType};
use serde_json::Value;

use super::PodRef;
use crate::api::events;

/// Records an event for each container whose back-off has begun with this status.
pub(crate) fn record(events: &EventRecorder, pod: &PodRef, previous: &Value, status: &Value) {
    for list in ["initContainerStatuses", "containerStatuses"] {
        let statuses = status.get(list).and_then(Value::as_array);
        for (n, container) in statuses.into_iter().flatten().enumerate() {
            let reason = &container["state"]["waiting"]["reason"];
            if *reason == previous[list][n]["state"]["waiting"]["reason"] {
                continue;
            }
            let name = container["name"].as_str().unwrap_or_default();
            let reference =
                events::object_reference(&pod.object, Some((name, list.starts_with('i'))));
            if *reason == "CrashLoopBackOff" {
                let label = pod.label();
                let text = format!("Back-off restarting failed container {name} in pod {label}");
                events.event(&reference, EventType::Warning, "BackOff", text);
            } else if *reason == "ImagePullBackOff" {
                let image = pod.container(name).and_then(|(one, _)| one.image.clone());
                let text = format!("Back-off pulling image {:?}", image.unwrap_or_default());
                events.event(&reference, EventType::Normal, "BackOff", text);
                events.event(
                    &reference,
                    EventType::Warning,
                    "Failed",
                    "Error: ImagePullBackOff".to_owned(),
                );
            }
        }
    }
}
