//! The order of the items of a merged list, and how items are told apart.
//!
//! Precedence is `$setElementOrder`, then the order in the patch, then the order in the live object.

use serde_json::Value;

/// What identifies an item: its merge key, or a scalar itself.
pub(super) fn identity<'a>(item: &'a Value, merge_key: &str) -> Option<&'a Value> {
    if merge_key.is_empty() {
        Some(item)
    } else {
        item.get(merge_key)
    }
}

/// The identities of all items that have one.
pub(super) fn identities(items: &[Value], merge_key: &str) -> Vec<Value> {
    items
        .iter()
        .filter_map(|item| identity(item, merge_key))
        .cloned()
        .collect()
}

/// Sorts the items that the patch names by `patch_order`, the others by `live_order`, and interleaves
/// both: an item of the live object stays before an item of the patch only where the live object had
/// both, in that order.
pub(super) fn arrange(
    items: Vec<Value>,
    merge_key: &str,
    patch_order: &[Value],
    live_order: &[Value],
) -> Vec<Value> {
    let place = |order: &[Value], item: &Value| {
        let wanted = identity(item, merge_key)?;
        order.iter().position(|other| other == wanted)
    };
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
