//! Zero values of required numbers and booleans, which Go's structs always have.

use serde_json::Value;

use crate::schema::{Shape, Type};

/// Adds the required numbers and booleans that the object or a part of it leaves out.
pub(super) fn fill(table: Type<'_>, value: &mut Value) {
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    for (name, value) in fields.iter_mut() {
        if let Some(field) = table.field(name) {
            descend(field.shape, value);
        }
    }
    for field in table.fields().filter(|f| f.required) {
        let zero = match field.shape {
            Shape::Int32 | Shape::Int64 => Value::from(0),
            Shape::Bool => Value::from(false),
            _ => continue,
        };
        fields.entry(field.name).or_insert(zero);
    }
}

fn descend(shape: Shape<'_>, value: &mut Value) {
    match shape {
        Shape::Object(table) => fill(table, value),
        Shape::List(inner) if is_struct(inner.shape()) => {
            let items = value.as_array_mut().into_iter().flatten();
            items.for_each(|item| descend(inner.shape(), item));
        }
        Shape::Map(inner) if is_struct(inner.shape()) => {
            let entries = value.as_object_mut().into_iter().flatten();
            entries.for_each(|(_, item)| descend(inner.shape(), item));
        }
        _ => {}
    }
}

/// Whether values of this shape can contain structs.
fn is_struct(shape: Shape<'_>) -> bool {
    matches!(shape, Shape::Object(_) | Shape::List(_) | Shape::Map(_))
}
