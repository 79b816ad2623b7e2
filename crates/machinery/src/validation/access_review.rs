//! What access reviews ask about (upstream's `pkg/apis/authorization/validation`).

use serde_json::Value;

use super::error_list::{ErrorList, GoValue, Path};
use super::selector::{self, UnknownOperators};
use crate::{go_text::quote, json_fields::ReadFields};

/// Validates the spec of a SubjectAccessReview, or of a LocalSubjectAccessReview (upstream's
/// `ValidateSubjectAccessReviewSpec`).
pub(super) fn of_subject(spec: &Value, errors: &mut ErrorList) {
    let path = Path::root("spec");
    one_of_two(&path, spec, errors);
    if spec.text("user").is_empty() && spec.items("groups").is_empty() {
        let why = "at least one of user or group must be specified";
        errors.invalid(&path.child("user"), "", why);
    }
    selectors(&path, spec, errors);
}

/// Validates the spec of a SelfSubjectAccessReview (upstream's
/// `ValidateSelfSubjectAccessReviewSpec`).
pub(super) fn of_oneself(spec: &Value, errors: &mut ErrorList) {
    let path = Path::root("spec");
    one_of_two(&path, spec, errors);
    selectors(&path, spec, errors);
}

/// Validates that a LocalSubjectAccessReview is about its own namespace: who may create it there
/// may know nothing about others (upstream's `ValidateLocalSubjectAccessReview`).
pub(super) fn in_namespace(namespace: &str, spec: &Value, errors: &mut ErrorList) {
    let path = Path::root("spec");
    if let Some(attributes) = spec.field("resourceAttributes") {
        let asked = attributes.text("namespace");
        if asked != namespace {
            let path = path.child("resourceAttributes");
            let why = "must match metadata.namespace";
            errors.invalid(&path.child("namespace"), asked, why);
        }
    }
    if let Some(attributes) = spec.field("nonResourceAttributes") {
        let why = "disallowed on this kind of request";
        let path = path.child("nonResourceAttributes");
        errors.invalid(&path, shown(attributes), why);
    }
}

