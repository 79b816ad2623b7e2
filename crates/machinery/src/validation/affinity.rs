//! Affinity, and the tolerations that go with it.

use serde_json::Value;

use super::faults::{Faults, Path, Shown};
use super::{golang, names, selector};
use crate::access::Access;

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const BAD_OPERATOR: &str = "not a valid selector operator";

/// `affinity`.
pub(super) fn affinity(path: &Path<'_>, affinity: &Value, faults: &mut Faults) {
    if let Some(node) = affinity.field("nodeAffinity") {
        let path = path.child("nodeAffinity");
        if let Some(required) = node.field(REQUIRED) {
            node_selector(&path.child(REQUIRED), required, faults);
        }
        for (at, term) in node.items(PREFERRED).iter().enumerate() {
            let list = path.child(PREFERRED);
            let item = list.index(at);
            weight(&item, term, faults);
            node_term(
                &item.child("preference"),
                &term["preference"],
                Values::Any,
                faults,
            );
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        if let Some(pods) = affinity.field(kind) {
            pod_affinity(&path.child(kind), pods, faults);
        }
    }
}

fn weight(path: &Path<'_>, term: &Value, faults: &mut Faults) {
    let weight = term.int("weight");
    if !(1..=100).contains(&weight) {
        faults.invalid(&path.child("weight"), weight, "must be in the range 1-100");
    }
}

fn node_selector(path: &Path<'_>, selector: &Value, faults: &mut Faults) {
    let list = path.child("nodeSelectorTerms");
    let terms = selector.items("nodeSelectorTerms");
    if terms.is_empty() {
        faults.required(&list, "must have at least one node selector term");
    }
    for (at, term) in terms.iter().enumerate() {
        node_term(&list.index(at), term, Values::Labels, faults);
    }
}

/// Whether values must be valid as labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    Any,
    Labels,
}

fn node_term(path: &Path<'_>, term: &Value, values: Values, faults: &mut Faults) {
    let expressions = path.child("matchExpressions");
    for (at, requirement) in term.items("matchExpressions").iter().enumerate() {
        node_requirement(&expressions.index(at), requirement, values, faults);
    }
    let fields = path.child("matchFields");
    for (at, requirement) in term.items("matchFields").iter().enumerate() {
        node_field(&fields.index(at), requirement, faults);
    }
}

fn node_requirement(path: &Path<'_>, requirement: &Value, rule: Values, faults: &mut Faults) {
    let (operator, values) = (requirement.text("operator"), requirement.items("values"));
    let values_path = path.child("values");
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let why = "must be specified when `operator` is 'In' or 'NotIn'";
            faults.required(&values_path, why);
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            faults.forbidden(&values_path, why);
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            faults.required(&values_path, why);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        _ => faults.invalid(&path.child("operator"), operator, BAD_OPERATOR),
    }
    names::check_qualified(&path.child("key"), requirement.text("key"), faults);
    if rule == Values::Labels {
        for (at, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            faults.invalid_all(&values_path.index(at), value, &names::label_value(value));
        }
    }
}

fn node_field(path: &Path<'_>, requirement: &Value, faults: &mut Faults) {
    let values = requirement.items("values");
    let values_path = path.child("values");
    match requirement.text("operator") {
        "In" | "NotIn" if values.len() != 1 => {
            let why =
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            faults.required(&values_path, why);
        }
        "In" | "NotIn" => {}
        operator => faults.invalid(&path.child("operator"), operator, BAD_OPERATOR),
    }
    let key = requirement.text("key");
    if key != "metadata.name" {
        faults.invalid(&path.child("key"), key, "not a valid field selector key");
        return;
    }
    for (at, value) in values.iter().enumerate() {
        names::check_subdomain(
            &values_path.index(at),
            value.as_str().unwrap_or_default(),
            faults,
        );
    }
}

