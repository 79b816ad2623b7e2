//! How a field merges and who can own it, from the field tables: as a whole or part by part (the
//! `listType`, `mapType` and `structType` of structured-merge-diff).

use std::borrow::Cow;

use serde_json::Value;

use super::path_element;
use crate::schema::{Item, Keys, Shape, Topology, Type};

/// Types that are atomic wherever they occur. For a field of such a type the field table says so,
/// but items of a list have no field of their own.
const ATOMIC_ITEMS: &[&str] = &["OwnerReference", "LocalObjectReference", "ObjectReference"];

/// Optional struct fields that are no pointers in Go, by type and field: an unset one is an empty
/// struct.
const EMPTY_STRUCTS: &[(&str, &str)] = &[
    ("Container", "resources"),
    ("DaemonSetSpec", "updateStrategy"),
    ("EphemeralContainer", "resources"),
    ("Event", "deprecatedSource"),
    ("Event", "regarding"),
    ("Event", "source"),
    ("NodeDaemonEndpoints", "kubeletEndpoint"),
    ("NodeStatus", "daemonEndpoints"),
    ("NodeStatus", "nodeInfo"),
    ("PersistentVolumeClaimSpec", "resources"),
    ("ServiceStatus", "loadBalancer"),
];

/// How a value merges.
#[derive(Debug, Clone, Copy)]
pub(super) enum MergeType<'t> {
    /// A scalar, or a list, map or struct that is owned as a whole.
    Atomic,
    /// A struct: every field has its own owners.
    Struct(Type<'t>),
    /// A map: every key has its own owners.
    Map(Item<'t>),
    /// A list of distinct scalars, each with an owner (`listType=set`).
    ListSet,
    /// A list of objects that are identified by these key fields (`listType=map`).
    ListMap(Item<'t>, Keys<'t>),
}

impl<'t> MergeType<'t> {
    /// The merge type of a field of this shape and topology.
    pub(super) fn of(shape: Shape<'t>, topology: Topology<'t>) -> Self {
        match (shape, topology) {
            (_, Topology::Atomic) => Self::Atomic,
            (Shape::Object(fields), _) => Self::Struct(fields),
            (Shape::Map(value), _) => Self::Map(value),
            (Shape::List(_), Topology::Set) => Self::ListSet,
            (Shape::List(item), Topology::Map(keys)) => Self::ListMap(item, keys),
            _ => Self::Atomic,
        }
    }

    /// The merge type of a struct field or map value; `None` for a field that the struct does not
    /// have.
    pub(super) fn field(self, name: &str) -> Option<Self> {
        match self {
            Self::Struct(of) => match of.field(name) {
                Some(field) => Some(Self::of(field.shape, field.topology)),
                None => of.keeps_unknown_fields().then_some(Self::Atomic),
            },
            Self::Map(value) => Some(Self::item_of(value.shape())),
            Self::Atomic | Self::ListSet | Self::ListMap(..) => None,
        }
    }

    /// The merge type of the items of a list.
    pub(super) fn item(self) -> Self {
        match self {
            Self::ListMap(item, _) => Self::item_of(item.shape()),
            Self::Atomic | Self::Struct(_) | Self::Map(_) | Self::ListSet => Self::Atomic,
        }
    }

    fn item_of(shape: Shape<'t>) -> Self {
        match shape {
            Shape::Object(fields) if ATOMIC_ITEMS.contains(&fields.short_name()) => Self::Atomic,
            shape => Self::of(shape, Topology::Default),
        }
    }

    /// The merge type behind a path element; `None` if the element does not fit this type.
    pub(super) fn step(self, element: &str) -> Option<Self> {
        match (self, element.strip_prefix("f:")) {
            (Self::Struct(_) | Self::Map(_), Some(name)) => self.field(name),
            (Self::ListSet | Self::ListMap(..), None) => Some(self.item()),
            _ => None,
        }
    }

    pub(super) fn is_struct(self) -> bool {
        matches!(self, Self::Struct(_))
    }

    /// Whether the value has parts with owners of their own: this type has parts, and the JSON type
    /// fits it.
    pub(super) fn has_parts(self, value: &Value) -> bool {
        match self {
            Self::Atomic => false,
            Self::Struct(_) | Self::Map(_) => value.is_object(),
            Self::ListSet | Self::ListMap(..) => value.is_array(),
        }
    }

    /// Whether upstream's Go struct has a zero value for this field where the JSON leaves it out.
    /// Upstream compares Go objects, so setting such a field to its zero value changes nothing
    /// there.
    pub(super) fn zero_when_absent(self, name: &str) -> bool {
        let Self::Struct(parent) = self else {
            return false;
        };
        let Some(field) = parent.field(name) else {
            return false;
        };
        if field.required {
            return true;
        }
        let is_struct = matches!(field.shape, Shape::Object(_));
        (is_struct && matches!(name, "metadata" | "spec" | "status"))
            || EMPTY_STRUCTS.contains(&(parent.short_name(), name))
    }

    /// The path element of an item of this list.
    ///
    /// # Errors
    /// The name of a key field that the item lacks.
    pub(super) fn element(self, item: &Value) -> Result<String, &'t str> {
        let Self::ListMap(shape, keys) = self else {
            return Ok(path_element::value(item));
        };
        let mut pairs = Vec::new();
        for key in keys.iter() {
            pairs.push((key, key_value(shape, item, key).ok_or(key)?));
        }
        Ok(path_element::keys(pairs.into_iter()))
    }

    /// The path element of an item of a stored list: a missing key field counts as null.
    pub(super) fn element_or_null(self, item: &Value) -> String {
        let Self::ListMap(shape, keys) = self else {
            return path_element::value(item);
        };
        let value = |key: &str| key_value(shape, item, key).unwrap_or(Cow::Owned(Value::Null));
        path_element::keys(keys.iter().map(|key| (key, value(key))))
    }

    /// Whether two items have the same path element.
    pub(super) fn same_element(self, a: &Value, b: &Value) -> bool {
        match self {
            Self::ListMap(shape, keys) => keys
                .iter()
                .all(|key| key_value(shape, a, key) == key_value(shape, b, key)),
            Self::Atomic | Self::Struct(_) | Self::Map(_) | Self::ListSet => a == b,
        }
    }
}

/// The value of a key field, or its default.
fn key_value<'a>(shape: Item<'_>, item: &'a Value, key: &str) -> Option<Cow<'a, Value>> {
    if let Some(value) = item.get(key) {
        return Some(Cow::Borrowed(value));
    }
    let Shape::Object(fields) = shape.shape() else {
        return None;
    };
    let default = fields.field(key)?.default?;
    Some(Cow::Owned(Value::String(default.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::types;

    #[test]
    fn listed_types_and_fields_exist_in_the_field_tables() {
        let tables = |name: &str| {
            types()
                .filter(move |t| t.short_name() == name)
                .collect::<Vec<_>>()
        };
        for name in ATOMIC_ITEMS {
            assert!(!tables(name).is_empty(), "{name}");
        }
        for (name, field) in EMPTY_STRUCTS {
            assert!(
                tables(name).iter().any(|t| t.field(field).is_some()),
                "{name}.{field}"
            );
        }
    }
}
