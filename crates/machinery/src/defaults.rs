//! Defaulting (`SetDefaults_*` in `k8s.io/kubernetes/pkg/apis/*/v1/defaults.go`).
//!
//! Objects come from [`crate::decode`], which drops empty optional values. Required numbers and
//! booleans get their zero value, then each kind gets its defaults. Defaulting twice changes
//! nothing the second time.

mod container;
pub(crate) mod flow_control;
pub(crate) mod pod;
pub(crate) mod rbac;
mod resources;
pub(crate) mod service;
pub(crate) mod simple;
mod volume;
mod zero_values;

use serde_json::{Map, Value};

use crate::Kind;

/// Sets every default of the kind that the object does not set.
pub fn apply_defaults(kind: &Kind, object: &mut Value) {
    if let Some(table) = kind.object_type() {
        zero_values::fill(table, object);
    }
    kind.strategy.set_defaults(object);
}

/// Sets a field that is absent or null.
pub(crate) fn set(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut()
        && fields.get(name).is_none_or(Value::is_null)
    {
        fields.insert(name.to_owned(), value.into());
    }
}

/// Sets a field that is no string or an empty one.
fn set_text(object: &mut Value, name: &str, value: &str) {
    if object
        .get(name)
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        put(object, name, value);
    }
}

/// Sets a field, whatever its value was.
fn put(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value.into());
    }
}

/// Sets a field that is no number or zero, for Go fields that are no pointers.
fn set_number(object: &mut Value, name: &str, value: i64) {
    if object.get(name).and_then(Value::as_i64).unwrap_or_default() == 0 {
        put(object, name, value);
    }
}

/// The object in a field; an absent one is added.
pub(crate) fn child<'a>(object: &'a mut Value, name: &str) -> &'a mut Value {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    set(object, name, Map::new());
    &mut object[name]
}

/// The object in a field, if there is one.
fn existing<'a>(object: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    object.get_mut(name).filter(|value| value.is_object())
}

#[cfg(test)]
mod tests;