fn pod_affinity(path: &Path<'_>, affinity: &Value, faults: &mut Faults) {
    let required = path.child(REQUIRED);
    for (at, term) in affinity.items(REQUIRED).iter().enumerate() {
        pod_term(&required.index(at), term, faults);
    }
    let preferred = path.child(PREFERRED);
    for (at, term) in affinity.items(PREFERRED).iter().enumerate() {
        let item = preferred.index(at);
        weight(&item, term, faults);
        pod_term(
            &item.child("podAffinityTerm"),
            &term["podAffinityTerm"],
            faults,
        );
    }
}

fn pod_term(path: &Path<'_>, term: &Value, faults: &mut Faults) {
    for field in ["labelSelector", "namespaceSelector"] {
        selector::label_selector(&path.child(field), &term[field], faults);
    }
    for namespace in term.items("namespaces").iter().filter_map(Value::as_str) {
        names::check_label(&path.child("namespace"), namespace, faults);
    }
    match_keys(path, term, faults);
    let key = term.text("topologyKey");
    if key.is_empty() {
        faults.required(&path.child("topologyKey"), "can not be empty");
    }
    names::check_qualified(&path.child("topologyKey"), key, faults);
}

fn match_keys(path: &Path<'_>, term: &Value, faults: &mut Faults) {
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        let list = path.child(field);
        let keys = term.items(field);
        if !keys.is_empty() && !term.has("labelSelector") {
            faults.forbidden(&list, "must not be specified when labelSelector is not set");
            continue;
        }
        for (at, key) in keys.iter().enumerate() {
            names::check_qualified(&list.index(at), key.as_str().unwrap_or_default(), faults);
        }
    }
    let list = path.child("matchLabelKeys");
    for (at, key) in term.items("matchLabelKeys").iter().enumerate() {
        if term.items("mismatchLabelKeys").contains(key) {
            let why = "exists in both matchLabelKeys and mismatchLabelKeys";
            faults.invalid(&list.index(at), key.as_str().unwrap_or_default(), why);
        }
    }
}

/// `tolerations`.
pub(super) fn tolerations(path: &Path<'_>, tolerations: &[Value], faults: &mut Faults) {
    for (at, toleration) in tolerations.iter().enumerate() {
        let path = path.index(at);
        let (key, operator) = (toleration.text("key"), toleration.text("operator"));
        let (value, effect) = (toleration.text("value"), toleration.text("effect"));
        let operator_path = path.child("operator");
        if !key.is_empty() {
            names::check_qualified(&path.child("key"), key, faults);
        } else if operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values \
                       and all keys\"";
            faults.invalid(&operator_path, operator, why);
        }
        if toleration.has("tolerationSeconds") && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            faults.invalid(&path.child("effect"), effect, why);
        }
        match operator {
            "Equal" | "" => {
                let texts = names::label_value(value);
                if !texts.is_empty() {
                    faults.invalid(&operator_path, value, &texts.join(";"));
                }
            }
            "Exists" if !value.is_empty() => {
                let shown = Shown::go(golang::toleration(toleration));
                let why = "value must be empty when `operator` is 'Exists'";
                faults.invalid(&operator_path, shown, why);
            }
            "Exists" => {}
            _ => faults.not_supported(&operator_path, operator, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            faults.one_of(&path.child("effect"), effect, &EFFECTS);
        }
    }
}

/// Taints of a node.
pub(super) fn taints(path: &Path<'_>, taints: &[Value], faults: &mut Faults) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (at, taint) in taints.iter().enumerate() {
        let path = path.index(at);
        let (key, value, effect) = (taint.text("key"), taint.text("value"), taint.text("effect"));
        names::check_qualified(&path.child("key"), key, faults);
        let texts = names::label_value(value);
        if !texts.is_empty() {
            faults.invalid(&path.child("value"), value, &texts.join(";"));
        }
        faults.required_one_of(&path.child("effect"), effect, &EFFECTS);
        if seen.contains(&(key, effect)) {
            let shown = Shown::go(golang::taint(taint));
            let why = "taints must be unique by key and effect pair";
            faults.duplicate_why(&path, shown, why);
        }
        seen.push((key, effect));
    }
}
