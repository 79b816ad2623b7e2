//! Admission of Nodes: `TaintNodesByCondition` and `NodeRestriction`.

use pandaemon_machinery::{Status, status::Result};
use serde_json::{Value, json};

use crate::{meta, registry::Call};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// Taints a new Node as not ready, and checks that a node agent creates its own Node only.
pub(super) fn admit_create(call: &Call, node: &mut Value) -> Result<()> {
    check_node_restriction(call, meta::name(node))?;
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

/// `NodeRestriction`: a node agent writes its own Node only.
pub(super) fn check_node_restriction(call: &Call, name: &str) -> Result<()> {
    match call.user.node() {
        Some(own) if own != name => {
            let why = format!("node {own:?} is not allowed to modify node {name:?}");
            Err(Status::forbidden(&call.kind, name, &why))
        }
        Some(_) | None => Ok(()),
    }
}
