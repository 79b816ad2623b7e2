//! Rows of `Node`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    cells::{Clock, name},
    or_none, text_of_type,
};
use crate::json_fields::ReadFields;

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";

pub(crate) fn cells(object: &Value, clock: Clock) -> Vec<Value> {
    let status = &object["status"];
    let info = &status["nodeInfo"];
    let address = |of_type| text_of_type(status.items("addresses"), of_type, "address");
    vec![
        name(object),
        readiness(object).into(),
        roles(object).into(),
        clock.age(object),
        info.text("kubeletVersion").into(),
        or_none(address("InternalIP")).into(),
        or_none(address("ExternalIP")).into(),
        or_unknown(info.text("osImage")).into(),
        or_unknown(info.text("kernelVersion")).into(),
        or_unknown(info.text("containerRuntimeVersion")).into(),
    ]
}

/// The cell Status, such as `Ready,SchedulingDisabled`.
fn readiness(object: &Value) -> String {
    let conditions = object["status"].items("conditions");
    let mut words = vec![
        match conditions.iter().rfind(|c| c.text("type") == "Ready") {
            None => "Unknown",
            Some(ready) if ready.text("status") == "True" => "Ready",
            Some(_) => "NotReady",
        },
    ];
    if object["spec"].flag("unschedulable") {
        words.push("SchedulingDisabled");
    }
    words.join(",")
}

fn roles(object: &Value) -> String {
    let labels = object["metadata"].entries("labels");
    let roles: BTreeSet<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some(role) => Some(role),
            None if key == ROLE_LABEL => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    or_none(&roles.into_iter().collect::<Vec<_>>().join(","))
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "<unknown>" } else { text }
}
