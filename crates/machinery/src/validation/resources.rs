//! Resource requirements: names, amounts, and requests within limits.

use std::collections::BTreeSet;

use pandaemon_types::Quantity;
use pandaemon_types::quantity::Format;
use serde_json::Value;

use super::error_list::{ErrorList, GoValue, Path};
use super::names;
use crate::json_fields::ReadFields;

/// Resource names without a domain.
const STANDARD: [&str; 20] = [
    "configmaps",
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
    "storage",
];

/// Resources whose amount is a count of objects.
const COUNTS: [&str; 9] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

/// Validates `resources` of a container (upstream's `ValidateResourceRequirements`).
pub(super) fn requirements(
    path: &Path<'_>,
    requirements: &Value,
    pod_claims: &[Value],
    errors: &mut ErrorList,
) {
    let (limits, requests) = (path.child("limits"), path.child("requests"));
    list(&limits, &requirements["limits"], errors);
    for (name, amount) in requirements.entries("requests").into_iter().flatten() {
        one(&requests.key(name), name, amount, errors);
        let limit = &requirements["limits"][name.as_str()];
        compare(&requests, &limits, name, amount, limit, errors);
        huge_pages(&requests.key(name), name, amount, errors);
    }
    let all = || {
        ["limits", "requests"]
            .iter()
            .flat_map(|list| requirements.entries(list).into_iter().flatten())
            .map(|(name, _)| name.as_str())
    };
    if all().any(is_huge_page) && !all().any(|name| matches!(name, "cpu" | "memory")) {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
    claims(
        &path.child("claims"),
        requirements.items("claims"),
        pod_claims,
        errors,
    );
}

/// Validates a list of resources and amounts.
pub(super) fn list(path: &Path<'_>, list: &Value, errors: &mut ErrorList) {
    for (name, amount) in list.as_object().into_iter().flatten() {
        one(&path.key(name), name, amount, errors);
        huge_pages(&path.key(name), name, amount, errors);
    }
}

fn one(path: &Path<'_>, name: &str, amount: &Value, errors: &mut ErrorList) {
    container_resource_name(path, name, errors);
    value(path, name, amount, errors);
}

/// Validates the amount of a resource of a container or node (upstream's
/// `ValidateResourceQuantityValue`).
pub(super) fn value(path: &Path<'_>, name: &str, amount: &Value, errors: &mut ErrorList) {
    let Ok(quantity) = Quantity::from_json(amount) else {
        return;
    };
    if quantity.is_negative() {
        errors.invalid(
            path,
            &quantity.to_string(),
            "must be greater than or equal to 0",
        );
    }
    let counts = COUNTS.contains(&name) || is_extended(name);
    if counts && quantity.millis() % 1000 != 0 {
        errors.invalid(
            path,
            GoValue::formatted(go_quantity(quantity)),
            "must be an integer",
        );
    }
}

/// A quantity as Go's `%#v` prints it.
fn go_quantity(quantity: Quantity) -> String {
    let format = match quantity.format() {
        Format::BinarySi => "BinarySI",
        Format::DecimalSi => "DecimalSI",
        Format::DecimalExponent => "DecimalExponent",
    };
    format!(
        "resource.Quantity{{i:resource.int64Amount{{value:{}, scale:-3}}, \
         d:resource.infDecAmount{{Dec:(*inf.Dec)(nil)}}, s:\"{quantity}\", Format:\"{format}\"}}",
        quantity.millis()
    )
}

fn container_resource_name(path: &Path<'_>, name: &str, errors: &mut ErrorList) {
    let before = errors.len();
    names::check_qualified(path, name, errors);
    let known = is_huge_page(name);
    if !name.contains('/') {
        if errors.len() == before && !STANDARD.contains(&name) && !known {
            let why = "must be a standard resource type or fully qualified";
            errors.invalid(path, name, why);
        }
        if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !known {
            errors.invalid(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(path, name, "doesn't follow extended resource name standard");
    }
}

fn compare(
    requests: &Path<'_>,
    limits: &Path<'_>,
    name: &str,
    amount: &Value,
    limit: &Value,
    errors: &mut ErrorList,
) {
    if limit.is_null() {
        if !may_overcommit(name) {
            errors.required(limits, "Limit must be set for non overcommitable resources");
        }
        return;
    }
    let (Ok(amount), Ok(limit)) = (Quantity::from_json(amount), Quantity::from_json(limit)) else {
        return;
    };
    if amount != limit && !may_overcommit(name) {
        let why = format!("must be equal to {name} limit of {limit}");
        errors.invalid(requests, &amount.to_string(), &why);
    } else if amount > limit {
        let why = format!("must be less than or equal to {name} limit of {limit}");
        errors.invalid(requests, &amount.to_string(), &why);
    }
}

fn huge_pages(path: &Path<'_>, name: &str, amount: &Value, errors: &mut ErrorList) {
    let Some(size) = name.strip_prefix("hugepages-") else {
        return;
    };
    let (Ok(amount), Ok(size)) = (Quantity::from_json(amount), size.parse::<Quantity>()) else {
        return;
    };
    let (bytes, page) = (amount.units(), size.units());
    if bytes < 0 || page <= 0 || bytes % page != 0 {
        let why = format!("{amount} is not positive integer multiple of {name}");
        errors.invalid(path, &amount.to_string(), &why);
    }
}

fn claims(path: &Path<'_>, claims: &[Value], pod_claims: &[Value], errors: &mut ErrorList) {
    let known: BTreeSet<&str> = pod_claims.iter().map(|claim| claim.text("name")).collect();
    let mut seen = BTreeSet::new();
    for (at, claim) in claims.iter().enumerate() {
        let name = claim.text("name");
        if name.is_empty() {
            errors.required(&path.index(at), "");
        } else if !seen.insert((name, claim.text("request"))) {
            errors.duplicate(&path.index(at), name);
        }
        if !name.is_empty() && !known.contains(name) {
            errors.not_found(&path.index(at), name);
        }
    }
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified(&format!("requests.{name}")).is_empty()
}

fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}
