//! Which fields differ between two objects, in one walk over both.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{ignored::Ignored, node::Node, path, set::FieldSet};

/// The fields that a write added, modified and removed.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

impl Comparison {
    /// Added and modified fields together: what the writer takes.
    pub(super) fn taken(&self) -> FieldSet {
        let mut taken = self.added.clone();
        taken.union(&self.modified);
        taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    fn attach(&mut self, element: impl FnOnce() -> String, mark: Option<Mark>, below: Self) {
        if mark.is_none() && below.is_empty() {
            return;
        }
        let element = element();
        self.added
            .attach(&element, mark == Some(Mark::Added), below.added);
        self.modified
            .attach(&element, mark == Some(Mark::Modified), below.modified);
        self.removed
            .attach(&element, mark == Some(Mark::Removed), below.removed);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Added,
    Modified,
    Removed,
}

/// One of the two objects at some path.
#[derive(Debug, Clone, Copy)]
enum Side<'a> {
    /// Not there.
    Absent,
    /// There in Go with its zero value, although the JSON does not show it.
    Zero,
    /// There.
    Value(&'a Value),
}

impl<'a> Side<'a> {
    fn object(self) -> Option<&'a Map<String, Value>> {
        match self {
            Self::Value(value) => value.as_object(),
            Self::Absent | Self::Zero => None,
        }
    }

    fn list(self) -> &'a [Value] {
        match self {
            Self::Value(Value::Array(items)) => items,
            Self::Absent | Self::Zero | Self::Value(_) => &[],
        }
    }

    /// The side below: a field that the JSON lacks may be there in Go all the same.
    fn field(self, parent: Node, name: &str, value: Option<&'a Value>) -> Self {
        match (value, self) {
            (Some(value), _) => Self::Value(value),
            (None, Self::Absent) => Self::Absent,
            (None, Self::Zero | Self::Value(_)) if parent.zero_when_absent(name) => Self::Zero,
            (None, Self::Zero | Self::Value(_)) => Self::Absent,
        }
    }
}

/// Compares two objects of a kind. Without `old`, `new` was created: it differs from an empty Go object.
pub(super) fn compare(
    root: Node,
    old: Option<&Value>,
    new: &Value,
    ignored: &Ignored,
) -> Comparison {
    let mut out = Comparison::default();
    let old = old.map_or(Side::Zero, Side::Value);
    fields(
        root,
        old,
        Side::Value(new),
        &mut out,
        &|node, name, old, new, out| {
            if ignored.is_top(name) {
                return;
            }
            if name != "metadata" {
                return field(node, name, old, new, out);
            }
            let Some(meta) = node.field(name) else { return };
            let mut below = Comparison::default();
            fields(meta, old, new, &mut below, &|node, name, old, new, out| {
                if !ignored.is_meta(name) {
                    field(node, name, old, new, out);
                }
            });
            out.attach(|| path::field(name), None, below);
        },
    );
    out
}

/// Compares all of two values, with nothing left out.
pub(super) fn compare_any(root: Node, old: &Value, new: &Value) -> Comparison {
    let mut out = Comparison::default();
    walk(root, Side::Value(old), Side::Value(new), &mut out);
    out
}

type Visit<'v> = dyn Fn(Node, &str, Side<'_>, Side<'_>, &mut Comparison) + 'v;

/// Calls `visit` for every name that one of both objects has, in order.
fn fields(node: Node, old: Side<'_>, new: Side<'_>, out: &mut Comparison, visit: &Visit<'_>) {
    let mut left = old.object().into_iter().flatten().peekable();
    let mut right = new.object().into_iter().flatten().peekable();
    loop {
        let name = match (left.peek(), right.peek()) {
            (Some((a, _)), Some((b, _))) => (*a).min(*b),
            (Some((a, _)), None) => *a,
            (None, Some((b, _))) => *b,
            (None, None) => return,
        };
        let a = left
            .next_if(|(key, _)| *key == name)
            .map(|(_, value)| value);
        let b = right
            .next_if(|(key, _)| *key == name)
            .map(|(_, value)| value);
        // Most of an object does not change: equal values need no look into the tables.
        if a.is_some() && a == b {
            continue;
        }
        visit(
            node,
            name,
            old.field(node, name, a),
            new.field(node, name, b),
            out,
        );
    }
}

