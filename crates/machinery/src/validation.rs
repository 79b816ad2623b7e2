//! Validation, with upstream's texts (`k8s.io/apimachinery/pkg/util/validation/field`).
//!
//! The rules follow `k8s.io/kubernetes/pkg/apis/*/validation` rule by rule and in the same order, for
//! people read the texts and scripts match them. Values are shown as Go prints them.

mod affinity;
mod container;
mod daemon_set;
mod env;
mod event;
mod faults;
mod golang;
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

pub(crate) use golang::quote;

use faults::{Faults, Path};

/// What is wrong with a field.
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

/// One fault of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// `spec.template.spec.containers[0].image`
    pub field: String,
    /// What is wrong.
    pub what: ErrorType,
    /// The explanation after the value; may be empty.
    pub detail: String,
}

impl FieldError {
    /// `FieldValueInvalid` and so on.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.what {
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

    /// The text without the field, as `details.causes[].message` has it.
    #[must_use]
    pub fn detail_text(&self) -> String {
        let what = match &self.what {
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
            what
        } else {
            format!("{what}: {}", self.detail)
        }
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.detail_text())
    }
}

/// Validates a new object (defaults already filled in).
#[must_use]
pub fn validate_create(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let mut faults = Faults::default();
    let group_kind = (kind.group, kind.kind);
    if !matches!(group_kind, ("" | "events.k8s.io", "Event")) {
        meta::validate(kind, object, &mut faults);
    }
    match group_kind {
        ("", "Pod") => pod::create(object, &mut faults),
        ("apps", "DaemonSet") => daemon_set::validate(object, &mut faults),
        ("" | "events.k8s.io", "Event") => event::create(kind, object, &mut faults),
        ("", "Service") => service::validate(object, &mut faults),
        _ => content(kind, object, &mut faults),
    }
    if faults.is_empty() {
        meta::validate_common(kind, object, &mut faults);
    }
    faults.into_vec()
}

/// The rules that hold for new and changed objects alike, of the kinds with no others.
fn content(kind: &Kind, object: &Value, faults: &mut Faults) {
    match (kind.group, kind.kind) {
        ("", "Namespace") => simple::namespace(object, faults),
        ("", "ConfigMap") => simple::config_map(object, faults),
        ("", "Secret") => simple::secret(object, faults),
        ("", "Node") => node::validate(object, faults),
        ("", "Endpoints") => network::endpoints(object, faults),
        ("apps", "ControllerRevision") => simple::revision(object, faults),
        ("coordination.k8s.io", "Lease") => simple::lease(object, faults),
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice(object, faults),
        ("scheduling.k8s.io", "PriorityClass") => priority_class::validate(object, faults),
        _ => {}
    }
}

/// Validates a change; `subresource` is empty for the object itself.
#[must_use]
pub fn validate_update(
    kind: &Kind,
    subresource: &str,
    old: &Value,
    new: &Value,
) -> Vec<FieldError> {
    let mut faults = Faults::default();
    // Upstream validates the metadata for every kind, and most kinds do it again.
    meta::validate_common(kind, new, &mut faults);
    meta::validate_update(old, new, &mut faults);
    if subresource == "status" {
        status_update(kind, old, new, &mut faults);
        return faults.into_vec();
    }
    match (kind.group, kind.kind) {
        ("", "Pod") => pod_update::validate(kind, subresource, old, new, &mut faults),
        ("apps", "DaemonSet") => daemon_set::update(kind, old, new, &mut faults),
        ("" | "events.k8s.io", "Event") => event::update(kind, old, new, &mut faults),
        ("", "Service") => {
            meta::validate_update(old, new, &mut faults);
            service_update::validate(old, new, &mut faults);
            meta::validate(kind, new, &mut faults);
            service::validate(new, &mut faults);
        }
        ("", "Namespace") => {
            meta::validate(kind, new, &mut faults);
            simple::namespace(new, &mut faults);
            meta::validate_update(old, new, &mut faults);
        }
        ("", "Node") => {
            meta::validate(kind, new, &mut faults);
            node::validate(new, &mut faults);
            meta::validate_update(old, new, &mut faults);
            node::update(old, new, &mut faults);
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            meta::validate_update(old, new, &mut faults);
            priority_class::update(old, new, &mut faults);
        }
        ("coordination.k8s.io", "Lease") => {
            meta::validate_update(old, new, &mut faults);
            simple::lease(new, &mut faults);
        }
        _ => {
            meta::validate_update(old, new, &mut faults);
            simple::immutable(kind, old, new, &mut faults);
            meta::validate(kind, new, &mut faults);
            content(kind, new, &mut faults);
        }
    }
    faults.into_vec()
}

fn status_update(kind: &Kind, old: &Value, new: &Value, faults: &mut Faults) {
    meta::validate_update(old, new, faults);
    match (kind.group, kind.kind) {
        ("", "Pod") => pod_status::update(old, new, faults),
        ("apps", "DaemonSet") => daemon_set::status(old, new, faults),
        ("", "Service") => service_update::status(new, faults),
        ("", "Node") => node::update(old, new, faults),
        ("", "Namespace") => simple::namespace_status(new, faults),
        _ => {}
    }
}

/// Validates the body of `pods/NAME/binding`.
#[must_use]
pub fn validate_binding(binding: &Value) -> Vec<FieldError> {
    use crate::access::Access;
    let mut faults = Faults::default();
    let target = Path::root("target");
    let kind = binding["target"].text("kind");
    if !matches!(kind, "" | "Node") {
        faults.not_supported(&target.child("kind"), kind, &["Node", "<empty>"]);
    }
    if binding["target"].text("name").is_empty() {
        faults.required(&target.child("name"), "");
    }
    faults.into_vec()
}

#[cfg(test)]
mod tests;
