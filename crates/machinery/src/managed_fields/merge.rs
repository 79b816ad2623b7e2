//! Merges an applied configuration into an object (structured-merge-diff's `typed.Merge`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::merge_type::MergeType;

/// Merges `config` into `live`: fields of the configuration replace those of the object, other
/// fields stay.
pub(super) fn merge(merge_type: MergeType<'_>, live: &mut Value, config: &Value) {
    match (merge_type, &mut *live, config) {
        (MergeType::Struct(_) | MergeType::Map(_), Value::Object(live), Value::Object(config)) => {
            for (name, value) in config {
                match live.get_mut(name) {
                    Some(old) => merge(
                        merge_type.field(name).unwrap_or(MergeType::Atomic),
                        old,
                        value,
                    ),
                    None => {
                        live.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (MergeType::ListSet | MergeType::ListMap(..), Value::Array(old), Value::Array(new))
            if !old.is_empty() =>
        {
            *old = merge_items(merge_type, std::mem::take(old), new);
        }
        _ => *live = config.clone(),
    }
}

/// Merges two lists item by item. The items of `new` keep their order. Items that only `old` has
/// keep their place relative to the items that both have, as far as that is possible.
fn merge_items(merge_type: MergeType<'_>, old: Vec<Value>, new: &[Value]) -> Vec<Value> {
    let old_keys: Vec<String> = old
        .iter()
        .map(|item| merge_type.element_or_null(item))
        .collect();
    let new_keys: Vec<String> = new
        .iter()
        .map(|item| merge_type.element_or_null(item))
        .collect();
    let wanted: BTreeSet<&str> = new_keys.iter().map(String::as_str).collect();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, key) in old_keys.iter().enumerate().rev() {
        known.insert(key, at);
    }
    let mut shared = new_keys
        .iter()
        .map(String::as_str)
        .filter(|key| known.contains_key(key));
    let mut next_shared = shared.next();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut out = Vec::with_capacity(old.len().max(new.len()));
    let (mut at, mut index) = (0, 0);
    while at < old.len() || index < new.len() {
        let left = old_keys.get(at).map(String::as_str);
        let right = new_keys.get(index).map(String::as_str);
        if let (Some(left), Some(right)) = (left, right) {
            if left != right
                && wanted.contains(left)
                && next_shared.is_some_and(|next| next != left)
            {
                // An item that both lists have and that comes later in `new`.
                at += 1;
                continue;
            }
            at += usize::from(left == right);
        }
        if let Some(left) = left.filter(|left| Some(*left) != right) {
            if !wanted.contains(left) {
                out.push(old[at].clone());
                at += 1;
                continue;
            }
            at += usize::from(done.contains(left));
        }
        let Some(right) = right else { continue };
        let mut item = new[index].clone();
        if let Some(before) = known.get(right) {
            let config = std::mem::replace(&mut item, old[*before].clone());
            merge(merge_type.item(), &mut item, &config);
        }
        done.insert(right);
        out.push(item);
        index += 1;
        if next_shared == Some(right) {
            next_shared = shared.next();
        }
    }
    out
}
