//! Affinity and tolerations of pods, and taints of nodes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::error_list::{ErrorList, GoValue, Path};
use super::{go_format, names, selector};
use crate::json_fields::ReadFields;

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const BAD_OPERATOR: &str = "not a valid selector operator";

/// Validates `affinity` (upstream's `validateAffinity`).
pub(super) fn affinity(path: &Path<'_>, affinity: &Value, errors: &mut ErrorList) {
    if let Some(node) = affinity.field("nodeAffinity") {
        let path = path.child("nodeAffinity");
        if let Some(required) = node.field(REQUIRED) {
            node_selector(&path.child(REQUIRED), required, errors);
        }
        for (at, term) in node.items(PREFERRED).iter().enumerate() {
            let list = path.child(PREFERRED);
            let item = list.index(at);
            weight(&item, term, errors);
            node_term(
                &item.child("preference"),
                &term["preference"],
                Values::Any,
                errors,
            );
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        if let Some(pods) = affinity.field(kind) {
            pod_affinity(&path.child(kind), pods, errors);
        }
    }
}

fn weight(path: &Path<'_>, term: &Value, errors: &mut ErrorList) {
    let weight = term.int("weight");
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.child("weight"), weight, "must be in the range 1-100");
    }
}

fn node_selector(path: &Path<'_>, selector: &Value, errors: &mut ErrorList) {
    let list = path.child("nodeSelectorTerms");
    let terms = selector.items("nodeSelectorTerms");
    if terms.is_empty() {
        errors.required(&list, "must have at least one node selector term");
    }
    for (at, term) in terms.iter().enumerate() {
        node_term(&list.index(at), term, Values::Labels, errors);
    }
}

/// Whether the values of a term must be valid label values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    Any,
    Labels,
}

fn node_term(path: &Path<'_>, term: &Value, values: Values, errors: &mut ErrorList) {
    let expressions = path.child("matchExpressions");
    for (at, requirement) in term.items("matchExpressions").iter().enumerate() {
        node_requirement(&expressions.index(at), requirement, values, errors);
    }
    let fields = path.child("matchFields");
    for (at, requirement) in term.items("matchFields").iter().enumerate() {
        node_field(&fields.index(at), requirement, errors);
    }
}

fn node_requirement(path: &Path<'_>, requirement: &Value, rule: Values, errors: &mut ErrorList) {
    let (operator, values) = (requirement.text("operator"), requirement.items("values"));
    let values_path = path.child("values");
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let why = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.required(&values_path, why);
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.forbidden(&values_path, why);
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.required(&values_path, why);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        _ => errors.invalid(&path.child("operator"), operator, BAD_OPERATOR),
    }
    names::check_qualified(&path.child("key"), requirement.text("key"), errors);
    if rule == Values::Labels {
        for (at, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            errors.invalid_all(&values_path.index(at), value, &names::label_value(value));
        }
    }
}

fn node_field(path: &Path<'_>, requirement: &Value, errors: &mut ErrorList) {
    let values = requirement.items("values");
    let values_path = path.child("values");
    match requirement.text("operator") {
        "In" | "NotIn" if values.len() != 1 => {
            let why =
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.required(&values_path, why);
        }
        "In" | "NotIn" => {}
        operator => errors.invalid(&path.child("operator"), operator, BAD_OPERATOR),
    }
    let key = requirement.text("key");
    if key != "metadata.name" {
        errors.invalid(&path.child("key"), key, "not a valid field selector key");
        return;
    }
    for (at, value) in values.iter().enumerate() {
        names::check_subdomain(
            &values_path.index(at),
            value.as_str().unwrap_or_default(),
            errors,
        );
    }
}

fn pod_affinity(path: &Path<'_>, affinity: &Value, errors: &mut ErrorList) {
    let required = path.child(REQUIRED);
    for (at, term) in affinity.items(REQUIRED).iter().enumerate() {
        pod_term(&required.index(at), term, errors);
    }
    let preferred = path.child(PREFERRED);
    for (at, term) in affinity.items(PREFERRED).iter().enumerate() {
        let item = preferred.index(at);
        weight(&item, term, errors);
        pod_term(
            &item.child("podAffinityTerm"),
            &term["podAffinityTerm"],
            errors,
        );
    }
}

