//! Topology spread constraints.

use serde_json::Value;

use super::error_list::{ErrorList, Path};
use super::{names, selector};
use crate::json_fields::ReadFields;

/// Validates `topologySpreadConstraints` (upstream's `validateTopologySpreadConstraints`).
pub(super) fn constraints(path: &Path<'_>, constraints: &[Value], errors: &mut ErrorList) {
    for (at, constraint) in constraints.iter().enumerate() {
        let path = path.index(at);
        let (key, action) = (
            constraint.text("topologyKey"),
            constraint.text("whenUnsatisfiable"),
        );
        if constraint.int("maxSkew") <= 0 {
            let skew = constraint.int("maxSkew");
            errors.invalid(&path.child("maxSkew"), skew, "must be greater than zero");
        }
        if key.is_empty() {
            errors.required(&path.child("topologyKey"), "can not be empty");
        }
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        errors.one_of(&path.child("whenUnsatisfiable"), action, &actions);
        let repeated = constraints[at + 1..].iter().any(|other| {
            other.text("topologyKey") == key && other.text("whenUnsatisfiable") == action
        });
        if repeated {
            let shown = format!("{{{key}, {action}}}");
            errors.duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), &shown);
        }
        min_domains(&path.child("minDomains"), constraint, action, errors);
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if let Some(policy) = constraint.field(field).and_then(Value::as_str) {
                errors.one_of(&path.child(field), policy, &["Honor", "Ignore"]);
            }
        }
        match_label_keys(&path.child("matchLabelKeys"), constraint, errors);
        let selector_path = path.child("labelSelector");
        selector::label_selector(&selector_path, &constraint["labelSelector"], errors);
    }
}

fn min_domains(path: &Path<'_>, constraint: &Value, action: &str, errors: &mut ErrorList) {
    let Some(domains) = constraint.field("minDomains").and_then(Value::as_i64) else {
        return;
    };
    if domains <= 0 {
        errors.invalid(path, domains, "must be greater than zero");
    }
    if action != "DoNotSchedule" {
        let why =
            format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
        errors.invalid(path, domains, &why);
    }
}

fn match_label_keys(path: &Path<'_>, constraint: &Value, errors: &mut ErrorList) {
    let keys = constraint.items("matchLabelKeys");
    let selector = &constraint["labelSelector"];
    if !keys.is_empty() && selector.is_null() {
        errors.forbidden(path, "must not be specified when labelSelector is not set");
    }
    for (at, key) in keys.iter().enumerate() {
        let key = key.as_str().unwrap_or_default();
        names::check_qualified(&path.index(at), key, errors);
        let expressions = selector.items("matchExpressions");
        if selector["matchLabels"].has(key) || expressions.iter().any(|e| e.text("key") == key) {
            let why = "exists in both matchLabelKeys and labelSelector";
            errors.invalid(&path.index(at), key, why);
        }
    }
}
