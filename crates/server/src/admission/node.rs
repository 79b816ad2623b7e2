//! Nodes: a new one is not ready, and a node writes only about itself.

use pandaemon_machinery::{Status, status::Result};
use serde_json::{Value, json};

use crate::{meta, registry::Call};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// `TaintNodesByCondition` and `NodeRestriction` for a new node.
pub(super) fn admit_create(call: &Call, node: &mut Value) -> Result<()> {
    check_own(call, meta::name(node))?;
    let taint = json!({"key": NOT_READY, "effect": "NoSchedule"});
    if !node["spec"].is_object() {
        node["spec"] = json!({});
    }
    match node["spec"]["taints"].as_array_mut() {
        Some(taints) => {
            let has_it = taints
                .iter()
                .any(|t| t["key"] == NOT_READY && t["effect"] == "NoSchedule");
            if !has_it {
                taints.push(taint);
            }
        }
        None => node["spec"]["taints"] = json!([taint]),
    }
    Ok(())
}

/// `NodeRestriction`: a node does not write about another node.
pub(super) fn check_own(call: &Call, name: &str) -> Result<()> {
    match call.user.node() {
        Some(own) if own != name => {
            let why = format!("node {own:?} is not allowed to modify node {name:?}");
            Err(Status::forbidden(call.kind, name, &why))
        }
        Some(_) | None => Ok(()),
    }
}
