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
        requirement(&expressions.index(at), expression, errors);
    }
}

fn requirement(path: &Path<'_>, expression: &Value, errors: &mut ErrorList) {
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
        _ => errors.invalid(
            &path.child("operator"),
            operator,
            "not a valid selector operator",
        ),
    }
    names::check_qualified(&path.child("key"), expression.text("key"), errors);
    for (at, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        errors.invalid_all(
            &path.child("values").index(at),
            value,
            &names::label_value(value),
        );
    }
}
