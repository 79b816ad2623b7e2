//! Reading and writing `metadata` of untyped objects.

use serde_json::{Map, Value};

/// `metadata`, if it is there.
#[must_use]
pub(crate) fn of(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata").and_then(Value::as_object)
}

/// Changes `metadata`, which is made if it is not there.
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

/// A string of `metadata`, empty if it is not there.
#[must_use]
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    of(object)
        .and_then(|m| m.get(field))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// `metadata.name`
#[must_use]
pub(crate) fn name(object: &Value) -> &str {
    text(object, "name")
}

/// Sets or removes (an empty value) a string of `metadata`.
pub(crate) fn set(object: &mut Value, field: &str, value: &str) {
    edit(object, |metadata| match value {
        "" => metadata.remove(field),
        _ => metadata.insert(field.into(), value.into()),
    });
}

/// `metadata.finalizers`
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

/// Replaces `metadata.finalizers`.
pub(crate) fn set_finalizers(object: &mut Value, finalizers: Vec<String>) {
    edit(object, |metadata| match finalizers.is_empty() {
        true => metadata.remove("finalizers"),
        false => metadata.insert("finalizers".into(), finalizers.into()),
    });
}

/// `metadata.deletionGracePeriodSeconds`
#[must_use]
pub(crate) fn grace(object: &Value) -> Option<i64> {
    of(object)?.get("deletionGracePeriodSeconds")?.as_i64()
}

/// Whether the object is being deleted.
#[must_use]
pub(crate) fn is_terminating(object: &Value) -> bool {
    !text(object, "deletionTimestamp").is_empty()
}

/// The value at a path of field names.
#[must_use]
pub(crate) fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter()
        .try_fold(object, |value, field| value.get(field))
}

/// The string at a path of field names, empty if it is not there.
#[must_use]
pub(crate) fn text_at<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}
