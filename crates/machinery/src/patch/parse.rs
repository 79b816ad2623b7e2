//! Parses the JSON of a patch. Errors have the texts of Go's decoder.

use serde_json::{Map, Value, error::Category};

/// Parses any JSON value.
pub(super) fn value(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| explain(bytes, &error))
}

/// Parses a JSON object; `null` counts as an empty one.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    match value(bytes)? {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        other => Err(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            json_kind(&other)
        )),
    }
}

/// The name of the JSON type in Go's error texts.
pub(super) fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn explain(bytes: &[u8], error: &serde_json::Error) -> String {
    if error.classify() == Category::Eof {
        return "unexpected end of JSON input".into();
    }
    let text = error.to_string();
    let place = [
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        ("expected `:`", "after object key"),
        ("trailing characters", "after top-level value"),
        (
            "key must be a string",
            "looking for beginning of object key string",
        ),
        ("trailing comma", "looking for beginning of value"),
        ("expected value", "looking for beginning of value"),
        ("expected ident", "in literal"),
    ];
    let found = place.iter().find(|(ours, _)| text.starts_with(ours));
    match (found, char_at(bytes, error.line(), error.column())) {
        (Some((_, place)), Some(c)) => format!("invalid character {c:?} {place}"),
        (None, _) | (_, None) => text,
    }
}

fn char_at(bytes: &[u8], line: usize, column: usize) -> Option<char> {
    let text = std::str::from_utf8(bytes).ok()?;
    let line = text.split('\n').nth(line.checked_sub(1)?)?;
    line.get(column.checked_sub(1)?..)?.chars().next()
}
