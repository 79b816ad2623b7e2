//! Values in the formats of Go's `%q` and `%#v`, which upstream's texts contain.

use serde_json::Value;

use crate::{go_text::quote, json_fields::ReadFields};

/// A map such as `map[string]string{"a":"b"}`.
pub(super) fn string_map(map: &Value) -> String {
    let Some(entries) = map.as_object() else {
        return "map[string]string(nil)".to_owned();
    };
    let pairs: Vec<String> = entries
        .iter()
        .map(|(key, value)| {
            format!(
                "{}:{}",
                quote(key),
                quote(value.as_str().unwrap_or_default())
            )
        })
        .collect();
    format!("map[string]string{{{}}}", pairs.join(", "))
}

/// A list such as `[]string{"a", "b"}`.
pub(super) fn strings(list: &Value) -> String {
    let Some(items) = list.as_array() else {
        return "[]string(nil)".to_owned();
    };
    let texts: Vec<String> = items
        .iter()
        .map(|item| quote(item.as_str().unwrap_or_default()))
        .collect();
    format!("[]string{{{}}}", texts.join(", "))
}

/// A selector as `v1.LabelSelector{...}`, or `null` if there is none.
pub(super) fn label_selector(selector: &Value) -> String {
    if selector.is_null() {
        return "null".to_owned();
    }
    let kind = "v1.LabelSelectorRequirement";
    let expressions = match selector.field("matchExpressions").and_then(Value::as_array) {
        None => format!("[]{kind}(nil)"),
        Some(items) => {
            let texts: Vec<String> = items
                .iter()
                .map(|item| {
                    format!(
                        "{kind}{{Key:{}, Operator:{}, Values:{}}}",
                        quote(item.text("key")),
                        quote(item.text("operator")),
                        strings(&item["values"])
                    )
                })
                .collect();
            format!("[]{kind}{{{}}}", texts.join(", "))
        }
    };
    format!(
        "v1.LabelSelector{{MatchLabels:{}, MatchExpressions:{expressions}}}",
        string_map(&selector["matchLabels"])
    )
}

/// A number or string such as `intstr.IntOrString{Type:1, IntVal:0, StrVal:"150%"}`.
pub(super) fn int_or_string(value: &Value) -> String {
    match value {
        Value::String(text) => {
            format!(
                "intstr.IntOrString{{Type:1, IntVal:0, StrVal:{}}}",
                quote(text)
            )
        }
        other => format!(
            "intstr.IntOrString{{Type:0, IntVal:{}, StrVal:\"\"}}",
            other.as_i64().unwrap_or_default()
        ),
    }
}

/// A toleration as `core.Toleration{...}`.
pub(super) fn toleration(value: &Value) -> String {
    format!(
        "core.Toleration{{Key:{}, Operator:{}, Value:{}, Effect:{}, TolerationSeconds:{}}}",
        quote(value.text("key")),
        quote(value.text("operator")),
        quote(value.text("value")),
        quote(value.text("effect")),
        pointer("int64", value.has("tolerationSeconds")),
    )
}

/// A taint as `core.Taint{...}`.
pub(super) fn taint(value: &Value) -> String {
    format!(
        "core.Taint{{Key:{}, Value:{}, Effect:{}, TimeAdded:<nil>}}",
        quote(value.text("key")),
        quote(value.text("value")),
        quote(value.text("effect")),
    )
}

/// An update strategy as `apps.DaemonSetUpdateStrategy{...}`.
pub(super) fn update_strategy(strategy: &Value) -> String {
    format!(
        "apps.DaemonSetUpdateStrategy{{Type:{}, RollingUpdate:{}}}",
        quote(strategy.text("type")),
        pointer("apps.RollingUpdateDaemonSet", strategy.has("rollingUpdate")),
    )
}

/// An owner reference as `v1.OwnerReference{...}`.
pub(super) fn owner_reference(owner: &Value) -> String {
    format!(
        "v1.OwnerReference{{APIVersion:{}, Kind:{}, Name:{}, UID:{}, Controller:{}, \
         BlockOwnerDeletion:{}}}",
        quote(owner.text("apiVersion")),
        quote(owner.text("kind")),
        quote(owner.text("name")),
        quote(owner.text("uid")),
        pointer("bool", owner.has("controller")),
        pointer("bool", owner.has("blockOwnerDeletion")),
    )
}

/// A port as `core.ServicePort{...}` with only the fields that identify it.
pub(super) fn service_port_key(port: &Value) -> String {
    format!(
        "core.ServicePort{{Name:\"\", Protocol:{}, AppProtocol:(*string)(nil), Port:{}, \
         TargetPort:intstr.IntOrString{{Type:0, IntVal:0, StrVal:\"\"}}, NodePort:0}}",
        quote(port.text("protocol")),
        port.int("port"),
    )
}

/// The role of a binding as `rbac.RoleRef{...}`.
pub(super) fn role_ref(role: &Value) -> String {
    format!(
        "rbac.RoleRef{{APIGroup:{}, Kind:{}, Name:{}}}",
        quote(role.text("apiGroup")),
        quote(role.text("kind")),
        quote(role.text("name")),
    )
}

/// A pointer. Go prints its address, which is a constant here.
fn pointer(kind: &str, set: bool) -> String {
    if set {
        format!("(*{kind})(0xc000010000)")
    } else {
        format!("(*{kind})(nil)")
    }
}
