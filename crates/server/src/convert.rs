//! Conversion between the two versions of Event: core `v1` and `events.k8s.io/v1`.
//!
//! Objects are stored as core `v1` and converted for requests to `events.k8s.io`.
//! Upstream: `k8s.io/kubernetes/pkg/apis/events/v1/conversion.go`.

use pandaemon_machinery::{Kind, scheme};
use serde_json::{Map, Value};

use crate::object::Object;

/// Names of the same field in `events.k8s.io/v1` and in core `v1`.
const EVENT_FIELDS: [(&str, &str); 8] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
    ("reportingInstance", "reportingInstance"),
];

/// The kind as which objects of this kind are stored.
#[must_use]
pub(crate) fn stored_kind(kind: &'static Kind) -> &'static Kind {
    scheme::kinds()
        .iter()
        .find(|other| other.storage == kind.storage)
        .unwrap_or(kind)
}

/// The group of the one kind that is stored as another kind.
const CONVERTED_GROUP: &str = "events.k8s.io";

/// Whether objects of this kind are stored without conversion, so that stored bytes can be sent. It is
/// called several times per request, so it compares one string only.
#[must_use]
pub(crate) fn is_native(kind: &'static Kind) -> bool {
    kind.group != CONVERTED_GROUP
}

/// Converts an object of `kind` to its stored form.
pub(crate) fn to_stored(kind: &'static Kind, object: &mut Value) {
    convert(kind, stored_kind(kind), object, |(event, core)| {
        (event, core)
    });
}

/// Converts a stored object to `kind`.
pub(crate) fn from_stored(kind: &'static Kind, object: &mut Value) {
    convert(kind, kind, object, |(event, core)| (core, event));
}

fn convert(
    kind: &'static Kind,
    target: &Kind,
    object: &mut Value,
    names: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let Some(fields) = object.as_object_mut().filter(|_| !is_native(kind)) else {
        return;
    };
    let old: Map<String, Value> = std::mem::take(fields);
    for (name, value) in old {
        let pair = EVENT_FIELDS
            .into_iter()
            .map(&names)
            .find(|(from, _)| *from == name);
        fields.insert(pair.map_or(name, |(_, to)| to.to_owned()), value);
    }
    fields.insert("apiVersion".into(), target.api_version().into());
    fields.insert("kind".into(), target.kind.into());
}

/// A stored object parsed and converted to `kind`, with its resource version. `None`, with an error in
/// the log, if it cannot be parsed.
#[must_use]
pub(crate) fn converted(kind: &'static Kind, object: &Object) -> Option<Value> {
    let mut value = object
        .value()
        .inspect_err(|error| tracing::error!(%error, "a response skips an unreadable object"))
        .ok()?;
    from_stored(kind, &mut value);
    Some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_events_k8s_io_is_stored_as_another_kind() {
        for kind in scheme::kinds() {
            let stored = stored_kind(kind);
            let is_own = (stored.group, stored.version) == (kind.group, kind.version);
            assert_eq!(is_native(kind), is_own, "{}", kind.plural);
        }
    }

    #[test]
    fn events_convert_to_core_v1_and_back() {
        let Some(kind) = scheme::find_resource("events.k8s.io", "v1", "events") else {
            panic!("events.k8s.io is served");
        };
        let original = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
            "regarding": {"name": "x"}, "note": "n", "type": "Normal", "deprecatedCount": 2,
        });
        let mut value = original.clone();
        to_stored(kind, &mut value);
        assert_eq!(value["apiVersion"], "v1");
        assert_eq!(value["involvedObject"]["name"], "x");
        assert_eq!(value["count"], 2);
        from_stored(kind, &mut value);
        assert_eq!(value, original);
    }
}
