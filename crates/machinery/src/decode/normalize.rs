//! Normalizes a value as decoding into upstream's Go types and encoding again would.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use pandaemon_types::{
    Quantity,
    time::{rfc3339_micros, rfc3339_seconds},
};
use serde_json::{Map, Value};

use super::{
    go_errors,
    path::{Path, Step},
};
use crate::{
    bounds::Texts,
    go_text::json_type,
    schema::{Field, Shape, Type},
};

/// Most levels of nesting in an object. JSON parsers, ours and those of clients, accept 127; this
/// leaves room for the list or the event around an object, and for the `managedFields` that follow
/// its structure.
const MAX_DEPTH: usize = 110;

/// Checks `value` against `table` and normalizes it in place. Adds a text for each unknown field,
/// such as `unknown field "spec.x"`; these fields are dropped.
///
/// # Errors
/// The text of Go's decoder for a value of the wrong type.
pub(super) fn normalize(
    table: Type<'_>,
    value: &mut Value,
    unknown: &mut Texts,
) -> Result<(), String> {
    match value {
        Value::Object(map) => Walk { unknown }.object(table, map, None),
        other => Err(go_errors::not_an_object(other)),
    }
}

struct Walk<'t> {
    unknown: &'t mut Texts,
}

/// The field that a value belongs to, for type errors. List items and map values belong to the
/// field that holds the list or map.
#[derive(Clone, Copy)]
struct Place<'a> {
    owner: Type<'a>,
    field: Field<'a>,
    at: &'a Path<'a>,
}

impl Walk<'_> {
    fn object(
        &mut self,
        table: Type<'_>,
        map: &mut Map<String, Value>,
        parent: Option<&Path<'_>>,
    ) -> Result<(), String> {
        let mut outcome = Ok(());
        map.retain(|name, value| {
            let path = Path {
                parent,
                step: Step::Field(name),
            };
            let Some(field) = table.field(name) else {
                if table.keeps_unknown_fields() {
                    let fits = check_depth(value, path.depth());
                    outcome = std::mem::replace(&mut outcome, Ok(())).and(fits);
                    return true;
                }
                self.unknown
                    .add_distinct(format_args!("unknown field \"{path}\""));
                return false;
            };
            if outcome.is_err() || value.is_null() {
                return outcome.is_err();
            }
            let place = Place {
                owner: table,
                field,
                at: &path,
            };
            outcome = self.value(field.shape, value, &path, place);
            !field.omit_empty || !is_empty(value) || path.is_managed_fields()
        });
        outcome
    }

    fn value(
        &mut self,
        shape: Shape<'_>,
        value: &mut Value,
        path: &Path<'_>,
        place: Place<'_>,
    ) -> Result<(), String> {
        match (shape, &mut *value) {
            (Shape::Object(table), Value::Object(map)) => self.object(table, map, Some(path)),
            (Shape::List(item), Value::Array(list)) => {
                for (index, entry) in list.iter_mut().enumerate() {
                    let path = Path {
                        parent: Some(path),
                        step: Step::Index(index),
                    };
                    self.entry(item.shape(), entry, &path, place)?;
                }
                Ok(())
            }
            (Shape::Map(item), Value::Object(map)) => {
                for (key, entry) in map.iter_mut() {
                    let path = Path {
                        parent: Some(path),
                        step: Step::Key(key),
                    };
                    self.entry(item.shape(), entry, &path, place)?;
                }
                Ok(())
            }
            _ => scalar(shape, value, place),
        }
    }

    /// Normalizes a list item or map value, where null stands for the zero value.
    fn entry(
        &mut self,
        shape: Shape<'_>,
        value: &mut Value,
        path: &Path<'_>,
        place: Place<'_>,
    ) -> Result<(), String> {
        if value.is_null() {
            *value = zero(shape);
        }
        self.value(shape, value, path, place)
    }
}

