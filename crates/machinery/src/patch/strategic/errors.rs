//! Errors of strategic merge patches, with values as Go prints them.

use serde_json::Value;

use crate::{go_text, status::Status};

/// An error that upstream has no status for: 500 with this text.
pub(super) fn internal(text: impl Into<String>) -> Box<Status> {
    Status::failure(500, "", text)
}

/// A `$patch` with a value that is no directive.
pub(super) fn unknown_directive(directive: &Value, map: &Value) -> Box<Status> {
    internal(format!(
        "unknown patch type: {} in map: {}",
        go_text::plain(directive),
        go_text::plain(map)
    ))
}

/// A list item without its merge key.
pub(super) fn no_merge_key(item: &Value, merge_key: &str) -> Box<Status> {
    internal(format!(
        "map: {} does not contain declared merge key: {merge_key}",
        go_text::plain(item)
    ))
}

/// The Go type of a decoded JSON value.
pub(super) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
