//! The fields that differ between two objects, found in one walk over both (structured-merge-diff's
//! `typed.Compare`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{field_set::FieldSet, merge_type::MergeType, path_element};
use crate::kind::ResetFields;

/// The fields that a write added, modified and removed.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

impl Comparison {
    /// Added and modified fields: those that the writer owns after the write.
    pub(super) fn changed(&self) -> FieldSet {
        let mut changed = self.added.clone();
        changed.union(&self.modified);
        changed
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

/// How a path as a whole differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Added,
    Modified,
    Removed,
}

/// The value that one of the two objects has at a path.
#[derive(Debug, Clone, Copy)]
enum Side<'a> {
    /// Neither the JSON nor upstream's Go object has a value here.
    Absent,
    /// Upstream's Go object has the zero value here, and the JSON leaves it out.
    Zero,
    /// The JSON has this value.
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

    /// The side one field down. A field that the JSON leaves out may have a zero value in Go.
    fn field(self, parent: MergeType<'_>, name: &str, value: Option<&'a Value>) -> Self {
        match (value, self) {
            (Some(value), _) => Self::Value(value),
            (None, Self::Absent) => Self::Absent,
            (None, Self::Zero | Self::Value(_)) if parent.zero_when_absent(name) => Self::Zero,
            (None, Self::Zero | Self::Value(_)) => Self::Absent,
        }
    }
}

/// Compares two objects of a kind, without the fields in `reset`. `None` for `old` compares with an
/// empty Go object, as for a create.
pub(super) fn compare(
    root: MergeType<'_>,
    old: Option<&Value>,
    new: &Value,
    reset: &ResetFields,
) -> Comparison {
    let mut out = Comparison::default();
    let old = old.map_or(Side::Zero, Side::Value);
    fields(
        root,
        old,
        Side::Value(new),
        &mut out,
        &|parent, name, old, new, out| {
            if reset.has_top_level(name) {
                return;
            }
            if name != "metadata" {
                return field(parent, name, old, new, out);
            }
            let Some(meta) = parent.field(name) else {
                return;
            };
            let mut below = Comparison::default();
            fields(
                meta,
                old,
                new,
                &mut below,
                &|parent, name, old, new, out| {
                    if !reset.has_metadata(name) {
                        field(parent, name, old, new, out);
                    }
                },
            );
            out.attach(|| path_element::field(name), None, below);
        },
    );
    out
}

/// Compares all fields of two values.
pub(super) fn compare_any(root: MergeType<'_>, old: &Value, new: &Value) -> Comparison {
    let mut out = Comparison::default();
    walk(root, Side::Value(old), Side::Value(new), &mut out);
    out
}

type Visit<'v> = dyn Fn(MergeType<'_>, &str, Side<'_>, Side<'_>, &mut Comparison) + 'v;

/// Calls `visit` for every field name that at least one object has and whose values differ, in
/// order.
fn fields(
    parent: MergeType<'_>,
    old: Side<'_>,
    new: Side<'_>,
    out: &mut Comparison,
    visit: &Visit<'_>,
) {
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
        // Most fields of an object do not change, and equal values need no look into the field
        // tables.
        if a.is_some() && a == b {
            continue;
        }
        visit(
            parent,
            name,
            old.field(parent, name, a),
            new.field(parent, name, b),
            out,
        );
    }
}

fn field(parent: MergeType<'_>, name: &str, old: Side<'_>, new: Side<'_>, out: &mut Comparison) {
    let child = parent.field(name).unwrap_or(MergeType::Atomic);
    let mut below = Comparison::default();
    let mark = walk(child, old, new, &mut below);
    out.attach(|| path_element::field(name), mark, below);
}

/// Compares the values below one path into `out`, and returns how the path itself differs.
fn walk(
    merge_type: MergeType<'_>,
    old: Side<'_>,
    new: Side<'_>,
    out: &mut Comparison,
) -> Option<Mark> {
    if is_leaf(merge_type, old, new) {
        return leaf(old, new);
    }
    match merge_type {
        MergeType::Struct(_) | MergeType::Map(_) => fields(merge_type, old, new, out, &field),
        MergeType::ListSet | MergeType::ListMap(..) => {
            items(merge_type, old.list(), new.list(), out);
        }
        MergeType::Atomic => {}
    }
    match (old, new) {
        (Side::Absent, _) => Some(Mark::Added),
        (_, Side::Absent) => Some(Mark::Removed),
        _ => None,
    }
}

/// Whether values are compared as a whole: they have no parts with owners, or both are empty (so
/// that empty and absent values differ).
fn is_leaf(merge_type: MergeType<'_>, old: Side<'_>, new: Side<'_>) -> bool {
    let parts = |side| match side {
        Side::Value(Value::Null) | Side::Absent | Side::Zero => None,
        Side::Value(value) => Some((merge_type.has_parts(value), is_empty(value))),
    };
    match (parts(old), parts(new)) {
        (None, None) => true,
        (Some((fits, empty)), None) | (None, Some((fits, empty))) => !fits || empty,
        (Some((fits_a, empty_a)), Some((fits_b, empty_b))) => {
            !fits_a || !fits_b || (empty_a && empty_b)
        }
    }
}

/// Whether a value is `{}` or `[]`.
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

/// Whether a value is the zero value of its Go type.
pub(super) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(_) | Value::Object(_) => is_empty(value),
    }
}

fn items(merge_type: MergeType<'_>, old: &[Value], new: &[Value], out: &mut Comparison) {
    let aligned = old.len() == new.len()
        && old
            .iter()
            .zip(new)
            .all(|(a, b)| merge_type.same_element(a, b));
    if aligned {
        for (a, b) in old.iter().zip(new) {
            item(
                merge_type,
                || merge_type.element_or_null(b),
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
            .entry(merge_type.element_or_null(value))
            .or_default()
            .0
            .push(value);
    }
    for value in new {
        index
            .entry(merge_type.element_or_null(value))
            .or_default()
            .1
            .push(value);
    }
    for (element, (old, new)) in index {
        duplicates(merge_type, element, &old, &new, out);
    }
}

fn item(
    merge_type: MergeType<'_>,
    element: impl FnOnce() -> String,
    old: Side<'_>,
    new: Side<'_>,
    out: &mut Comparison,
) {
    let mut below = Comparison::default();
    let mark = walk(merge_type.item(), old, new, &mut below);
    out.attach(element, mark, below);
}

/// Compares the items that have the same path element: normally at most one on each side. Where a
/// stored list has several, they are owned together.
fn duplicates(
    merge_type: MergeType<'_>,
    element: String,
    old: &[&Value],
    new: &[&Value],
    out: &mut Comparison,
) {
    let mark = match (old, new) {
        ([] | [_], [] | [_]) => return item(merge_type, || element, first(old), first(new), out),
        ([_, _, ..], [_, _, ..]) => (old != new).then_some(Mark::Modified),
        ([_, _, ..], _) => {
            item(
                merge_type,
                || element.clone(),
                Side::Absent,
                first(new),
                out,
            );
            Some(Mark::Removed)
        }
        (_, [_, _, ..]) => {
            item(
                merge_type,
                || element.clone(),
                first(old),
                Side::Absent,
                out,
            );
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
