//! The text of path elements, as `fieldsV1` has them and as errors show them
//! (structured-merge-diff's `fieldpath.PathElement`).

use std::borrow::Cow;

use serde_json::{Map, Value};

/// A path element of `fieldsV1` whose text cannot be parsed, such as `k:` without JSON behind it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("path element {0:?} cannot be read")]
pub struct PathElementError(String);

/// `f:name`: a field of a struct or a key of a map.
pub(super) fn field(name: &str) -> String {
    format!("f:{name}")
}

/// `v:"x"`: an item of a list of distinct scalars.
pub(super) fn value(item: &Value) -> String {
    format!("v:{item}")
}

/// `k:{"name":"x"}`: an item of a list of objects, by its key fields in sorted order.
pub(super) fn keys<'a>(pairs: impl Iterator<Item = (&'a str, Cow<'a, Value>)>) -> String {
    let pairs: Map<String, Value> = pairs
        .map(|(key, value)| (key.to_owned(), value.into_owned()))
        .collect();
    format!("k:{}", Value::Object(pairs))
}

/// The element in the form of this module: Go escapes more characters, and clients may sort keys
/// otherwise. `None` for an unknown kind of element.
pub(super) fn canonical(element: &str) -> Result<Option<String>, PathElementError> {
    let bad = || PathElementError(element.to_owned());
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

/// The element as errors show it: `.name`, `[name="x"]`, `[="x"]` or `[0]`.
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
