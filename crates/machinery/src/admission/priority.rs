//! Priority admission: class names become numbers.

use serde_json::{Value, json};

use crate::Kind;
use crate::access::Access;
use crate::status::{Result, Status};

/// What the server found for a pod.
#[derive(Debug, Clone, Copy, Default)]
pub struct PriorityClasses<'a> {
    /// The class that the pod names, if it exists.
    pub named: Option<&'a Value>,
    /// The class with `globalDefault`, if there is one.
    pub global_default: Option<&'a Value>,
}

/// Sets `priority` and `preemptionPolicy` from the class of the pod.
///
/// # Errors
/// 403 for a class that does not exist, and for numbers that differ from those of the class.
pub fn pod_priority(kind: &Kind, pod: &mut Value, classes: PriorityClasses<'_>) -> Result<()> {
    let name = pod["metadata"].text("name").to_owned();
    let wanted = pod["spec"].text("priorityClassName").to_owned();
    let class = if wanted.is_empty() {
        classes.global_default
    } else {
        classes.named
    };
    if class.is_none() && !wanted.is_empty() {
        let why = format!("no PriorityClass with name {wanted} was found");
        return Err(Status::forbidden(kind, &name, &why));
    }
    let value = class.map_or(0, |class| class.int("value"));
    let policy = class.map_or("", |class| class.text("preemptionPolicy"));
    let policy = if policy.is_empty() {
        "PreemptLowerPriority"
    } else {
        policy
    };
    let spec = &mut pod["spec"];
    if let Some(given) = spec.field("priority").and_then(Value::as_i64)
        && given != value
    {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority \
             admission controller computed {value} from the given PriorityClass name"
        );
        return Err(Status::forbidden(kind, &name, &why));
    }
    let given = spec.text("preemptionPolicy");
    if !given.is_empty() && given != policy {
        let why = format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; \
             priority admission controller computed {policy} from the given PriorityClass name"
        );
        return Err(Status::forbidden(kind, &name, &why));
    }
    spec["priority"] = value.into();
    spec["preemptionPolicy"] = policy.into();
    if let Some(class) = class.filter(|_| wanted.is_empty()) {
        spec["priorityClassName"] = class["metadata"]["name"].clone();
    }
    Ok(())
}

/// Only one class may be the default; `current` is the one that is.
///
/// # Errors
/// 403 if another one is.
pub fn check_global_default(kind: &Kind, class: &Value, current: Option<&Value>) -> Result<()> {
    let name = class["metadata"].text("name");
    match current.map(|other| other["metadata"].text("name")) {
        Some(other) if class.flag("globalDefault") && other != name => {
            let why = format!(
                "PriorityClass {other} is already marked as default. Only one default can exist"
            );
            Err(Status::forbidden(kind, name, &why))
        }
        _ => Ok(()),
    }
}

/// The classes that every cluster has.
#[must_use]
pub fn builtin_priority_classes() -> [Value; 2] {
    let class = |name: &str, value: i64, description: &str| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": { "name": name, "generation": 1 },
            "value": value,
            "description": description,
            "preemptionPolicy": "PreemptLowerPriority",
        })
    };
    [
        class(
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
        class(
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to \
             another node if necessary.",
        ),
    ]
}
