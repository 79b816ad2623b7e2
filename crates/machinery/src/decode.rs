//! Reads request bodies: JSON or YAML into a checked value.
use serde_json::Value;

use crate::{Kind, status::Result};

/// The query parameter `fieldValidation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Drop unknown fields without a word.
    Ignore,
    /// Drop them with a warning (the default).
    #[default]
    Warn,
    /// Refuse them.
    Strict,
}

/// The media type of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

/// A decoded body: `apiVersion` and `kind` are set, unknown fields dropped, nulls removed, quantities canonical.
#[derive(Debug)]
pub struct Decoded {
    /// The object.
    pub value: Value,
    /// Texts for `Warning: 299` headers, such as `unknown field "spec.x"`.
    pub warnings: Vec<String>,
}

/// Decodes the body of a write to `kind`.
///
/// # Errors
/// 400 with upstream's text for bad syntax, wrong types, wrong kind, and (strict) unknown or duplicate fields.
pub fn decode(_kind: &Kind, _body: &[u8], _media: Media, _mode: FieldValidation) -> Result<Decoded> {
    todo!()
}

/// Checks an object made by a patch as [`decode`] checks a body.
///
/// # Errors
/// As [`decode`].
pub fn check(_kind: &Kind, _value: Value, _mode: FieldValidation) -> Result<Decoded> {
    todo!()
}
