//! `rbac.authorization.k8s.io` (upstream's `pkg/apis/rbac/validation`).

use serde_json::Value;

use super::error_list::{ErrorList, GoValue, Path};
use super::{go_format, names, selector};
use crate::json_fields::ReadFields;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Validates the rules of a role.
pub(crate) fn rules(namespaced: bool, role: &Value, errors: &mut ErrorList) {
    let path = Path::root("rules");
    for (at, rule) in role.items("rules").iter().enumerate() {
        policy_rule(&path.index(at), namespaced, rule, errors);
    }
}

/// Validates a rule (upstream's `ValidatePolicyRule`).
fn policy_rule(path: &Path<'_>, namespaced: bool, rule: &Value, errors: &mut ErrorList) {
    let has = |field: &str| !rule.items(field).is_empty();
    if !has("verbs") {
        let why = "verbs must contain at least one value";
        errors.required(&path.child("verbs"), why);
    }
    if has("nonResourceURLs") {
        let field = path.child("nonResourceURLs");
        let mut invalid = |why: &str| {
            let shown = go_format::strings(&rule["nonResourceURLs"]);
            errors.invalid(&field, GoValue::formatted(shown), why);
        };
        if namespaced {
            invalid("namespaced rules cannot apply to non-resource URLs");
        }
        if has("apiGroups") || has("resources") || has("resourceNames") {
            invalid("rules cannot apply to both regular resources and non-resource URLs");
        }
        return;
    }
    if !has("apiGroups") {
        let why = "resource rules must supply at least one api group";
        errors.required(&path.child("apiGroups"), why);
    }
    if !has("resources") {
        let why = "resource rules must supply at least one resource";
        errors.required(&path.child("resources"), why);
    }
}

/// Validates how the rules of a ClusterRole are aggregated from others.
pub(crate) fn aggregation_rule(role: &Value, errors: &mut ErrorList) {
    let Some(rule) = role.field("aggregationRule") else {
        return;
    };
    let root = Path::root("aggregationRule");
    let path = root.child("clusterRoleSelectors");
    let selectors = rule.items("clusterRoleSelectors");
    if selectors.is_empty() {
        let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.required(&path, why);
    }
    for (at, selector) in selectors.iter().enumerate() {
        let (path, before) = (path.index(at), errors.len());
        selector::label_selector(&path, selector, errors);
        if errors.len() > before {
            // Upstream shows the selector that could not be made.
            errors.invalid(&path, "null", "invalid label selector.");
        }
    }
}

/// Validates the role of a binding; `kinds` are those that it may refer to.
pub(crate) fn role_ref(kinds: &[&str], binding: &Value, errors: &mut ErrorList) {
    let (path, role) = (Path::root("roleRef"), &binding["roleRef"]);
    errors.one_of(&path.child("apiGroup"), role.text("apiGroup"), &[GROUP]);
    errors.one_of(&path.child("kind"), role.text("kind"), kinds);
    let (path, name) = (path.child("name"), role.text("name"));
    if name.is_empty() {
        errors.required(&path, "");
    } else {
        errors.invalid_all(&path, name, &names::path_segment(name));
    }
}

/// Validates that a binding refers to the role that it referred to before.
pub(crate) fn unchanged_role_ref(old: &Value, new: &Value, errors: &mut ErrorList) {
    let (old, new) = (&old["roleRef"], &new["roleRef"]);
    let fields = ["apiGroup", "kind", "name"];
    if fields
        .iter()
        .any(|field| old.text(field) != new.text(field))
    {
        let shown = GoValue::formatted(go_format::role_ref(new));
        errors.invalid(&Path::root("roleRef"), shown, "cannot change roleRef");
    }
}

/// Validates the subjects of a binding.
pub(crate) fn subjects(namespaced: bool, binding: &Value, errors: &mut ErrorList) {
    let path = Path::root("subjects");
    for (at, of_binding) in binding.items("subjects").iter().enumerate() {
        subject(&path.index(at), namespaced, of_binding, errors);
    }
}

fn subject(path: &Path<'_>, namespaced: bool, subject: &Value, errors: &mut ErrorList) {
    let (name, group) = (subject.text("name"), subject.text("apiGroup"));
    let (name_path, group_path) = (path.child("name"), path.child("apiGroup"));
    if name.is_empty() {
        errors.required(&name_path, "");
    }
    match subject.text("kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                names::check_subdomain(&name_path, name, errors);
            }
            errors.one_of(&group_path, group, &[""]);
            if !namespaced && subject.text("namespace").is_empty() {
                errors.required(&path.child("namespace"), "");
            }
        }
        kind @ ("User" | "Group") => {
            if name.is_empty() {
                let why = format!("{} name cannot be empty", kind.to_lowercase());
                errors.invalid(&name_path, name, &why);
            }
            errors.one_of(&group_path, group, &[GROUP]);
        }
        other => {
            let known = ["ServiceAccount", "User", "Group"];
            errors.not_supported(&path.child("kind"), other, &known);
        }
    }
}
