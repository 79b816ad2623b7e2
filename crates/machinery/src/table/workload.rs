//! Rows of `DaemonSet` and `ControllerRevision`.

use serde_json::Value;

use super::{
    cells::{Clock, name},
    format_labels, or_none,
};
use crate::json_fields::ReadFields;

pub(crate) fn daemon_set(object: &Value, clock: Clock) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let pod = &spec["template"]["spec"];
    vec![
        name(object),
        status.int("desiredNumberScheduled").into(),
        status.int("currentNumberScheduled").into(),
        status.int("numberReady").into(),
        status.int("updatedNumberScheduled").into(),
        status.int("numberAvailable").into(),
        format_labels(&pod["nodeSelector"]).into(),
        clock.age(object),
        joined(pod, "name").into(),
        joined(pod, "image").into(),
        format_selector(&spec["selector"]).into(),
    ]
}

pub(crate) fn revision(object: &Value, clock: Clock) -> Vec<Value> {
    vec![
        name(object),
        controller(object).into(),
        object.int("revision").into(),
        clock.age(object),
    ]
}

fn joined(pod: &Value, field: &str) -> String {
    let texts: Vec<&str> = pod
        .items("containers")
        .iter()
        .map(|c| c.text(field))
        .collect();
    texts.join(",")
}

/// The cell Controller, such as `daemonset.apps/fluentd`.
fn controller(object: &Value) -> String {
    let owners = object["metadata"].items("ownerReferences");
    let Some(owner) = owners.iter().find(|o| o.flag("controller")) else {
        return "<none>".to_owned();
    };
    let kind = owner.text("kind").to_lowercase();
    let name = owner.text("name");
    match owner.text("apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

/// A label selector as `app=a,tier in (x,y)`, or `<none>` (upstream's
/// `metav1.FormatLabelSelector`).
fn format_selector(selector: &Value) -> String {
    let mut parts: Vec<(String, String)> = Vec::new();
    for (key, value) in selector.entries("matchLabels").into_iter().flatten() {
        parts.push((
            key.clone(),
            format!("{key}={}", value.as_str().unwrap_or_default()),
        ));
    }
    for expression in selector.items("matchExpressions") {
        parts.push((
            expression.text("key").to_owned(),
            format_expression(expression),
        ));
    }
    parts.sort_by(|a, b| a.0.cmp(&b.0));
    let texts: Vec<String> = parts.into_iter().map(|(_, text)| text).collect();
    or_none(&texts.join(","))
}

fn format_expression(expression: &Value) -> String {
    let key = expression.text("key");
    let mut values: Vec<&str> = expression
        .items("values")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    values.sort_unstable();
    let values = values.join(",");
    match expression.text("operator") {
        "In" => format!("{key} in ({values})"),
        "NotIn" => format!("{key} notin ({values})"),
        "DoesNotExist" => format!("!{key}"),
        _ => key.to_owned(),
    }
}