fn pod_term(path: &Path<'_>, term: &Value, errors: &mut ErrorList) {
    for field in ["labelSelector", "namespaceSelector"] {
        selector::label_selector(&path.child(field), &term[field], errors);
    }
    for namespace in term.items("namespaces").iter().filter_map(Value::as_str) {
        names::check_label(&path.child("namespace"), namespace, errors);
    }
    match_keys(path, term, errors);
    let key = term.text("topologyKey");
    if key.is_empty() {
        errors.required(&path.child("topologyKey"), "can not be empty");
    }
    names::check_qualified(&path.child("topologyKey"), key, errors);
}

fn match_keys(path: &Path<'_>, term: &Value, errors: &mut ErrorList) {
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        let list = path.child(field);
        let keys = term.items(field);
        if !keys.is_empty() && !term.has("labelSelector") {
            errors.forbidden(&list, "must not be specified when labelSelector is not set");
            continue;
        }
        for (at, key) in keys.iter().enumerate() {
            names::check_qualified(&list.index(at), key.as_str().unwrap_or_default(), errors);
        }
    }
    let list = path.child("matchLabelKeys");
    let texts = |field| {
        term.items(field)
            .iter()
            .map(|key| key.as_str().unwrap_or_default())
    };
    let mismatched: BTreeSet<&str> = texts("mismatchLabelKeys").collect();
    for (at, key) in texts("matchLabelKeys").enumerate() {
        if mismatched.contains(key) {
            let why = "exists in both matchLabelKeys and mismatchLabelKeys";
            errors.invalid(&list.index(at), key, why);
        }
    }
}

/// Validates `tolerations` (upstream's `ValidateTolerations`).
pub(super) fn tolerations(path: &Path<'_>, tolerations: &[Value], errors: &mut ErrorList) {
    for (at, toleration) in tolerations.iter().enumerate() {
        let path = path.index(at);
        let (key, operator) = (toleration.text("key"), toleration.text("operator"));
        let (value, effect) = (toleration.text("value"), toleration.text("effect"));
        let operator_path = path.child("operator");
        if !key.is_empty() {
            names::check_qualified(&path.child("key"), key, errors);
        } else if operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values \
                       and all keys\"";
            errors.invalid(&operator_path, operator, why);
        }
        if toleration.has("tolerationSeconds") && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(&path.child("effect"), effect, why);
        }
        match operator {
            "Equal" | "" => {
                let texts = names::label_value(value);
                if !texts.is_empty() {
                    errors.invalid(&operator_path, value, &texts.join(";"));
                }
            }
            "Exists" if !value.is_empty() => {
                let shown = GoValue::formatted(go_format::toleration(toleration));
                let why = "value must be empty when `operator` is 'Exists'";
                errors.invalid(&operator_path, shown, why);
            }
            "Exists" => {}
            _ => errors.not_supported(&operator_path, operator, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            errors.one_of(&path.child("effect"), effect, &EFFECTS);
        }
    }
}

/// Validates the taints of a node (upstream's `validateNodeTaints`).
pub(super) fn taints(path: &Path<'_>, taints: &[Value], errors: &mut ErrorList) {
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (at, taint) in taints.iter().enumerate() {
        let path = path.index(at);
        let (key, value, effect) = (taint.text("key"), taint.text("value"), taint.text("effect"));
        names::check_qualified(&path.child("key"), key, errors);
        let texts = names::label_value(value);
        if !texts.is_empty() {
            errors.invalid(&path.child("value"), value, &texts.join(";"));
        }
        errors.required_one_of(&path.child("effect"), effect, &EFFECTS);
        if !seen.insert((key, effect)) {
            let shown = GoValue::formatted(go_format::taint(taint));
            let why = "taints must be unique by key and effect pair";
            errors.duplicate_why(&path, shown, why);
        }
    }
}
