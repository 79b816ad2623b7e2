//! Events exist in two groups, `v1` and `events.k8s.io/v1`, with the same objects under other field names.
//! The stored form is that of the core group.

use serde_json::{Map, Value};

/// Field of `events.k8s.io/v1`, field of `v1`.
const NAMES: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// Turns an `events.k8s.io/v1` Event into the core form.
pub fn to_core(event: &mut Value) {
    if let Value::Object(map) = event {
        rename(map, "v1", NAMES.iter().map(|&(new, core)| (new, core)));
        // The core type always writes these two.
        for name in ["reportingComponent", "reportingInstance"] {
            map.entry(name).or_insert_with(|| "".into());
        }
    }
}

/// Turns a core Event into the form of `events.k8s.io/v1`.
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

/// Converts to the form of the API version, which must be one of the two.
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
    fn there_and_back() {
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
