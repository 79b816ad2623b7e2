//! Strategy of `DaemonSet`. The generation of the template is kept in an annotation, because
//! `apps/v1` has no field for it.

use serde_json::{Value, json};

use crate::json_fields::{ReadFields, WriteFields};

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Clears the status and sets the generation of the template.
pub(super) fn create(object: &mut Value) {
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
pub(super) fn update(old: &Value, new: &mut Value) {
    let changed = old["spec"]["template"] != new["spec"]["template"];
    let generation = template_generation(old) + i64::from(changed);
    set_template_generation(new, generation);
}

/// Takes the generation of the template from the old object.
pub(super) fn keep_template_generation(old: &Value, new: &mut Value) {
    set_template_generation(new, template_generation(old));
}

fn template_generation(object: &Value) -> i64 {
    let text = object["metadata"]["annotations"].text(TEMPLATE_GENERATION);
    text.parse().unwrap_or_default()
}

fn set_template_generation(object: &mut Value, generation: i64) {
    let annotations = object.member("metadata").member("annotations");
    annotations.put(TEMPLATE_GENERATION, generation.to_string());
}
