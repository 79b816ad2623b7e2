//! The text of path elements: how `fieldsV1` writes them and how people read them.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::set::FieldsError;

/// `f:name`
pub(super) fn field(name: &str) -> String {
    format!("f:{name}")
}

/// `v:"x"`
pub(super) fn value(item: &Value) -> String {
    format!("v:{item}")
}

/// `k:{"name":"x"}`, with sorted keys.
pub(super) fn keys<'a>(pairs: impl Iterator<Item = (&'a str, Cow<'a, Value>)>) -> String {
    let pairs: Map<String, Value> = pairs
        .map(|(key, value)| (key.to_owned(), value.into_owned()))
        .collect();
    format!("k:{}", Value::Object(pairs))
}

/// Writes an element in our own form: Go escapes more characters than we do, and a client may sort keys as
/// it likes. `None` for a kind of element that nobody knows.
pub(super) fn canonical(element: &str) -> Result<Option<String>, FieldsError> {
    let bad = || FieldsError::BadElement(element.to_owned());
    let parse = |text: &str| serde_json::from_str::<Value>(text).map_err(|_| bad());
    match element.split_at_checked(2) {
        Some(("f:", _)) => Ok(Some(element.to_owned())),
        Some(("v:", text)) => Ok(Some(value(&parse(text)?))),
        Some(("k:", text)) => match parse(text)? {
            keys @ Value::Object(_) => Ok(Some(format!("k:{keys}"))),
            _ => Err(bad()),
        },
        Some(("i:", text)) => {
            let index: i64 = text.parse().map_err(|_| bad())?;
            Ok(Some(format!("i:{index}")))
        }
        Some((kind, _)) if kind.ends_with(':') => Ok(None),
        Some(_) | None => Err(bad()),
    }
}

/// `.name`, `[name="x"]`, `[="x"]` or `[0]`.
pub(super) fn display(element: &str) -> String {
    let (kind, text) = element.split_at_checked(2).unwrap_or((element, ""));
    match kind {
        "f:" => format!(".{text}"),
        "v:" => format!("[={text}]"),
        "k:" => {
            let keys: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
            let keys: Vec<String> = keys
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            format!("[{}]", keys.join(","))
        }
        _ => format!("[{text}]"),
    }
}