fn scalar(shape: Shape<'_>, value: &mut Value, place: Place<'_>) -> Result<(), String> {
    let fits = match (shape, &*value) {
        (Shape::Any, any) => return check_depth(any, place.at.depth()),
        (Shape::String | Shape::IntOrString, Value::String(_))
        | (Shape::Bool, Value::Bool(_))
        | (Shape::Float, Value::Number(_)) => true,
        (Shape::Int64, Value::Number(number)) => number.is_i64(),
        (Shape::Int32 | Shape::IntOrString, Value::Number(number)) => {
            number.as_i64().is_some_and(|n| i32::try_from(n).is_ok())
        }
        (Shape::Quantity, _) => return quantity(value),
        (Shape::Time, Value::String(_)) => return time(value, rfc3339_seconds),
        (Shape::MicroTime, Value::String(_)) => return time(value, rfc3339_micros),
        (Shape::Bytes, Value::String(_)) => return bytes(value),
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(mismatch(shape, value, place))
    }
}

/// Checks that a value at this depth is not nested too deeply. Only values of any shape can be.
fn check_depth(value: &Value, at: usize) -> Result<(), String> {
    if MAX_DEPTH < at {
        return Err("exceeded max depth".into());
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| check_depth(item, at + 1)),
        Value::Object(fields) => {
            let mut values = fields.values();
            values.try_for_each(|value| check_depth(value, at + 1))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// Such as `json: cannot unmarshal string into Go struct field DaemonSetSpec.spec.minReadySeconds
/// of type int32`.
fn mismatch(shape: Shape<'_>, value: &Value, place: Place<'_>) -> String {
    let found = match (shape, value) {
        (Shape::Int32 | Shape::Int64, Value::Number(number)) => {
            Cow::Owned(format!("number {number}"))
        }
        _ => Cow::Borrowed(json_type(value)),
    };
    if matches!(shape, Shape::Time | Shape::MicroTime | Shape::IntOrString) {
        return format!(
            "json: cannot unmarshal {found} into Go value of type {}",
            go_errors::type_name(shape)
        );
    }
    let of_field = std::mem::discriminant(&shape) == std::mem::discriminant(&place.field.shape);
    let wanted = if of_field {
        go_errors::field_type(place.owner, place.field)
    } else {
        go_errors::type_name(shape)
    };
    let field = format!("{}.{}", place.owner.short_name(), place.at.fields());
    format!("json: cannot unmarshal {found} into Go struct field {field} of type {wanted}")
}

fn quantity(value: &mut Value) -> Result<(), String> {
    let canonical = Quantity::from_json(value)
        .map_err(|error| error.to_string())?
        .to_string();
    if value.as_str() != Some(&canonical) {
        *value = Value::String(canonical);
    }
    Ok(())
}

fn time(value: &mut Value, format: fn(Timestamp) -> String) -> Result<(), String> {
    const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
    let text = value.as_str().unwrap_or_default();
    let strict = text.as_bytes().get(10) == Some(&b'T');
    let Some(canonical) = text.parse().ok().filter(|_| strict).map(format) else {
        return Err(format!(
            "parsing time \"{text}\" as \"{LAYOUT}\": cannot parse \"{text}\" as \"2006\""
        ));
    };
    if canonical != text {
        *value = Value::String(canonical);
    }
    Ok(())
}

fn bytes(value: &mut Value) -> Result<(), String> {
    let text = value.as_str().unwrap_or_default();
    let folded = text
        .contains(['\r', '\n'])
        .then(|| text.replace(['\r', '\n'], ""));
    let plain = folded.as_deref().unwrap_or(text);
    if let Err(error) = STANDARD.decode(plain) {
        let at = match error {
            base64::DecodeError::InvalidByte(at, _) => at,
            _ => plain.len(),
        };
        return Err(format!("illegal base64 data at input byte {at}"));
    }
    if let Some(folded) = folded {
        *value = Value::String(folded);
    }
    Ok(())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn zero(shape: Shape<'_>) -> Value {
    match shape {
        Shape::String | Shape::Bytes => Value::from(""),
        Shape::Bool => Value::from(false),
        Shape::Int32 | Shape::Int64 | Shape::Float | Shape::IntOrString => Value::from(0),
        Shape::Quantity => Value::from("0"),
        Shape::Object(_) | Shape::Map(_) => Value::Object(Map::new()),
        Shape::List(_) => Value::Array(Vec::new()),
        Shape::Time | Shape::MicroTime | Shape::Any => Value::Null,
    }
}
