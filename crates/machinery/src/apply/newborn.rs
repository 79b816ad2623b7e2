//! The fields of a new object as `fieldsV1`, in one walk.
//!
//! Most writes of a busy cluster make pods. What [`super::compare`] finds out about a new object with three sets
//! is written down here at once; a property test holds both equal.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    compare::{is_empty, is_zero},
    ignored::Ignored,
    node::Node,
    path,
};

/// The fields that the maker of a new object owns; empty if there are none.
pub(super) fn fields_v1(root: Node, new: &Value, ignored: &Ignored) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, value) in new.as_object().into_iter().flatten() {
        if ignored.is_top(name) {
            continue;
        }
        if name != "metadata" {
            field(root, true, name, value, &mut out);
            continue;
        }
        let Some(meta) = root.field(name) else {
            continue;
        };
        let was_zero = root.zero_when_absent(name);
        let mut below = Map::new();
        for (name, value) in value.as_object().into_iter().flatten() {
            if !ignored.is_meta(name) {
                field(meta, was_zero, name, value, &mut below);
            }
        }
        if !below.is_empty() {
            out.insert(path::field(name), Value::Object(below));
        }
    }
    out
}

/// Writes down a field of a struct or map, which Go has with its zero value (`parent_is_zero`) or lacks.
fn field(
    node: Node,
    parent_is_zero: bool,
    name: &str,
    value: &Value,
    out: &mut Map<String, Value>,
) {
    let child = node.field(name).unwrap_or(Node::Leaf);
    let was_zero = parent_is_zero && node.zero_when_absent(name);
    if let Some(owned) = walk(child, was_zero, value) {
        out.insert(path::field(name), owned);
    }
}

/// What of a value is owned: `None` for nothing, an empty object for the value itself.
fn walk(node: Node, was_zero: bool, value: &Value) -> Option<Value> {
    if value.is_null() || !node.has_parts(value) || is_empty(value) {
        let is_owned = !was_zero || !is_zero(value);
        return is_owned.then(|| Value::Object(Map::new()));
    }
    let mut below = Map::new();
    match (node, value) {
        (Node::Struct(_) | Node::Map(_), Value::Object(fields)) => {
            for (name, value) in fields {
                field(node, was_zero, name, value, &mut below);
            }
        }
        (Node::Set | Node::Keyed(..), Value::Array(list)) => items(node, list, &mut below),
        _ => {}
    }
    match (was_zero, below.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Value::Object(below)),
        (false, is_bare) => {
            if !is_bare {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            Some(Value::Object(below))
        }
    }
}

fn items(node: Node, list: &[Value], out: &mut Map<String, Value>) {
    let mut seen: BTreeMap<String, Option<&Value>> = BTreeMap::new();
    for item in list {
        seen.entry(node.element_or_null(item))
            // Items with one path element are owned together, as a whole.
            .and_modify(|first| *first = None)
            .or_insert(Some(item));
    }
    for (element, only) in seen {
        let owned = only.map_or_else(
            || Some(Value::Object(Map::new())),
            |item| walk(node.item(), false, item),
        );
        if let Some(owned) = owned {
            out.insert(element, owned);
        }
    }
}
