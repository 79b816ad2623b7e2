//! Access to the fields of untyped objects, `metadata` above all.

use pandaemon_machinery::{Status, status::Result};
use pandaemon_store::Revision;
use serde_json::{Map, Value};

use crate::http::request::number_error;

/// The `metadata` of an object, if it has any.
#[must_use]
pub(crate) fn of(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata").and_then(Value::as_object)
}

/// Changes `metadata`, which is created if it is missing.
pub(crate) fn edit<T>(object: &mut Value, change: impl FnOnce(&mut Map<String, Value>) -> T) -> T {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let mut metadata = match object["metadata"].take() {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let result = change(&mut metadata);
    object["metadata"] = Value::Object(metadata);
    result
}

/// A string field of `metadata`, empty if it is missing.
#[must_use]
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    of(object)
        .and_then(|m| m.get(field))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The value of `metadata.name`, empty if it is missing.
#[must_use]
pub(crate) fn name(object: &Value) -> &str {
    text(object, "name")
}

/// The value of `metadata.resourceVersion`, 0 if it is missing.
///
/// # Errors
/// 400 if it is no number, with the text with which upstream answers 500.
pub(crate) fn version(object: &Value) -> Result<Revision> {
    let text = text(object, "resourceVersion");
    if text.is_empty() {
        return Ok(0);
    }
    let parsed = text.parse();
    parsed.map_err(|error| Status::bad_request(number_error("ParseUint", text, &error)))
}

/// Sets a string field of `metadata`; an empty value removes it.
pub(crate) fn set(object: &mut Value, field: &str, value: &str) {
    edit(object, |metadata| match value {
        "" => metadata.remove(field),
        _ => metadata.insert(field.into(), value.into()),
    });
}

/// The value of `metadata.finalizers`, empty if it is missing.
#[must_use]
pub(crate) fn finalizers(object: &Value) -> Vec<String> {
    let list = of(object)
        .and_then(|m| m.get("finalizers"))
        .and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Sets `metadata.finalizers`; an empty list removes it.
pub(crate) fn set_finalizers(object: &mut Value, finalizers: Vec<String>) {
    edit(object, |metadata| match finalizers.is_empty() {
        true => metadata.remove("finalizers"),
        false => metadata.insert("finalizers".into(), finalizers.into()),
    });
}

/// The value of `metadata.deletionGracePeriodSeconds`, in seconds.
#[must_use]
pub(crate) fn grace(object: &Value) -> Option<i64> {
    of(object)?.get("deletionGracePeriodSeconds")?.as_i64()
}

/// Whether `metadata.deletionTimestamp` is set.
#[must_use]
pub(crate) fn is_terminating(object: &Value) -> bool {
    !text(object, "deletionTimestamp").is_empty()
}

/// The value at a path of field names, if there is one.
#[must_use]
pub(crate) fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter()
        .try_fold(object, |value, field| value.get(field))
}

/// The string at a path of field names, empty if it is missing.
#[must_use]
pub(crate) fn text_at<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}
