//! Field selectors: the fields of each kind that they may name, and their values (upstream's
//! `SelectableFields` and `AddFieldLabelConversionFunc`).

use serde_json::Value;

use crate::Kind;

/// The value of `field` (such as `spec.nodeName` or `metadata.name`) in `object` as text; empty if
/// it is not set, `None` if the kind does not support the field. Events must be in the stored form
/// (`v1`).
#[must_use]
pub fn field_value(kind: &Kind, object: &Value, field: &str) -> Option<String> {
    match field {
        "metadata.name" => return Some(read(object, field)),
        "metadata.namespace" if kind.is_namespaced() => return Some(read(object, field)),
        // Old names that upstream still accepts.
        "spec.host" if kind.kind == "Pod" => return Some(read(object, "spec.nodeName")),
        "name" if kind.kind == "Namespace" => return Some(read(object, "metadata.name")),
        _ => {}
    }
    if !kind.selectable_fields.contains(&field) {
        return None;
    }
    Some(match (kind.storage, field) {
        ("events", _) => event(object, field),
        ("pods", "status.podIPs") => pod_ips(object),
        _ => read(object, field),
    })
}

/// A field of an event in the form of `v1`; `field` is named as in either group.
fn event(object: &Value, field: &str) -> String {
    match field {
        "source" => match read(object, "source.component") {
            component if component.is_empty() => read(object, "reportingComponent"),
            component => component,
        },
        "reportingController" => read(object, "reportingComponent"),
        _ => match field.strip_prefix("regarding.") {
            Some(rest) => read(object, &format!("involvedObject.{rest}")),
            None => read(object, field),
        },
    }
}

fn pod_ips(object: &Value) -> String {
    let list = object.pointer("/status/podIPs").and_then(Value::as_array);
    let ips = list
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["ip"].as_str());
    ips.collect::<Vec<_>>().join(",")
}

/// A field as text; an absent one reads as the zero value of its Go type.
fn read(object: &Value, field: &str) -> String {
    let value = field.split('.').try_fold(object, |at, name| at.get(name));
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(scalar @ (Value::Bool(_) | Value::Number(_))) => scalar.to_string(),
        _ if field == "spec.unschedulable" => "false".into(),
        _ => String::new(),
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
            scheme::find_kind(group, version, kind).unwrap(),
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
