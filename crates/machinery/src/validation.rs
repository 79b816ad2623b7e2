//! Validation, with upstream's texts (`k8s.io/apimachinery/pkg/util/validation/field`).
use serde_json::Value;

use crate::Kind;

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
        todo!()
    }

    /// The text without the field, as `details.causes[].message` has it.
    #[must_use]
    pub fn detail_text(&self) -> String {
        todo!()
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.detail_text())
    }
}

/// Validates a new object (defaults already filled in).
#[must_use]
pub fn validate_create(_kind: &Kind, _object: &Value) -> Vec<FieldError> {
    todo!()
}

/// Validates a change; `subresource` is empty for the object itself.
#[must_use]
pub fn validate_update(_kind: &Kind, _subresource: &str, _old: &Value, _new: &Value) -> Vec<FieldError> {
    todo!()
}
