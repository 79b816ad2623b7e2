//! Conversion between a kind and the version of it that is stored, such as core `v1` for the events
//! of `events.k8s.io`.

use pandaemon_machinery::Kind;
use serde_json::Value;

use crate::cache::object::Object;

/// Whether objects of this kind are stored without conversion, so that stored bytes can be sent.
#[must_use]
pub(crate) fn is_native(kind: &Kind) -> bool {
    !kind.strategy.is_stored_converted()
}

/// Converts an object of `kind` to its stored form.
pub(crate) fn to_stored(kind: &Kind, object: &mut Value) {
    kind.strategy.to_stored(object);
}

/// Converts a stored object to `kind`.
pub(crate) fn from_stored(kind: &Kind, object: &mut Value) {
    kind.strategy.convert_stored(object);
}

/// A stored object parsed and converted to `kind`, with its resource version. `None`, with an error
/// in the log, if it cannot be parsed.
#[must_use]
pub(crate) fn converted(kind: &Kind, object: &Object) -> Option<Value> {
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

    use pandaemon_machinery::scheme;

    use super::*;

    #[test]
    fn only_events_k8s_io_is_stored_as_another_kind() {
        for kind in scheme::built_in().kinds() {
            let stored = scheme::built_in()
                .kinds()
                .iter()
                .find(|k| k.storage == kind.storage);
            let is_own = stored.is_some_and(|stored| stored.group == kind.group);
            assert_eq!(is_native(kind), is_own, "{}", kind.plural);
        }
    }

    #[test]
    fn events_convert_to_core_v1_and_back() {
        let Some(kind) = scheme::built_in().find_resource("events.k8s.io", "v1", "events") else {
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
