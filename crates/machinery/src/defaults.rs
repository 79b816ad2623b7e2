//! Defaulting, as `k8s.io/kubernetes/pkg/apis/*/v1/defaults.go`.
//!
//! Decoding has dropped empty values already, as a round trip through Go's structs would; here required
//! numbers get their zero, and each kind its defaults. Everything is idempotent.

mod container;
mod pod;
mod required;
mod resources;
mod service;
mod simple;
mod volume;

use serde_json::{Map, Value};

use crate::{Kind, schema};

/// Fills in every default of the kind.
pub fn apply_defaults(kind: &Kind, object: &mut Value) {
    if let Some(table) = schema::find(kind.type_name) {
        required::fill(table, object);
    }
    match (kind.group, kind.kind) {
        ("", "Pod") => pod::pod(object),
        ("apps", "DaemonSet") => simple::daemon_set(object),
        ("apps", "ControllerRevision") => set(object, "revision", 0),
        ("", "Service") => service::service(object),
        ("", "Endpoints") => service::endpoints(object),
        ("discovery.k8s.io", "EndpointSlice") => service::endpoint_slice(object),
        ("", "Namespace") => simple::namespace(object),
        ("", "Node") => simple::node(object),
        ("", "Secret") => simple::secret(object),
        ("coordination.k8s.io", "Lease") => drop(child(object, "spec")),
        ("scheduling.k8s.io", "PriorityClass") => simple::priority_class(object),
        ("", "Event") => simple::event(object),
        _ => {}
    }
}

/// Sets a field that is not there.
fn set(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut()
        && fields.get(name).is_none_or(Value::is_null)
    {
        fields.insert(name.to_owned(), value.into());
    }
}

/// Sets a field that is not there or an empty string.
fn set_text(object: &mut Value, name: &str, value: &str) {
    if object
        .get(name)
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        put(object, name, value);
    }
}

/// Sets a field whatever it was.
fn put(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value.into());
    }
}

/// Sets a number that is not there or zero: these are no pointers upstream.
fn set_number(object: &mut Value, name: &str, value: i64) {
    if object.get(name).and_then(Value::as_i64).unwrap_or_default() == 0 {
        put(object, name, value);
    }
}

/// The object in a field, made if it is not there.
fn child<'a>(object: &'a mut Value, name: &str) -> &'a mut Value {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    set(object, name, Map::new());
    &mut object[name]
}

/// The items of a list, none if there is no list.
fn items<'a>(object: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    object
        .get_mut(name)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

/// The object in a field, if there is one.
fn existing<'a>(object: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    object.get_mut(name).filter(|value| value.is_object())
}

#[cfg(test)]
mod tests;
