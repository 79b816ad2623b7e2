//! `flowcontrol.apiserver.k8s.io`.

use serde_json::{Value, json};

use crate::{
    Kind, Scope, Strategy,
    default_flow_control::GROUP,
    json_fields::WriteFields,
    kind::ResetFields,
    kinds::{READ_WRITE, kind, sub_of},
    table::{self, Column, Printer},
    validation::{ErrorList, flow_control},
};

pub(super) fn flow_schema() -> Kind {
    kind!(
        "flowcontrol", "FlowSchema", "flowschemas", "flowschema",
        group: GROUP.into(),
        storage: "flowcontrol.apiserver.k8s.io/flowschemas".into(),
        scope: Scope::Cluster,
        subresources: vec![sub_of(GROUP, "status", "FlowSchema", READ_WRITE)],
        strategy: Box::new(FlowControlStrategy {
            set_defaults: crate::defaults::flow_control::flow_schema,
            validate: flow_control::flow_schema,
            validate_status: flow_control::flow_schema_status,
            columns: table::FLOW_SCHEMA,
            cells: table::plain::flow_schema,
        }),
    )
}

pub(super) fn priority_level_configuration() -> Kind {
    kind!(
        "flowcontrol", "PriorityLevelConfiguration", "prioritylevelconfigurations",
        "prioritylevelconfiguration",
        group: GROUP.into(),
        storage: "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations".into(),
        scope: Scope::Cluster,
        subresources: vec![sub_of(GROUP, "status", "PriorityLevelConfiguration", READ_WRITE)],
        strategy: Box::new(FlowControlStrategy {
            set_defaults: crate::defaults::flow_control::priority_level,
            validate: flow_control::priority_level,
            validate_status: flow_control::priority_level_status,
            columns: table::PRIORITY_LEVEL_CONFIGURATION,
            cells: table::plain::priority_level_configuration,
        }),
    )
}

/// Both kinds: a spec with rules of its own, and a status.
#[derive(Debug)]
struct FlowControlStrategy {
    set_defaults: fn(&mut Value),
    validate: fn(&Value, &mut ErrorList),
    validate_status: fn(&Value, &Value, &mut ErrorList),
    columns: &'static [Column],
    cells: fn(&Value, table::Clock) -> Vec<Value>,
}

impl Strategy for FlowControlStrategy {
    fn set_defaults(&self, object: &mut Value) {
        (self.set_defaults)(object);
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object.put("status", json!({}));
    }

    /// A write to the status changes no metadata.
    fn prepare_for_status_update(&self, old: &Value, new: &mut Value) {
        let entries = new.member("metadata")["managedFields"].take();
        new.put("metadata", old["metadata"].clone());
        new.member("metadata").put("managedFields", entries);
    }

    fn reset_fields(&self, _kind: &Kind, subresource: &str) -> ResetFields {
        let top_level: &[&str] = match subresource {
            "" => &["status"],
            "status" => &["metadata", "spec"],
            _ => &[],
        };
        ResetFields {
            top_level,
            metadata: &[],
        }
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        (self.validate)(object, errors);
    }

    fn validate_status_update(&self, old: &Value, new: &Value, errors: &mut ErrorList) {
        (self.validate_status)(old, new, errors);
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: self.columns,
            cells: self.cells,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::{prepare_create, prepare_update};

    #[test]
    fn a_new_object_has_no_status() {
        for kind in [flow_schema(), priority_level_configuration()] {
            let conditions = json!([{"type": "Dangling", "status": "True"}]);
            let mut object =
                json!({"metadata": {"name": "x"}, "status": {"conditions": conditions}});
            prepare_create(&kind, &mut object);
            assert_eq!(object["status"], json!({}), "{}", kind.kind);
        }
    }

    #[test]
    fn a_write_to_the_status_keeps_metadata_and_spec() {
        for kind in [flow_schema(), priority_level_configuration()] {
            let old = json!({"metadata": {"name": "x", "labels": {"a": "1"}}, "spec": {"a": 1}});
            let mut new = json!({
                "metadata": {"name": "x", "labels": {"a": "2"}, "annotations": {"b": "2"}},
                "spec": {"a": 2}, "status": {"conditions": []},
            });
            prepare_update(&kind, "status", &old, &mut new);
            assert_eq!(new["metadata"], old["metadata"], "{}", kind.kind);
            assert_eq!(
                (&new["spec"], new["status"].is_object()),
                (&old["spec"], true)
            );
        }
    }
}
