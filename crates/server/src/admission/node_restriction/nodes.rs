//! The Node of a node agent: it may not steer workloads to itself by labels or taints, nor have
//! itself deleted by an owner.

use std::collections::BTreeSet;

use pandaemon_machinery::status::Result;
use pandaemon_types::node_labels::is_own_label;
use serde_json::{Map, Value};

use super::{
    super::{
        plugin::Attributes,
        rule::{Operation, Rule},
    },
    rule as rule_for,
};
use crate::registry::meta;

const CONFIG_SOURCE: &str = "/spec/configSource";
const TAINTS: &str = "/spec/taints";
const OWNERS: &str = "/metadata/ownerReferences";

pub(super) fn rule() -> Rule {
    use Operation::{Create, Delete, Update};
    rule_for(&[Create, Update, Delete], "", "nodes/*").reads(&[
        "/metadata/name",
        "/metadata/labels",
        OWNERS,
        TAINTS,
        CONFIG_SOURCE,
    ])
}

pub(super) fn check_node(attributes: &Attributes<'_>, own: &str, node: &Value) -> Result<()> {
    let name = match attributes.operation {
        // Another name is generated.
        Operation::Create => meta::name(node),
        _ => attributes.name,
    };
    if name != own {
        return Err(attributes.forbidden(&format!(
            "node {own:?} is not allowed to modify node {name:?}"
        )));
    }
    let refused = match attributes.operation {
        Operation::Create => why_not_create(own, node),
        Operation::Update => {
            why_not_update(own, attributes.old_object.unwrap_or(&Value::Null), node)
        }
        Operation::Delete | Operation::Connect => None,
    };
    refused.map_or(Ok(()), |why| Err(attributes.forbidden(&why)))
}

fn why_not_create(own: &str, node: &Value) -> Option<String> {
    if filled(node, CONFIG_SOURCE).is_some() {
        return Some(format!(
            "node {own:?} is not allowed to create pods with a non-nil configSource"
        ));
    }
    let labels = forbidden_changes(node, &Value::Null)?;
    Some(format!(
        "node {own:?} is not allowed to set the following labels: {labels}"
    ))
}

fn why_not_update(own: &str, old: &Value, new: &Value) -> Option<String> {
    let differs = |pointer: &str| filled(old, pointer) != filled(new, pointer);
    if filled(new, CONFIG_SOURCE).is_some() && differs(CONFIG_SOURCE) {
        return Some(format!(
            "node {own:?} is not allowed to update configSource to a new non-nil configSource"
        ));
    }
    for (pointer, what) in [(TAINTS, "taints"), (OWNERS, "ownerReferences")] {
        if differs(pointer) {
            return Some(format!("node {own:?} is not allowed to modify {what}"));
        }
    }
    let labels = forbidden_changes(new, old)?;
    Some(format!("is not allowed to modify labels: {labels}"))
}

/// The value at a pointer; an empty list is the same as none.
fn filled<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    let value = object.pointer(pointer)?;
    let is_empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    (!is_empty).then_some(value)
}

/// The labels that differ and that a node agent may not change, if there are any.
fn forbidden_changes(new: &Value, old: &Value) -> Option<String> {
    let [new, old] = [new, old].map(|object| meta::of(object)?.get("labels")?.as_object());
    let value = |labels: Option<&Map<String, Value>>, key: &String| labels?.get(key).cloned();
    let keys = [new, old].into_iter().flatten().flat_map(Map::keys);
    let changed = keys.filter(|key| value(new, key) != value(old, key));
    let forbidden: BTreeSet<_> = changed.filter(|key| !is_own_label(key)).collect();
    let forbidden: Vec<_> = forbidden.into_iter().map(String::as_str).collect();
    (!forbidden.is_empty()).then(|| forbidden.join(", "))
}
