//! Fields as text.

use serde_json::Value;

/// A field as text; an absent one reads as the zero value of its Go type.
pub(crate) fn text_of(object: &Value, field: &str) -> String {
    let value = field.split('.').try_fold(object, |at, name| at.get(name));
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(scalar @ (Value::Bool(_) | Value::Number(_))) => scalar.to_string(),
        _ => String::new(),
    }
}
