//! Conversion of events between `v1` and `events.k8s.io/v1`, which name the same fields differently
//! (upstream's `pkg/apis/events/v1/conversion.go`). They are stored in the form of `v1`.

use serde_json::{Map, Value};

/// Fields whose names differ: in `events.k8s.io/v1`, in `v1`.
const NAMES: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// Converts an event of `events.k8s.io/v1` to `v1`.
pub fn to_core_v1(event: &mut Value) {
    if let Value::Object(fields) = event {
        for (events, core) in NAMES {
            rename(fields, events, core);
        }
        fields.insert("apiVersion".into(), "v1".into());
    }
}

/// Converts an event of `v1` to `events.k8s.io/v1`.
pub fn to_events_v1(event: &mut Value) {
    if let Value::Object(fields) = event {
        for (events, core) in NAMES {
            rename(fields, core, events);
        }
        fields.insert("apiVersion".into(), "events.k8s.io/v1".into());
    }
}

fn rename(fields: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.insert(to.into(), value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conversion_to_events_k8s_io_and_back_keeps_every_field() {
        let core = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
            "involvedObject": {"kind": "DaemonSet", "name": "d"}, "message": "m", "reason": "r",
            "source": {"component": "c"}, "count": 3, "type": "Normal",
            "firstTimestamp": "2024-01-01T00:00:00Z", "lastTimestamp": "2024-01-02T00:00:00Z",
            "eventTime": "2024-01-01T00:00:00.000000Z",
            "reportingComponent": "c", "reportingInstance": "",
        });
        let mut event = core.clone();
        to_events_v1(&mut event);
        assert_eq!(
            event,
            json!({
                "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
                "regarding": {"kind": "DaemonSet", "name": "d"}, "note": "m", "reason": "r",
                "deprecatedSource": {"component": "c"}, "deprecatedCount": 3, "type": "Normal",
                "deprecatedFirstTimestamp": "2024-01-01T00:00:00Z",
                "deprecatedLastTimestamp": "2024-01-02T00:00:00Z",
                "eventTime": "2024-01-01T00:00:00.000000Z",
                "reportingController": "c", "reportingInstance": "",
            })
        );
        to_core_v1(&mut event);
        assert_eq!(event, core);
    }
}
