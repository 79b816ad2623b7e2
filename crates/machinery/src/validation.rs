//! Validation of objects (`k8s.io/kubernetes/pkg/apis/*/validation`).
//!
//! Rules, their order and their texts are upstream's, because scripts match the texts. Values in
//! texts are printed as Go prints them.

mod access_review;
mod affinity;
pub(crate) mod certificate_signing_request;
mod container;
pub(crate) mod daemon_set;
mod env;
mod error_list;
pub(crate) mod event;
pub(crate) mod flow_control;
mod go_format;
pub(crate) mod meta;
mod mount;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod node;
mod os;
pub(crate) mod pod;
pub(crate) mod pod_status;
pub(crate) mod pod_update;
pub(crate) mod pod_warnings;
pub(crate) mod priority_class;
mod probe;
pub(crate) mod rbac;
mod resources;
mod security;
mod selector;
pub(crate) mod service;
pub(crate) mod service_update;
pub(crate) mod simple;
mod spread;
mod volume;

use serde_json::Value;

use crate::Kind;

pub use error_list::ErrorList;

use error_list::Path;

/// The type of a validation error (upstream's `field.ErrorType`), with the value as Go prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorType {
    /// `Required value`
    Required,
    /// `Invalid value: VALUE`
    Invalid(String),
    /// `Unsupported value: VALUE`
    NotSupported(String),
    /// `Duplicate value: VALUE`
    Duplicate(String),
    /// `Forbidden`
    Forbidden,
    /// `Too long`
    TooLong,
    /// `Too many: N`
    TooMany(String),
    /// `Not found: VALUE`
    NotFound(String),
    /// `Internal error`
    Internal,
    /// Stands for this many errors that are not listed: `and N more errors`.
    Omitted(usize),
}

impl ErrorType {
    /// The value as Go prints it, if the error shows one.
    fn value_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Invalid(value)
            | Self::NotSupported(value)
            | Self::Duplicate(value)
            | Self::TooMany(value)
            | Self::NotFound(value) => Some(value),
            Self::Required
            | Self::Forbidden
            | Self::TooLong
            | Self::Internal
            | Self::Omitted(_) => None,
        }
    }
}

/// A validation error (upstream's `field.Error`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The path of the field, such as `spec.template.spec.containers[0].image`.
    pub field: String,
    /// The type of the error, with the value at fault.
    pub error_type: ErrorType,
    /// The text after the value; may be empty.
    pub detail: String,
}

impl FieldError {
    /// An error of the field at this path.
    #[must_use]
    pub fn new(field: impl Into<String>, error_type: ErrorType, detail: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            error_type,
            detail: detail.into(),
        }
    }

    /// The reason in `details.causes` of a `Status`, such as `FieldValueInvalid`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.error_type {
            ErrorType::Required => "FieldValueRequired",
            ErrorType::Invalid(_) => "FieldValueInvalid",
            ErrorType::NotSupported(_) => "FieldValueNotSupported",
            ErrorType::Duplicate(_) => "FieldValueDuplicate",
            ErrorType::Forbidden => "FieldValueForbidden",
            ErrorType::TooLong => "FieldValueTooLong",
            ErrorType::TooMany(_) => "FieldValueTooMany",
            ErrorType::NotFound(_) => "FieldValueNotFound",
            ErrorType::Internal => "InternalError",
            ErrorType::Omitted(_) => "",
        }
    }

    /// The message in `details.causes` of a `Status`: the text without the field.
    #[must_use]
    pub fn detail_text(&self) -> String {
        let text = match &self.error_type {
            ErrorType::Required => "Required value".to_owned(),
            ErrorType::Invalid(value) => format!("Invalid value: {value}"),
            ErrorType::NotSupported(value) => format!("Unsupported value: {value}"),
            ErrorType::Duplicate(value) => format!("Duplicate value: {value}"),
            ErrorType::Forbidden => "Forbidden".to_owned(),
            ErrorType::TooLong => "Too long".to_owned(),
            ErrorType::TooMany(value) => format!("Too many: {value}"),
            ErrorType::NotFound(value) => format!("Not found: {value}"),
            ErrorType::Internal => "Internal error".to_owned(),
            ErrorType::Omitted(count) => format!("and {count} more errors"),
        };
        if self.detail.is_empty() {
            text
        } else {
            format!("{text}: {}", self.detail)
        }
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let ErrorType::Omitted(_) = self.error_type {
            return f.write_str(&self.detail_text());
        }
        write!(f, "{}: {}", self.field, self.detail_text())
    }
}

/// Validates a new object, after defaulting (upstream's strategy `Validate`).
#[must_use]
pub fn validate_create(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = ErrorList::default();
    kind.strategy.validate(kind, object, &mut errors);
    if errors.is_empty() {
        meta::validate_common(kind.is_namespaced(), object, &mut errors);
    }
    errors.into_vec()
}

/// Validates a changed object, after defaulting (upstream's strategy `ValidateUpdate`).
/// `subresource` is empty for the object itself.
#[must_use]
pub fn validate_update(
    kind: &Kind,
    subresource: &str,
    old: &Value,
    new: &Value,
) -> Vec<FieldError> {
    let mut errors = ErrorList::default();
    // Upstream validates the metadata for every kind, and most kinds do it again.
    meta::validate_common(kind.is_namespaced(), new, &mut errors);
    meta::validate_update(old, new, &mut errors);
    let strategy = &kind.strategy;
    if subresource == "status" {
        meta::validate_update(old, new, &mut errors);
        strategy.validate_status_update(old, new, &mut errors);
    } else {
        strategy.validate_update(kind, subresource, old, new, &mut errors);
    }
    errors.into_vec()
}

/// Validates a review of the group `authorization.k8s.io` that was sent to this namespace.
#[must_use]
pub fn validate_access_review(kind: &Kind, namespace: &str, review: &Value) -> Vec<FieldError> {
    let (spec, mut errors) = (&review["spec"], ErrorList::default());
    match kind.kind.as_str() {
        "SelfSubjectAccessReview" => access_review::of_oneself(spec, &mut errors),
        "SubjectAccessReview" => access_review::of_subject(spec, &mut errors),
        "LocalSubjectAccessReview" => {
            access_review::of_subject(spec, &mut errors);
            access_review::in_namespace(namespace, spec, &mut errors);
        }
        _ => {}
    }
    errors.into_vec()
}

/// Validates the body of a request to `pods/NAME/binding` (upstream's `ValidatePodBinding`).
#[must_use]
pub fn validate_binding(binding: &Value) -> Vec<FieldError> {
    use crate::json_fields::ReadFields;
    let mut errors = ErrorList::default();
    let target = Path::root("target");
    let kind = binding["target"].text("kind");
    if !matches!(kind, "" | "Node") {
        errors.not_supported(&target.child("kind"), kind, &["Node", "<empty>"]);
    }
    if binding["target"].text("name").is_empty() {
        errors.required(&target.child("name"), "");
    }
    errors.into_vec()
}

#[cfg(test)]
mod tests;