fn one_of_two(path: &Path<'_>, spec: &Value, errors: &mut ErrorList) {
    let other = spec.field("nonResourceAttributes");
    match (spec.field("resourceAttributes"), other) {
        (Some(_), Some(other)) => errors.invalid(
            &path.child("nonResourceAttributes"),
            shown(other),
            "cannot be specified in combination with resourceAttributes",
        ),
        (None, None) => errors.invalid(
            &path.child("resourceAttributes"),
            GoValue::formatted("null"),
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        _ => {}
    }
}

/// Attributes as `authorization.NonResourceAttributes{...}`.
fn shown(attributes: &Value) -> GoValue {
    let [path, verb] = ["path", "verb"].map(|field| quote(attributes.text(field)));
    let text = format!("authorization.NonResourceAttributes{{Path:{path}, Verb:{verb}}}");
    GoValue::formatted(text)
}

/// Validates the selectors (upstream's `validateResourceAttributes`). Operators may be those of a
/// later version: they are ignored, which asks about more.
fn selectors(path: &Path<'_>, spec: &Value, errors: &mut ErrorList) {
    let Some(attributes) = spec.field("resourceAttributes") else {
        return;
    };
    let path = path.child("resourceAttributes");
    if let Some(selector) = attributes.field("fieldSelector") {
        let path = path.child("fieldSelector");
        raw_or_parsed(&path, selector, errors);
        for (at, requirement) in selector.items("requirements").iter().enumerate() {
            let list = path.child("requirements");
            field_requirement(&list.index(at), requirement, errors);
        }
    }
    if let Some(selector) = attributes.field("labelSelector") {
        let path = path.child("labelSelector");
        raw_or_parsed(&path, selector, errors);
        for (at, requirement) in selector.items("requirements").iter().enumerate() {
            let list = path.child("requirements");
            let unknown = UnknownOperators::Allowed;
            selector::requirement(&list.index(at), requirement, unknown, errors);
        }
    }
}

fn raw_or_parsed(path: &Path<'_>, selector: &Value, errors: &mut ErrorList) {
    let raw = selector.text("rawSelector");
    match (raw.is_empty(), selector.items("requirements").is_empty()) {
        (false, false) => errors.invalid(
            &path.child("rawSelector"),
            raw,
            "may not specified at the same time as requirements",
        ),
        (true, true) => errors.required(
            &path.child("requirements"),
            &format!("when {path} is specified, requirements or rawSelector is required"),
        ),
        _ => {}
    }
}

/// Upstream's `ValidateFieldSelectorRequirement`.
fn field_requirement(path: &Path<'_>, requirement: &Value, errors: &mut ErrorList) {
    if requirement.text("key").is_empty() {
        errors.required(&path.child("key"), "must be specified");
    }
    selector::operator(path, requirement, UnknownOperators::Allowed, errors);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(check: impl FnOnce(&mut ErrorList)) -> Vec<String> {
        let mut errors = ErrorList::default();
        check(&mut errors);
        let errors = errors.into_vec();
        errors.iter().map(ToString::to_string).collect()
    }

    /// The errors of a review with this selector, without the path of the selector.
    fn of_selector(name: &str, selector: &Value) -> Vec<String> {
        let spec = json!({"resourceAttributes": {"verb": "list", name: selector}});
        let path = format!("spec.resourceAttributes.{name}");
        let of = texts(|errors| of_oneself(&spec, errors));
        let short = of.iter().map(|text| text.replace(&path, "*"));
        short.collect()
    }

    #[test]
    fn a_selector_is_a_text_or_requirements() {
        let one = json!([{"key": "a", "operator": "Exists"}]);
        let both = "*.rawSelector: Invalid value: \"a=b\": may not specified at the same time as requirements";
        let none = "*.requirements: Required value: when * is specified, requirements or rawSelector is required";
        for name in ["fieldSelector", "labelSelector"] {
            let errors = |selector: Value| of_selector(name, &selector);
            assert_eq!(errors(Value::Null), [""; 0]);
            assert_eq!(errors(json!({"rawSelector": "a=b"})), [""; 0]);
            assert_eq!(errors(json!({"requirements": one})), [""; 0]);
            assert_eq!(
                errors(json!({"rawSelector": "a=b", "requirements": one})),
                [both]
            );
            assert_eq!(errors(json!({})), [none]);
            assert_eq!(
                errors(json!({"rawSelector": "", "requirements": []})),
                [none]
            );
        }
    }

    #[test]
    fn requirements_have_the_values_that_their_operator_takes() {
        let (required, forbidden) = (
            "values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            "values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        );
        for (operator, values, expected) in [
            ("In", json!([]), Some(required)),
            ("NotIn", Value::Null, Some(required)),
            ("In", json!(["a", "b"]), None),
            ("Exists", json!(["a"]), Some(forbidden)),
            ("DoesNotExist", json!(["a"]), Some(forbidden)),
            ("DoesNotExist", json!([]), None),
            ("GreaterThan", json!(["1"]), None),
            ("", json!([]), None),
        ] {
            let good = json!({"key": "k", "operator": "Exists"});
            let one = json!({"key": "k", "operator": operator, "values": values});
            let selector = json!({"requirements": [good, one]});
            let expected = expected.map(|text| format!("*.requirements[1].{text}"));
            let expected: Vec<String> = expected.into_iter().collect();
            for name in ["fieldSelector", "labelSelector"] {
                assert_eq!(of_selector(name, &selector), expected, "{name} {one}");
            }
        }
    }

    #[test]
    fn keys_and_values_of_labels_are_those_that_labels_can_have() {
        let selector = json!({"requirements": [{"key": "", "operator": "Exists"}]});
        let errors = of_selector("fieldSelector", &selector);
        assert_eq!(
            errors,
            ["*.requirements[0].key: Required value: must be specified"]
        );
        let errors = of_selector("labelSelector", &selector);
        let begin = "*.requirements[0].key: Invalid value: \"\": name part must be non-empty";
        assert_eq!(errors[0], begin);
        let selector =
            json!({"requirements": [{"key": "a b", "operator": "In", "values": ["c d"]}]});
        assert_eq!(of_selector("fieldSelector", &selector), [""; 0]);
        let errors = of_selector("labelSelector", &selector);
        let begin = [
            "key: Invalid value: \"a b\"",
            "values[0]: Invalid value: \"c d\"",
        ];
        assert_eq!(errors.len(), 2, "{errors:?}");
        for (error, begin) in errors.iter().zip(begin) {
            assert!(
                error.starts_with(&format!("*.requirements[0].{begin}")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_review_is_about_a_resource_or_a_path_and_names_a_subject() {
        let resource = json!({"verb": "get"});
        let path = json!({"path": "/x", "verb": "get"});
        let shown = "authorization.NonResourceAttributes{Path:\"/x\", Verb:\"get\"}";
        let both = format!(
            "spec.nonResourceAttributes: Invalid value: {shown}: cannot be specified in combination with \
             resourceAttributes"
        );
        let none = "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or \
                    resourceAttributes must be specified";
        let subject =
            "spec.user: Invalid value: \"\": at least one of user or group must be specified";
        let spec = json!({"resourceAttributes": resource, "nonResourceAttributes": path});
        assert_eq!(texts(|errors| of_oneself(&spec, errors)), [both.as_str()]);
        assert_eq!(texts(|errors| of_subject(&spec, errors)), [&*both, subject]);
        assert_eq!(
            texts(|errors| of_subject(&json!({}), errors)),
            [none, subject]
        );
        for by in [json!({"user": "u"}), json!({"groups": ["g"]})] {
            let mut spec = by;
            spec["nonResourceAttributes"] = path.clone();
            assert_eq!(texts(|errors| of_subject(&spec, errors)), [""; 0]);
        }
        let spec = json!({"resourceAttributes": {"namespace": "b"}, "nonResourceAttributes": path});
        assert_eq!(
            texts(|errors| in_namespace("a", &spec, errors)),
            [
                "spec.resourceAttributes.namespace: Invalid value: \"b\": must match metadata.namespace".to_owned(),
                format!("spec.nonResourceAttributes: Invalid value: {shown}: disallowed on this kind of request"),
            ]
        );
    }
}
