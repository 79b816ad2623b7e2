//! Validation of objects (`k8s.io/kubernetes/pkg/apis/*/validation`).
//!
//! Rules, their order and their texts are upstream's, because scripts match the texts. Values in
//! texts are printed as Go prints them.

mod affinity;
mod container;
mod daemon_set;
mod env;
mod error_list;
mod event;
mod go_format;
mod meta;
mod mount;
mod names;
mod network;
mod node;
mod os;
mod pod;
mod pod_status;
mod pod_update;
mod priority_class;
mod probe;
mod resources;
mod security;
mod selector;
mod service;
mod service_update;
mod simple;
mod spread;
mod volume;

use serde_json::Value;

use crate::Kind;

use error_list::{ErrorList, Path};

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
        write!(f, "{}: {}", self.field, self.detail_text())
    }
}

/// Validates a new object, after defaulting (upstream's strategy `Validate`).
#[must_use]
pub fn validate_create(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = ErrorList::default();
    let group_kind = (kind.group, kind.kind);
    if !matches!(group_kind, ("" | "events.k8s.io", "Event")) {
        meta::validate(kind, object, &mut errors);
    }
    match group_kind {
        ("", "Pod") => pod::create(object, &mut errors),
        ("apps", "DaemonSet") => daemon_set::validate(object, &mut errors),
        ("" | "events.k8s.io", "Event") => event::create(kind, object, &mut errors),
        ("", "Service") => service::validate(object, &mut errors),
        _ => content(kind, object, &mut errors),
    }
    if errors.is_empty() {
        meta::validate_common(kind, object, &mut errors);
    }
    errors.into_vec()
}

/// Validates kinds whose rules are the same for new and changed objects.
fn content(kind: &Kind, object: &Value, errors: &mut ErrorList) {
    match (kind.group, kind.kind) {
        ("", "Namespace") => simple::namespace(object, errors),
        ("", "ConfigMap") => simple::config_map(object, errors),
        ("", "Secret") => simple::secret(object, errors),
        ("", "Node") => node::validate(object, errors),
        ("", "Endpoints") => network::endpoints(object, errors),
        ("apps", "ControllerRevision") => simple::revision(object, errors),
        ("coordination.k8s.io", "Lease") => simple::lease(object, errors),
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice(object, errors),
        ("scheduling.k8s.io", "PriorityClass") => priority_class::validate(object, errors),
        _ => {}
    }
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
    meta::validate_common(kind, new, &mut errors);
    meta::validate_update(old, new, &mut errors);
    if subresource == "status" {
        status_update(kind, old, new, &mut errors);
        return errors.into_vec();
    }
    match (kind.group, kind.kind) {
        ("", "Pod") => pod_update::validate(kind, subresource, old, new, &mut errors),
        ("apps", "DaemonSet") => daemon_set::update(kind, old, new, &mut errors),
        ("" | "events.k8s.io", "Event") => event::update(kind, old, new, &mut errors),
        ("", "Service") => {
            meta::validate_update(old, new, &mut errors);
            service_update::validate(old, new, &mut errors);
            meta::validate(kind, new, &mut errors);
            service::validate(new, &mut errors);
        }
        ("", "Namespace") => {
            meta::validate(kind, new, &mut errors);
            simple::namespace(new, &mut errors);
            meta::validate_update(old, new, &mut errors);
        }
        ("", "Node") => {
            meta::validate(kind, new, &mut errors);
            node::validate(new, &mut errors);
            meta::validate_update(old, new, &mut errors);
            node::update(old, new, &mut errors);
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            meta::validate_update(old, new, &mut errors);
            priority_class::update(old, new, &mut errors);
        }
        ("coordination.k8s.io", "Lease") => {
            meta::validate_update(old, new, &mut errors);
            simple::lease(new, &mut errors);
        }
        _ => {
            meta::validate_update(old, new, &mut errors);
            simple::immutable(kind, old, new, &mut errors);
            meta::validate(kind, new, &mut errors);
            content(kind, new, &mut errors);
        }
    }
    errors.into_vec()
}

fn status_update(kind: &Kind, old: &Value, new: &Value, errors: &mut ErrorList) {
    meta::validate_update(old, new, errors);
    match (kind.group, kind.kind) {
        ("", "Pod") => pod_status::update(old, new, errors),
        ("apps", "DaemonSet") => daemon_set::status(old, new, errors),
        ("", "Service") => service_update::status(new, errors),
        ("", "Node") => node::update(old, new, errors),
        ("", "Namespace") => simple::namespace_status(new, errors),
        _ => {}
    }
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
