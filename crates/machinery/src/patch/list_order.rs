//! The order of a merged list in a strategic merge patch, and the identity of its items.
//!
//! Precedence is `$setElementOrder`, then the order in the patch, then the order in the live
//! object.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::Value;

/// The identity of an item: the value of its merge key, or a scalar itself.
pub(super) fn identity<'a>(item: &'a Value, merge_key: &str) -> Option<&'a Value> {
    if merge_key.is_empty() {
        Some(item)
    } else {
        item.get(merge_key)
    }
}

/// The first index of each identity in a list.
#[derive(Debug, Default)]
pub(super) struct Index(BTreeMap<(u8, String), usize>);

impl Index {
    /// The index of a list.
    pub(super) fn of(items: &[Value], merge_key: &str) -> Self {
        let mut index = Self::default();
        for (at, item) in items.iter().enumerate() {
            if let Some(id) = identity(item, merge_key) {
                index.add(id, at);
            }
        }
        index
    }

    /// Adds the identity of the item at `at`.
    pub(super) fn add(&mut self, id: &Value, at: usize) {
        let (kind, text) = key(id);
        self.0.entry((kind, text.into_owned())).or_insert(at);
    }

    /// The index of an identity.
    pub(super) fn find(&self, id: &Value) -> Option<usize> {
        let (kind, text) = key(id);
        self.0.get(&(kind, text.into_owned())).copied()
    }
}

/// A key that is equal for equal values only.
fn key(id: &Value) -> (u8, Cow<'_, str>) {
    match id {
        Value::String(text) => (0, Cow::Borrowed(text)),
        other => (1, Cow::Owned(other.to_string())),
    }
}

/// Sorts the items that the patch names by `patch_order`, the others by `live_order`, and
/// interleaves both: an item of the live object stays before an item of the patch only where the
/// live object had both, in that order.
pub(super) fn arrange(
    items: Vec<Value>,
    merge_key: &str,
    patch_order: &Index,
    live_order: &Index,
) -> Vec<Value> {
    let place = |order: &Index, item: &Value| order.find(identity(item, merge_key)?);
    let mut patched = Vec::new();
    let mut others = Vec::new();
    for item in items {
        let live = place(live_order, &item);
        match place(patch_order, &item) {
            Some(at) => patched.push((at, live, item)),
            None => others.push((live.unwrap_or(usize::MAX), live, item)),
        }
    }
    patched.sort_by_key(|(at, _, _)| *at);
    others.sort_by_key(|(at, _, _)| *at);
    interleave(others, patched)
}

type Placed = (usize, Option<usize>, Value);

fn interleave(others: Vec<Placed>, patched: Vec<Placed>) -> Vec<Value> {
    let mut all = Vec::with_capacity(others.len() + patched.len());
    let mut others = others.into_iter().peekable();
    for (_, right, item) in patched {
        while let Some(other) = others.next_if(
            |(_, left, _)| matches!((left, right), (Some(left), Some(right)) if *left < right),
        ) {
            all.push(other.2);
        }
        all.push(item);
    }
    all.extend(others.map(|(_, _, item)| item));
    all
}
