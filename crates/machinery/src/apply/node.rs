//! How the field tables look to server-side apply: what is owned as a whole, and what item by item.

use std::borrow::Cow;

use serde_json::Value;

use super::path;
use crate::schema::{Shape, Topology, Type};

/// Types that are owned as a whole wherever they are: where a field has one the table says so, but items of
/// a list have no field of their own.
const ATOMIC_ITEMS: &[&str] = &["OwnerReference", "LocalObjectReference", "ObjectReference"];

/// Optional fields that are not pointers in Go: an empty struct stands there when nobody set them.
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

/// What a place in an object is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Node {
    /// A scalar, or something that is owned as a whole.
    Leaf,
    /// A struct: every field has an owner.
    Struct(&'static Type),
    /// A map: every key has an owner.
    Map(&'static Shape),
    /// A list of distinct scalars.
    Set,
    /// A list of objects that are told apart by some of their fields.
    Keyed(&'static Shape, &'static [&'static str]),
}

impl Node {
    pub(super) fn of(shape: Shape, topology: Topology) -> Self {
        match (shape, topology) {
            (_, Topology::Atomic) => Self::Leaf,
            (Shape::Object(fields), _) => Self::Struct(fields),
            (Shape::Map(value), _) => Self::Map(value),
            (Shape::List(_), Topology::Set) => Self::Set,
            (Shape::List(item), Topology::Map(keys)) => Self::Keyed(item, keys),
            _ => Self::Leaf,
        }
    }

    /// What is behind a field name or a map key; `None` for a field that the struct does not have.
    pub(super) fn field(self, name: &str) -> Option<Self> {
        match self {
            Self::Struct(fields) => fields.field(name).map(|f| Self::of(f.shape, f.topology)),
            Self::Map(value) => Some(Self::item_of(*value)),
            Self::Leaf | Self::Set | Self::Keyed(..) => None,
        }
    }

    /// What the items of a list are.
    pub(super) fn item(self) -> Self {
        match self {
            Self::Keyed(item, _) => Self::item_of(*item),
            Self::Leaf | Self::Struct(_) | Self::Map(_) | Self::Set => Self::Leaf,
        }
    }

    fn item_of(shape: Shape) -> Self {
        match shape {
            Shape::Object(fields) if ATOMIC_ITEMS.contains(&fields.short_name()) => Self::Leaf,
            shape => Self::of(shape, Topology::Default),
        }
    }

    /// What is behind any path element.
    pub(super) fn step(self, element: &str) -> Option<Self> {
        match (self, element.strip_prefix("f:")) {
            (Self::Struct(_) | Self::Map(_), Some(name)) => self.field(name),
            (Self::Set | Self::Keyed(..), None) => Some(self.item()),
            _ => None,
        }
    }

    pub(super) fn is_struct(self) -> bool {
        matches!(self, Self::Struct(_))
    }

    /// Whether a value of the right JSON type for a place with parts stands here.
    pub(super) fn has_parts(self, value: &Value) -> bool {
        match self {
            Self::Leaf => false,
            Self::Struct(_) | Self::Map(_) => value.is_object(),
            Self::Set | Self::Keyed(..) => value.is_array(),
        }
    }

    /// Whether Go has a zero value where the JSON of a struct lacks this field: ownership is about Go's
    /// objects, in which such a field was there before anybody set it.
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

    /// The path element of an item of this list; the name of the key field that it lacks otherwise.
    pub(super) fn element(self, item: &Value) -> Result<String, &'static str> {
        let Self::Keyed(shape, keys) = self else {
            return Ok(path::value(item));
        };
        let mut pairs = Vec::with_capacity(keys.len());
        for key in keys {
            pairs.push((*key, key_value(shape, item, key).ok_or(*key)?));
        }
        Ok(path::keys(pairs.into_iter()))
    }

    /// As [`Self::element`], for objects that are stored already: a lacking key counts as null.
    pub(super) fn element_or_null(self, item: &Value) -> String {
        let Self::Keyed(shape, keys) = self else {
            return path::value(item);
        };
        let value = |key| key_value(shape, item, key).unwrap_or(Cow::Owned(Value::Null));
        path::keys(keys.iter().map(|key| (*key, value(key))))
    }

    /// Whether two items have the same path element.
    pub(super) fn same_element(self, a: &Value, b: &Value) -> bool {
        match self {
            Self::Keyed(shape, keys) => keys
                .iter()
                .all(|key| key_value(shape, a, key) == key_value(shape, b, key)),
            Self::Leaf | Self::Struct(_) | Self::Map(_) | Self::Set => a == b,
        }
    }
}

fn key_value<'a>(shape: &Shape, item: &'a Value, key: &str) -> Option<Cow<'a, Value>> {
    if let Some(value) = item.get(key) {
        return Some(Cow::Borrowed(value));
    }
    let Shape::Object(fields) = shape else {
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
    fn the_names_here_are_names_of_the_tables() {
        let tables = |name: &str| {
            types()
                .iter()
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
