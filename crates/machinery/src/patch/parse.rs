//! Parses the JSON of a patch. Errors have the texts of Go's decoder.

use serde_json::{Map, Value};

use crate::{
    decode,
    go_text::{json_type, syntax_error},
};

/// Parses any JSON value.
pub(super) fn value(bytes: &[u8]) -> Result<Value, String> {
    decode::parse_json(bytes).map_err(|error| syntax_error(bytes, &error))
}

/// Parses a JSON object; `null` counts as an empty one.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    match value(bytes)? {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        other => Err(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            json_type(&other)
        )),
    }
}
