//! Label selectors, as `k8s.io/apimachinery/pkg/apis/meta/v1/validation`.

use serde_json::Value;

use super::faults::{Faults, Path};
use super::{meta, names};
use crate::access::Access;

/// A selector of pods by labels.
pub(super) fn label_selector(path: &Path<'_>, selector: &Value, faults: &mut Faults) {
    meta::labels(&path.child("matchLabels"), &selector["matchLabels"], faults);
    let expressions = path.child("matchExpressions");
    for (at, expression) in selector.items("matchExpressions").iter().enumerate() {
        requirement(&expressions.index(at), expression, faults);
    }
}

fn requirement(path: &Path<'_>, expression: &Value, faults: &mut Faults) {
    let (operator, values) = (expression.text("operator"), expression.items("values"));
    match operator {
        "In" | "NotIn" if values.is_empty() => faults.required(
            &path.child("values"),
            "must be specified when `operator` is 'In' or 'NotIn'",
        ),
        "Exists" | "DoesNotExist" if !values.is_empty() => faults.forbidden(
            &path.child("values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => faults.invalid(
            &path.child("operator"),
            operator,
            "not a valid selector operator",
        ),
    }
    names::check_qualified(&path.child("key"), expression.text("key"), faults);
    for (at, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        faults.invalid_all(
            &path.child("values").index(at),
            value,
            &names::label_value(value),
        );
    }
}
