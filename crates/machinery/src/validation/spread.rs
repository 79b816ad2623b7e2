//! Topology spread constraints.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::error_list::{ErrorList, Path};
use super::{names, selector};
use crate::json_fields::ReadFields;

/// Validates `topologySpreadConstraints` (upstream's `validateTopologySpreadConstraints`).
pub(super) fn constraints<'v>(path: &Path<'_>, constraints: &'v [Value], errors: &mut ErrorList) {
    let key_and_action = |constraint: &'v Value| {
        (
            constraint.text("topologyKey"),
            constraint.text("whenUnsatisfiable"),
        )
    };
    // How often each pair comes in the rest of the list.
    let mut left: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for constraint in constraints {
        *left.entry(key_and_action(constraint)).or_default() += 1;
    }
    for (at, constraint) in constraints.iter().enumerate() {
        let path = path.index(at);
        let (key, action) = key_and_action(constraint);
        if constraint.int("maxSkew") <= 0 {
            let skew = constraint.int("maxSkew");
            errors.invalid(&path.child("maxSkew"), skew, "must be greater than zero");
        }
        if key.is_empty() {
            errors.required(&path.child("topologyKey"), "can not be empty");
        }
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        errors.one_of(&path.child("whenUnsatisfiable"), action, &actions);
        let rest = left.entry((key, action)).or_default();
        *rest = rest.saturating_sub(1);
        if *rest > 0 {
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
    let expressions = selector.items("matchExpressions").iter();
    let selected: BTreeSet<&str> = expressions.map(|e| e.text("key")).collect();
    for (at, key) in keys.iter().enumerate() {
        let key = key.as_str().unwrap_or_default();
        names::check_qualified(&path.index(at), key, errors);
        if selector["matchLabels"].has(key) || selected.contains(key) {
            let why = "exists in both matchLabelKeys and labelSelector";
            errors.invalid(&path.index(at), key, why);
        }
    }
}
