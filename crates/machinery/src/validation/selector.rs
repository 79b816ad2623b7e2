//! Label selectors (upstream's `k8s.io/apimachinery/pkg/apis/meta/v1/validation`).

use serde_json::Value;

use super::error_list::{ErrorList, Path};
use super::{meta, names};
use crate::json_fields::ReadFields;

/// Validates a label selector (upstream's `ValidateLabelSelector`).
pub(super) fn label_selector(path: &Path<'_>, selector: &Value, errors: &mut ErrorList) {
    meta::labels(&path.child("matchLabels"), &selector["matchLabels"], errors);
    let expressions = path.child("matchExpressions");
    for (at, expression) in selector.items("matchExpressions").iter().enumerate() {
        let path = expressions.index(at);
        requirement(&path, expression, UnknownOperators::Refused, errors);
    }
}

/// Whether a requirement may have an operator that this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnknownOperators {
    Allowed,
    Refused,
}

/// Validates a requirement on labels (upstream's `ValidateLabelSelectorRequirement`).
pub(super) fn requirement(
    path: &Path<'_>,
    expression: &Value,
    unknown: UnknownOperators,
    errors: &mut ErrorList,
) {
    operator(path, expression, unknown, errors);
    names::check_qualified(&path.child("key"), expression.text("key"), errors);
    for (at, value) in expression.items("values").iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        errors.invalid_all(
            &path.child("values").index(at),
            value,
            &names::label_value(value),
        );
    }
}

/// Validates that a requirement has the values that its operator takes.
pub(super) fn operator(
    path: &Path<'_>,
    expression: &Value,
    unknown: UnknownOperators,
    errors: &mut ErrorList,
) {
    let (operator, values) = (expression.text("operator"), expression.items("values"));
    match operator {
        "In" | "NotIn" if values.is_empty() => errors.required(
            &path.child("values"),
            "must be specified when `operator` is 'In' or 'NotIn'",
        ),
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.forbidden(
            &path.child("values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ if unknown == UnknownOperators::Allowed => {}
        _ => errors.invalid(
            &path.child("operator"),
            operator,
            "not a valid selector operator",
        ),
    }
}
