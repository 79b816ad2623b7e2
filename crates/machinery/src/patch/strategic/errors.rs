//! Errors of strategic merge patches, with values as Go prints them.

use serde_json::Value;

use crate::status::Status;

/// An error that upstream has no status for: 500 with this text.
pub(super) fn internal(text: impl Into<String>) -> Box<Status> {
    Status::failure(500, "", text)
}

/// A `$patch` with a value that is no directive.
pub(super) fn unknown_directive(directive: &Value, map: &Value) -> Box<Status> {
    internal(format!(
        "unknown patch type: {} in map: {}",
        go_text(directive),
        go_text(map)
    ))
}

/// A list item without its merge key.
pub(super) fn no_merge_key(item: &Value, merge_key: &str) -> Box<Status> {
    internal(format!(
        "map: {} does not contain declared merge key: {merge_key}",
        go_text(item)
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

/// A value as Go's `%v` prints it.
pub(super) fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => go_list(items),
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{key}:{}", go_text(value)))
                .collect();
            format!("map[{}]", fields.join(" "))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// A list as Go's `%v` prints it.
pub(super) fn go_list(items: &[Value]) -> String {
    let items: Vec<String> = items.iter().map(go_text).collect();
    format!("[{}]", items.join(" "))
}
