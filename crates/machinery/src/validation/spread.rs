//! Topology spread constraints.

use serde_json::Value;

use super::faults::{Faults, Path};
use super::{names, selector};
use crate::access::Access;

/// `topologySpreadConstraints`.
pub(super) fn constraints(path: &Path<'_>, constraints: &[Value], faults: &mut Faults) {
    for (at, constraint) in constraints.iter().enumerate() {
        let path = path.index(at);
        let (key, action) = (
            constraint.text("topologyKey"),
            constraint.text("whenUnsatisfiable"),
        );
        if constraint.int("maxSkew") <= 0 {
            let skew = constraint.int("maxSkew");
            faults.invalid(&path.child("maxSkew"), skew, "must be greater than zero");
        }
        if key.is_empty() {
            faults.required(&path.child("topologyKey"), "can not be empty");
        }
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        faults.one_of(&path.child("whenUnsatisfiable"), action, &actions);
        let repeated = constraints[at + 1..].iter().any(|other| {
            other.text("topologyKey") == key && other.text("whenUnsatisfiable") == action
        });
        if repeated {
            let shown = format!("{{{key}, {action}}}");
            faults.duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), &shown);
        }
        min_domains(&path.child("minDomains"), constraint, action, faults);
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if let Some(policy) = constraint.field(field).and_then(Value::as_str) {
                faults.one_of(&path.child(field), policy, &["Honor", "Ignore"]);
            }
        }
        match_label_keys(&path.child("matchLabelKeys"), constraint, faults);
        let selector_path = path.child("labelSelector");
        selector::label_selector(&selector_path, &constraint["labelSelector"], faults);
    }
}

fn min_domains(path: &Path<'_>, constraint: &Value, action: &str, faults: &mut Faults) {
    let Some(domains) = constraint.field("minDomains").and_then(Value::as_i64) else {
        return;
    };
    if domains <= 0 {
        faults.invalid(path, domains, "must be greater than zero");
    }
    if action != "DoNotSchedule" {
        let why =
            format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
        faults.invalid(path, domains, &why);
    }
}

fn match_label_keys(path: &Path<'_>, constraint: &Value, faults: &mut Faults) {
    let keys = constraint.items("matchLabelKeys");
    let selector = &constraint["labelSelector"];
    if !keys.is_empty() && selector.is_null() {
        faults.forbidden(path, "must not be specified when labelSelector is not set");
    }
    for (at, key) in keys.iter().enumerate() {
        let key = key.as_str().unwrap_or_default();
        names::check_qualified(&path.index(at), key, faults);
        let expressions = selector.items("matchExpressions");
        if selector["matchLabels"].has(key) || expressions.iter().any(|e| e.text("key") == key) {
            let why = "exists in both matchLabelKeys and labelSelector";
            faults.invalid(&path.index(at), key, why);
        }
    }
}
