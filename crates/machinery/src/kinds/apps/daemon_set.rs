//! `DaemonSet`. The generation of the template is kept in an annotation, because `apps/v1` has no
//! field for it.

use serde_json::{Value, json};

use crate::{
    Kind, Strategy, defaults,
    json_fields::{ReadFields, WriteFields},
    kinds::{kind, names, sub_of},
    table::{self, Printer},
    validation::{self, ErrorList},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!("apps", "DaemonSet", "daemonsets", "daemonset",
        group: "apps".into(),
        storage: "apps/daemonsets".into(),
        short_names: names!["ds"],
        categories: names!["all"],
        subresources: vec![sub_of("apps", "status", "DaemonSet", &["get", "patch", "update"])],
        strategy: Box::new(DaemonSetStrategy),
    )
}

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

#[derive(Debug)]
struct DaemonSetStrategy;

impl Strategy for DaemonSetStrategy {
    fn set_defaults(&self, object: &mut Value) {
        defaults::simple::daemon_set(object);
    }

    /// Clears the status and sets the generation of the template.
    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({
            "currentNumberScheduled": 0,
            "desiredNumberScheduled": 0,
            "numberMisscheduled": 0,
            "numberReady": 0,
        });
        let generation = template_generation(object).max(1);
        set_template_generation(object, generation);
    }

    /// Increments the generation of the template if the template changed.
    fn prepare_for_update(&self, old: &Value, new: &mut Value) {
        let changed = old["spec"]["template"] != new["spec"]["template"];
        let generation = template_generation(old) + i64::from(changed);
        set_template_generation(new, generation);
    }

    fn prepare_for_status_update(&self, old: &Value, new: &mut Value) {
        set_template_generation(new, template_generation(old));
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        validation::daemon_set::validate(object, errors);
    }

    fn validate_update(
        &self,
        kind: &Kind,
        _subresource: &str,
        old: &Value,
        new: &Value,
        errors: &mut ErrorList,
    ) {
        validation::daemon_set::update(kind, old, new, errors);
    }

    fn validate_status_update(&self, old: &Value, new: &Value, errors: &mut ErrorList) {
        validation::daemon_set::status(old, new, errors);
    }

    fn warnings_on_create(&self, object: &Value) -> Vec<String> {
        validation::pod_warnings::template(&object["spec"]["template"])
    }

    fn warnings_on_update(&self, old: &Value, new: &Value) -> Vec<String> {
        let (old, new) = (&old["spec"]["template"], &new["spec"]["template"]);
        if old == new {
            return Vec::new();
        }
        validation::pod_warnings::template(new)
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: table::DAEMON_SET,
            cells: table::workload::daemon_set,
        }
    }
}

fn template_generation(object: &Value) -> i64 {
    let text = object["metadata"]["annotations"].text(TEMPLATE_GENERATION);
    text.parse().unwrap_or_default()
}

fn set_template_generation(object: &mut Value, generation: i64) {
    let annotations = object.member("metadata").member("annotations");
    annotations.put(TEMPLATE_GENERATION, generation.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_generation_counts_changes_of_the_template_only() {
        let mut old = json!({"metadata": {}, "spec": {"template": {"a": 1}}});
        DaemonSetStrategy.prepare_for_create(&mut old);
        let annotation = "/metadata/annotations/deprecated.daemonset.template.generation";
        assert_eq!(old.pointer(annotation), Some(&json!("1")));
        let mut new = json!({"metadata": {"annotations": {"c": "d"}}, "spec": {"template": {"a": 1}, "minReadySeconds": 3}});
        DaemonSetStrategy.prepare_for_update(&old, &mut new);
        assert_eq!(new.pointer(annotation), Some(&json!("1")));
        let mut new = json!({"metadata": {}, "spec": {"template": {"a": 2}}});
        DaemonSetStrategy.prepare_for_update(&old, &mut new);
        assert_eq!(new.pointer(annotation), Some(&json!("2")));
    }
}
