//! Field selectors: the fields of each kind that they may name, and their values (upstream's
//! `SelectableFields` and `AddFieldLabelConversionFunc`).

pub(crate) mod text;

use serde_json::Value;

use self::text::text_of;
use crate::Kind;

/// The value of `field` (such as `spec.nodeName` or `metadata.name`) in `object` as text; empty if
/// it is not set, `None` if the kind does not support the field. Events must be in the stored form
/// (`v1`).
#[must_use]
pub fn field_value(kind: &Kind, object: &Value, field: &str) -> Option<String> {
    let field = kind.strategy.selectable_alias(field);
    let is_common =
        field == "metadata.name" || (field == "metadata.namespace" && kind.is_namespaced());
    if is_common {
        return Some(text_of(object, field));
    }
    kind.selectable_fields
        .iter()
        .any(|known| known == field)
        .then(|| kind.strategy.selectable_value(object, field))
}

/// A field of an event in the form of `v1`; `field` is named as in either group.
pub(crate) fn event(object: &Value, field: &str) -> String {
    match field {
        "source" => match text_of(object, "source.component") {
            component if component.is_empty() => text_of(object, "reportingComponent"),
            component => component,
        },
        "reportingController" => text_of(object, "reportingComponent"),
        _ => match field.strip_prefix("regarding.") {
            Some(rest) => text_of(object, &format!("involvedObject.{rest}")),
            None => text_of(object, field),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scheme;

    fn value(api_version: &str, kind: &str, object: &Value, field: &str) -> Option<String> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        field_value(
            scheme::built_in().find_kind(group, version, kind).unwrap(),
            object,
            field,
        )
    }

    #[test]
    fn field_values_and_zero_values_of_absent_fields() {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "n"}, "spec": {"nodeName": "a", "hostNetwork": true},
            "status": {"podIPs": [{"ip": "1.2.3.4"}, {"ip": "::1"}]},
        });
        let cases = [
            ("metadata.name", Some("p")),
            ("metadata.namespace", Some("n")),
            ("spec.nodeName", Some("a")),
            ("spec.host", Some("a")),
            ("spec.hostNetwork", None),
            ("status.phase", Some("")),
            ("status.podIPs", Some("1.2.3.4,::1")),
            ("spec.image", None),
            ("metadata.uid", None),
        ];
        for (field, expected) in cases {
            assert_eq!(
                value("v1", "Pod", &pod, field).as_deref(),
                expected,
                "{field}"
            );
        }
        assert_eq!(
            value("v1", "Node", &json!({}), "spec.unschedulable").as_deref(),
            Some("false")
        );
        assert_eq!(value("v1", "Node", &json!({}), "metadata.namespace"), None);
        assert_eq!(
            value("v1", "Secret", &json!({"type": "Opaque"}), "type").as_deref(),
            Some("Opaque")
        );
        assert_eq!(
            value("apps/v1", "DaemonSet", &json!({}), "status.phase"),
            None
        );
    }

    #[test]
    fn fields_of_events_are_read_from_the_stored_form() {
        let event = json!({
            "involvedObject": {"kind": "Pod", "name": "p"}, "reportingComponent": "kubelet", "reason": "r",
        });
        let cases = [
            ("v1", "involvedObject.kind", Some("Pod")),
            ("v1", "source", Some("kubelet")),
            ("v1", "regarding.kind", None),
            ("events.k8s.io/v1", "regarding.name", Some("p")),
            ("events.k8s.io/v1", "reportingController", Some("kubelet")),
            ("events.k8s.io/v1", "involvedObject.name", None),
        ];
        for (api_version, field, expected) in cases {
            assert_eq!(
                value(api_version, "Event", &event, field).as_deref(),
                expected,
                "{field}"
            );
        }
    }
}
