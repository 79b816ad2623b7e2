//! `PriorityClass` (upstream's `pkg/apis/scheduling/validation`).

use serde_json::Value;

use super::error_list::{ErrorList, Path};
use crate::json_fields::ReadFields;

/// Highest value of a class that is not one of the system (upstream's
/// `HighestUserDefinablePriority`).
const HIGHEST: i64 = 1_000_000_000;

/// The classes of the system, with their values.
const BUILTIN: [(&str, i64); 2] = [
    ("system-node-critical", 2_000_001_000),
    ("system-cluster-critical", 2_000_000_000),
];

/// Validates a new class; the metadata is validated already.
pub(crate) fn validate(object: &Value, errors: &mut ErrorList) {
    let name = object["metadata"].text("name");
    let value = object.int("value");
    if name.starts_with("system-") {
        if let Some(why) = not_builtin(object, name, value) {
            let metadata = Path::root("metadata");
            let why = format!(
                "priority class names with 'system-' prefix are reserved for system use only. \
                 error: {why}"
            );
            errors.forbidden(&metadata.child("name"), &why);
        }
    } else if value > HIGHEST {
        let why = format!("maximum allowed value of a user defined priority is {HIGHEST}");
        errors.forbidden(&Path::root("value"), &why);
    }
    let policy = object.field("preemptionPolicy").and_then(Value::as_str);
    if let Some(policy) = policy {
        let supported = ["PreemptLowerPriority", "Never"];
        errors.required_one_of(&Path::root("preemptionPolicy"), policy, &supported);
    }
}

fn not_builtin(object: &Value, name: &str, value: i64) -> Option<String> {
    let Some((_, known)) = BUILTIN.iter().find(|(known, _)| *known == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if *known != value {
        Some(format!("value of {name} PriorityClass must be {known}"))
    } else if object.flag("globalDefault") {
        Some(format!(
            "globalDefault of {name} PriorityClass must be false"
        ))
    } else {
        None
    }
}

/// Validates a changed class: `value` and `preemptionPolicy` are immutable.
pub(crate) fn update(old: &Value, new: &Value, errors: &mut ErrorList) {
    if old.int("value") != new.int("value") {
        errors.forbidden(&Path::root("Value"), "may not be changed in an update.");
    }
    let policy = new.text("preemptionPolicy");
    if old.text("preemptionPolicy") != policy {
        errors.invalid(
            &Path::root("preemptionPolicy"),
            policy,
            "field is immutable",
        );
    }
}
