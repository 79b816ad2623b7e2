//! `Node`.

use serde_json::Value;

use crate::{
    Kind, Scope, Strategy, defaults,
    kinds::{READ_WRITE, kind, names, sub},
    selectable_fields::text::text_of,
    table::{self, Printer},
    validation::{self, ErrorList, meta},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!("core", "Node", "nodes", "node",
        storage: "nodes".into(),
        scope: Scope::Cluster,
        short_names: names!["no"],
        subresources: vec![
            sub("proxy", "NodeProxyOptions", &["get"]),
            sub("status", "Node", READ_WRITE),
        ],
        selectable_fields: names!["spec.unschedulable"],
        strategy: Box::new(NodeStrategy),
    )
}

#[derive(Debug)]
struct NodeStrategy;

impl Strategy for NodeStrategy {
    fn set_defaults(&self, object: &mut Value) {
        defaults::simple::node(object);
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        validation::node::validate(object, errors);
    }

    fn validate_update(
        &self,
        kind: &Kind,
        _subresource: &str,
        old: &Value,
        new: &Value,
        errors: &mut ErrorList,
    ) {
        self.validate(kind, new, errors);
        meta::validate_update(old, new, errors);
        validation::node::update(old, new, errors);
    }

    fn validate_status_update(&self, old: &Value, new: &Value, errors: &mut ErrorList) {
        validation::node::update(old, new, errors);
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: table::NODE,
            cells: table::node::cells,
        }
    }

    fn selectable_value(&self, object: &Value, field: &str) -> String {
        let text = text_of(object, field);
        // A Go boolean that is not set reads as false.
        if text.is_empty() && field == "spec.unschedulable" {
            return "false".to_owned();
        }
        text
    }
}
