//! Conversion of events between `v1` and `events.k8s.io/v1`, which name the same fields differently
//! (upstream's `pkg/apis/events/v1/conversion.go`). They are stored in the form of `v1`.

use serde_json::{Map, Value};

/// Fields whose names differ: in `events.k8s.io/v1`, in `v1`.
const NAMES: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// Converts an event of `events.k8s.io/v1` to `v1`.
pub fn to_core(event: &mut Value) {
    if let Value::Object(map) = event {
        rename(map, "v1", NAMES.iter().map(|&(new, core)| (new, core)));
        // These two fields of the Go type have no `omitempty`.
        for name in ["reportingComponent", "reportingInstance"] {
            map.entry(name).or_insert_with(|| "".into());
        }
    }
}

/// Converts an event of `v1` to `events.k8s.io/v1`.
pub fn to_events(event: &mut Value) {
    if let Value::Object(map) = event {
        rename(
            map,
            "events.k8s.io/v1",
            NAMES.iter().map(|&(new, core)| (core, new)),
        );
        for name in ["reportingController", "reportingInstance"] {
            if map.get(name).and_then(Value::as_str) == Some("") {
                map.remove(name);
            }
        }
        // Not a pointer in Go: the zero time is written as null.
        map.entry("eventTime").or_insert(Value::Null);
    }
}

/// Converts an event to the API version `v1` or `events.k8s.io/v1`; one that has it already is
/// unchanged.
pub fn convert(event: &mut Value, api_version: &str) {
    if event["apiVersion"] != api_version {
        match api_version {
            "v1" => to_core(event),
            _ => to_events(event),
        }
    }
}

fn rename<'a>(
    map: &mut Map<String, Value>,
    api_version: &str,
    names: impl Iterator<Item = (&'a str, &'a str)>,
) {
    map.insert("apiVersion".into(), api_version.into());
    for (from, to) in names {
        if let Some(value) = map.remove(from) {
            map.insert(to.into(), value);
        }
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
        convert(&mut event, "events.k8s.io/v1");
        assert_eq!(event["apiVersion"], "events.k8s.io/v1");
        assert_eq!(event["regarding"]["name"], "d");
        assert_eq!(event["note"], "m");
        assert_eq!(event["deprecatedCount"], 3);
        assert!(event.get("message").is_none() && event.get("reportingInstance").is_none());
        convert(&mut event, "v1");
        assert_eq!(event, core);
    }
}
