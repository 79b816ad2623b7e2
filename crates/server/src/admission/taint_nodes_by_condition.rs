//! `TaintNodesByCondition`: a new Node is tainted as not ready.

use futures::future::BoxFuture;
use pandaemon_machinery::status::Result;
use serde_json::{Value, json};

use super::{
    plugin::{Attributes, Plugin, done},
    rule::{Operation, Rule},
};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

#[derive(Debug)]
pub(super) struct TaintNodesByCondition;

impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn rules(&self) -> Vec<Rule> {
        let rule = Rule::new(&[Operation::Create], "", &["nodes"]);
        vec![rule.reads(&["/spec/taints"]).writes(&["/spec/taints"])]
    }

    fn admit<'a>(
        &'a self,
        _attributes: Attributes<'a>,
        node: &'a mut Value,
    ) -> BoxFuture<'a, Result<()>> {
        add_taint(node);
        done(Ok(()))
    }
}

fn add_taint(node: &mut Value) {
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
}
