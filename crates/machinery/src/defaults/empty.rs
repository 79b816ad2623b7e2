//! The shape that a round trip through Go's structs gives an object.
//!
//! Upstream decodes into structs and encodes with `omitempty`: empty lists, maps and strings vanish,
//! and so do zero numbers and `false`, unless the field is a pointer or required. The field tables
//! know which ones.

use serde_json::Value;

use crate::schema::{Field, Shape, Type};

/// Drops what `omitempty` would drop and adds required numbers and flags.
pub(super) fn normalize(table: &'static Type, value: &mut Value) {
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    fields.retain(|name, value| match table.field(name) {
        Some(field) => {
            descend(field.shape, value);
            !is_dropped(field, value)
        }
        None => true,
    });
    for field in table.fields.iter().filter(|f| f.required) {
        let zero = match field.shape {
            Shape::Int32 | Shape::Int64 => Value::from(0),
            Shape::Bool => Value::from(false),
            _ => continue,
        };
        fields.entry(field.name).or_insert(zero);
    }
}

fn descend(shape: Shape, value: &mut Value) {
    match shape {
        Shape::Object(table) => normalize(table, value),
        Shape::List(inner) => {
            value
                .as_array_mut()
                .into_iter()
                .flatten()
                .for_each(|item| descend(*inner, item));
        }
        Shape::Map(inner) => {
            value
                .as_object_mut()
                .into_iter()
                .flatten()
                .for_each(|(_, item)| descend(*inner, item));
        }
        _ => {}
    }
}

fn is_dropped(field: &Field, value: &Value) -> bool {
    if value.is_null() {
        return true;
    }
    // An empty list of managers is a request of its own.
    if !field.omit_empty || field.name == "managedFields" {
        return false;
    }
    match field.shape {
        Shape::List(_) => value.as_array().is_some_and(Vec::is_empty),
        Shape::Map(_) => value.as_object().is_some_and(serde_json::Map::is_empty),
        Shape::String | Shape::Bytes => value == "",
        Shape::Bool => value == false,
        Shape::Int32 | Shape::Int64 => value == 0,
        _ => false,
    }
}
