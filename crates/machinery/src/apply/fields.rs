//! From objects to sets of fields, and back: which fields a configuration sets, and an object without some
//! fields.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{node::Node, path, set::FieldSet};

/// The fields that a value sets: leaves, list items, map keys and empty maps, but not the structs on the
/// way.
pub(super) fn fields_of(node: Node, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    collect(node, value, &mut set);
    set
}

/// Adds what is below, and says whether the place itself is a field of the set.
fn collect(node: Node, value: &Value, out: &mut FieldSet) -> bool {
    match (node, value) {
        (Node::Struct(_) | Node::Map(_), Value::Object(fields)) => {
            for (name, value) in fields {
                let child = node.field(name);
                let mut below = FieldSet::default();
                let own = collect(child.unwrap_or(Node::Leaf), value, &mut below);
                let empty = value.is_null() || value.as_object().is_some_and(|v| v.is_empty());
                let member = own || empty || !node.is_struct() || child.is_none();
                out.attach(&path::field(name), member, below);
            }
            false
        }
        (Node::Set | Node::Keyed(..), Value::Array(items)) => {
            for item in items {
                let mut below = FieldSet::default();
                collect(node.item(), item, &mut below);
                out.attach(&node.element_or_null(item), true, below);
            }
            false
        }
        (Node::Leaf, _) => true,
        (_, Value::Null) => false,
        _ => true,
    }
}

/// The set with every struct field that has members below it as a member too: so that a struct goes
/// away together with the last of its fields.
pub(super) fn with_structs(node: Node, set: &FieldSet) -> FieldSet {
    let mut out = FieldSet::default();
    for (element, member, below) in set.iter() {
        let child = node.step(element);
        let is_field = node.is_struct() && child.is_some() && !below.is_empty();
        let below = child.map_or_else(|| below.clone(), |child| with_structs(child, below));
        out.attach(element, member || is_field, below);
    }
    out
}

/// Removes the fields of a set. What becomes empty becomes null, not absent: others may own it. See
/// [`drop_nulls`].
pub(super) fn remove(node: Node, value: &mut Value, set: &FieldSet) {
    if set.is_empty() || !node.has_parts(value) {
        return;
    }
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| {
                let element = path::field(name);
                if set.contains_element(&element) {
                    return false;
                }
                if let (Some(child), Some(below)) = (node.field(name), set.below(&element)) {
                    remove(child, value, below);
                }
                true
            });
            if fields.is_empty() {
                *value = Value::Null;
            }
        }
        Value::Array(items) => {
            items.retain_mut(|item| {
                let element = node.element_or_null(item);
                if set.contains_element(&element) {
                    return false;
                }
                if let Some(below) = set.below(&element) {
                    remove(node.item(), item, below);
                }
                true
            });
            if items.is_empty() {
                *value = Value::Null;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Removes the nulls that [`remove`] left.
pub(super) fn drop_nulls(node: Node, value: &mut Value) {
    if !node.has_parts(value) {
        return;
    }
    match value {
        Value::Object(fields) => fields.retain(|name, value| {
            if let Some(child) = node.field(name) {
                drop_nulls(child, value);
            }
            !value.is_null()
        }),
        Value::Array(items) => items.retain_mut(|item| {
            drop_nulls(node.item(), item);
            !item.is_null()
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What is wrong with an applied configuration: fields that the kind does not have, list items without
/// their keys or with the keys of another item. Upstream's texts, one for each fault.
pub(super) fn faults(node: Node, config: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    find_faults(node, config, "", &mut faults);
    faults
}

fn find_faults(node: Node, value: &Value, at: &str, faults: &mut Vec<String>) {
    match (node, value) {
        (Node::Struct(_) | Node::Map(_), Value::Object(fields)) => {
            for (name, value) in fields {
                match node.field(name) {
                    Some(Node::Leaf) => {}
                    Some(child) => find_faults(child, value, &format!("{at}.{name}"), faults),
                    None => faults.push(format!("{at}.{name}: field not declared in schema")),
                }
            }
        }
        (Node::Set | Node::Keyed(..), Value::Array(items)) => {
            let mut seen = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                match node.element(item) {
                    Err(key) => faults.push(format!(
                        "{at}: element {index}: associative list with keys has an element that omits \
                         key field {key:?} (and doesn't have default value)"
                    )),
                    Ok(element) => {
                        let shown = path::display(&element);
                        find_faults(node.item(), item, &format!("{at}{shown}"), faults);
                        if !seen.insert(element) {
                            faults.push(format!("{at}: duplicate entries for key {shown}"));
                        }
                    }
                }
            }
        }
        _ => {}
    }
}