fn field(node: Node, name: &str, old: Side<'_>, new: Side<'_>, out: &mut Comparison) {
    let child = node.field(name).unwrap_or(Node::Leaf);
    let mut below = Comparison::default();
    let mark = walk(child, old, new, &mut below);
    out.attach(|| path::field(name), mark, below);
}

/// Compares below one path into `out`, and says what happened to the path itself.
fn walk(node: Node, old: Side<'_>, new: Side<'_>, out: &mut Comparison) -> Option<Mark> {
    if is_leaf(node, old, new) {
        return leaf(old, new);
    }
    match node {
        Node::Struct(_) | Node::Map(_) => fields(node, old, new, out, &field),
        Node::Set | Node::Keyed(..) => items(node, old.list(), new.list(), out),
        Node::Leaf => {}
    }
    match (old, new) {
        (Side::Absent, _) => Some(Mark::Added),
        (_, Side::Absent) => Some(Mark::Removed),
        _ => None,
    }
}

/// A place without parts, or one that is empty on both sides (which keeps empty and absent apart).
fn is_leaf(node: Node, old: Side<'_>, new: Side<'_>) -> bool {
    let parts = |side| match side {
        Side::Value(Value::Null) | Side::Absent | Side::Zero => None,
        Side::Value(value) => Some((node.has_parts(value), is_empty(value))),
    };
    match (parts(old), parts(new)) {
        (None, None) => true,
        (Some((fits, empty)), None) | (None, Some((fits, empty))) => !fits || empty,
        (Some((fits_a, empty_a)), Some((fits_b, empty_b))) => {
            !fits_a || !fits_b || (empty_a && empty_b)
        }
    }
}

pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn leaf(old: Side<'_>, new: Side<'_>) -> Option<Mark> {
    let same = match (old, new) {
        (Side::Absent, Side::Absent) => return None,
        (Side::Absent, _) => return Some(Mark::Added),
        (_, Side::Absent) => return Some(Mark::Removed),
        (Side::Zero, Side::Zero) => true,
        (Side::Zero, Side::Value(value)) | (Side::Value(value), Side::Zero) => is_zero(value),
        (Side::Value(a), Side::Value(b)) => a == b,
    };
    (!same).then_some(Mark::Modified)
}

pub(super) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(_) | Value::Object(_) => is_empty(value),
    }
}

fn items(node: Node, old: &[Value], new: &[Value], out: &mut Comparison) {
    let aligned =
        old.len() == new.len() && old.iter().zip(new).all(|(a, b)| node.same_element(a, b));
    if aligned {
        for (a, b) in old.iter().zip(new) {
            item(
                node,
                || node.element_or_null(b),
                Side::Value(a),
                Side::Value(b),
                out,
            );
        }
        return;
    }
    let mut index: BTreeMap<String, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for value in old {
        index
            .entry(node.element_or_null(value))
            .or_default()
            .0
            .push(value);
    }
    for value in new {
        index
            .entry(node.element_or_null(value))
            .or_default()
            .1
            .push(value);
    }
    for (element, (old, new)) in index {
        duplicates(node, element, &old, &new, out);
    }
}

fn item(
    node: Node,
    element: impl FnOnce() -> String,
    old: Side<'_>,
    new: Side<'_>,
    out: &mut Comparison,
) {
    let mut below = Comparison::default();
    let mark = walk(node.item(), old, new, &mut below);
    out.attach(element, mark, below);
}

/// Items with one path element: normally at most one on each side. Where a stored list has several, they
/// are owned together.
fn duplicates(node: Node, element: String, old: &[&Value], new: &[&Value], out: &mut Comparison) {
    let mark = match (old, new) {
        ([] | [_], [] | [_]) => return item(node, || element, first(old), first(new), out),
        ([_, _, ..], [_, _, ..]) => (old != new).then_some(Mark::Modified),
        ([_, _, ..], _) => {
            item(node, || element.clone(), Side::Absent, first(new), out);
            Some(Mark::Removed)
        }
        (_, [_, _, ..]) => {
            item(node, || element.clone(), first(old), Side::Absent, out);
            Some(Mark::Added)
        }
    };
    out.attach(|| element, mark, Comparison::default());
}

fn first<'a>(values: &[&'a Value]) -> Side<'a> {
    values
        .first()
        .map_or(Side::Absent, |value| Side::Value(value))
}
