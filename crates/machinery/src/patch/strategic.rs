//! Strategic merge patch (upstream's `apimachinery/pkg/util/strategicpatch`):
//!
//! - A map merges key by key, and `null` deletes a key. `$patch: replace` replaces the map,
//!   `$patch: delete` clears it, `$retainKeys: [..]` clears all other keys.
//! - A list with the patch strategy `merge` merges by merge key, or scalars by value; other lists
//!   are replaced. `$patch: delete` in an item deletes it, an item `$patch: replace` replaces the
//!   list.
//! - `$setElementOrder/x` orders the list `x`, `$deleteFromPrimitiveList/x` deletes values from it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::list_order::{self, Index};
use crate::{
    schema::Shape,
    status::{Result, Status},
};

mod check;
mod directives;
mod errors;
mod strategy;

use check::{are_maps, check_order, list_of, require_keys};
use directives::{
    DELETE_PRIMITIVES, PATCH, RETAIN_KEYS, SET_ORDER, clean, clean_map, is_list_directive,
    without_directives,
};
use errors::{internal, no_merge_key, unknown_directive};
use strategy::{Strategy, of_field};

type Object = Map<String, Value>;

/// Merges `patch` into `original`, an object of this shape.
///
/// # Errors
/// As [`crate::patch::strategic_merge_patch`].
pub(super) fn merge(original: &mut Object, mut patch: Object, shape: Shape<'_>) -> Result<()> {
    if let Some(directive) = patch.get(PATCH).cloned() {
        return replace_or_delete(original, patch, &directive);
    }
    retain_keys(original, &mut patch)?;
    ordered_lists(original, &mut patch, shape)?;
    for (key, value) in patch {
        match key.strip_prefix(DELETE_PRIMITIVES) {
            Some(rest) => {
                let Some(list) = rest.strip_prefix('/') else {
                    return Err(Status::bad_request(
                        "invalid patch format of primitive list",
                    ));
                };
                delete_primitives(original, list, value, shape)?;
            }
            None => merge_field(original, key, value, shape)?,
        }
    }
    Ok(())
}

fn replace_or_delete(original: &mut Object, mut patch: Object, directive: &Value) -> Result<()> {
    match directive.as_str() {
        Some("replace") => {
            patch.remove(PATCH);
            clean_map(&mut patch);
            *original = patch;
        }
        Some("delete") => original.clear(),
        Some(_) | None => return Err(unknown_directive(directive, &Value::Object(patch))),
    }
    Ok(())
}

fn merge_field(original: &mut Object, key: String, value: Value, shape: Shape<'_>) -> Result<()> {
    if value.is_null() {
        original.remove(&key);
        return Ok(());
    }
    match (original.get_mut(&key), value) {
        (Some(Value::Object(old)), Value::Object(new)) => {
            merge(old, new, of_field(shape, &key)?.shape)
        }
        (Some(Value::Array(old)), Value::Array(new)) => {
            let field = of_field(shape, &key)?;
            *old = merge_lists(std::mem::take(old), new, &field, false)?;
            Ok(())
        }
        (_, mut value) => {
            if clean(&mut value) {
                original.insert(key, value);
            } else {
                original.remove(&key);
            }
            Ok(())
        }
    }
}

/// Clears every key that `$retainKeys` does not name.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<()> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let bad = || Status::bad_request("invalid patch format of retainKeys");
    let keys = keys.as_array().ok_or_else(bad)?;
    let keys: BTreeSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let named = |key: &str| keys.contains(key);
    if patch
        .iter()
        .any(|(key, value)| !value.is_null() && !is_list_directive(key) && !named(key))
    {
        return Err(bad());
    }
    original.retain(|key, _| named(key));
    Ok(())
}

/// Merges and orders every list with a `$setElementOrder`, and removes both from the patch.
fn ordered_lists(original: &mut Object, patch: &mut Object, shape: Shape<'_>) -> Result<()> {
    let keys: Vec<String> = patch
        .keys()
        .filter(|k| k.starts_with(SET_ORDER))
        .cloned()
        .collect();
    for directive in keys {
        let Some(wanted) = patch.remove(&directive) else {
            continue;
        };
        let Some(key) = directive
            .strip_prefix(SET_ORDER)
            .and_then(|rest| rest.strip_prefix('/'))
        else {
            return Err(Status::bad_request(
                "invalid patch format of setElementOrder list",
            ));
        };
        let wanted = list_of(wanted)?;
        let live = original.get(key).cloned().map(list_of).transpose()?;
        let patched = match patch.get(key) {
            None | Some(Value::Null) => None,
            Some(list) => Some(list_of(list.clone())?),
        };
        let field = of_field(shape, key)?;
        check_order(
            patched.as_deref().unwrap_or_default(),
            &wanted,
            field.merge_key,
        )?;
        if patch.get(key).is_some_and(Value::is_null) {
            continue;
        }
        patch.remove(key);
        let live_order = Index::of(live.as_deref().unwrap_or_default(), field.merge_key);
        let merged = match (live, patched) {
            (None, None) => continue,
            (Some(live), None) => live,
            (None, Some(patched)) => without_directives(patched),
            (Some(live), Some(patched)) => merge_lists(live, patched, &field, false)?,
        };
        require_keys(&merged, field.merge_key)?;
        let wanted = Index::of(&wanted, field.merge_key);
        let merged = list_order::arrange(merged, field.merge_key, &wanted, &live_order);
        original.insert(key.to_owned(), Value::Array(merged));
    }
    Ok(())
}

/// Applies `$deleteFromPrimitiveList`.
fn delete_primitives(
    original: &mut Object,
    key: &str,
    value: Value,
    shape: Shape<'_>,
) -> Result<()> {
    if value.is_null() {
        original.remove(key);
        return Ok(());
    }
    if let (Some(Value::Array(old)), Value::Array(gone)) = (original.get_mut(key), value) {
        let field = of_field(shape, key)?;
        *old = merge_lists(std::mem::take(old), gone, &field, true)?;
    }
    Ok(())
}

/// Merges two lists, or with `deletes` deletes the values of `patch` from `live`.
fn merge_lists(
    live: Vec<Value>,
    patch: Vec<Value>,
    field: &Strategy<'_>,
    deletes: bool,
) -> Result<Vec<Value>> {
    if !field.merge {
        return Ok(if deletes {
            patch
        } else {
            without_directives(patch)
        });
    }
    let Some(is_map) = are_maps(&live, &patch)? else {
        return Ok(live);
    };
    if !is_map {
        return Ok(merge_scalars(live, patch, deletes));
    }
    if field.merge_key.is_empty() {
        return Err(internal(
            "cannot merge lists without merge key for type struct",
        ));
    }
    let (live, patch) = item_directives(live, patch, field.merge_key)?;
    let live_order = Index::of(&live, field.merge_key);
    let patch_order = Index::of(&patch, field.merge_key);
    let merged = merge_items(live, patch, field)?;
    require_keys(&merged, field.merge_key)?;
    Ok(list_order::arrange(
        merged,
        field.merge_key,
        &patch_order,
        &live_order,
    ))
}

fn merge_scalars(live: Vec<Value>, patch: Vec<Value>, deletes: bool) -> Vec<Value> {
    let patch_order = Index::of(&patch, "");
    if deletes {
        let stays = |item: &Value| patch_order.find(item).is_none();
        return live.into_iter().filter(stays).collect();
    }
    let live_order = Index::of(&live, "");
    let mut all = live;
    all.extend(patch);
    let firsts = Index::of(&all, "");
    let mut at = 0..all.len();
    all.retain(|item| firsts.find(item) == at.next());
    list_order::arrange(all, "", &patch_order, &live_order)
}

/// Applies the directives in list items. Returns the remaining live items, and the items to merge
/// into them.
fn item_directives(
    mut live: Vec<Value>,
    patch: Vec<Value>,
    merge_key: &str,
) -> Result<(Vec<Value>, Vec<Value>)> {
    let mut items = Vec::with_capacity(patch.len());
    let mut gone = Index::default();
    let mut replaces = false;
    for item in patch {
        let Some(directive) = item.get(PATCH) else {
            items.push(item);
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                let id = item
                    .get(merge_key)
                    .ok_or_else(|| no_merge_key(&item, merge_key))?;
                gone.add(id, 0);
            }
            Some("replace") => replaces = true,
            Some("merge") => {
                return Err(internal(
                    "merging lists cannot yet be specified in the patch",
                ));
            }
            Some(_) | None => return Err(unknown_directive(directive, &item)),
        }
    }
    live.retain(|item| item.get(merge_key).is_none_or(|id| gone.find(id).is_none()));
    Ok(if replaces {
        (without_directives(items), Vec::new())
    } else {
        (live, items)
    })
}

fn merge_items(
    mut live: Vec<Value>,
    patch: Vec<Value>,
    field: &Strategy<'_>,
) -> Result<Vec<Value>> {
    let element = match field.shape {
        Shape::List(element) => element.shape(),
        _ => Shape::Any,
    };
    let mut index = Index::of(&live, field.merge_key);
    for mut item in patch {
        let id = item
            .get(field.merge_key)
            .ok_or_else(|| no_merge_key(&item, field.merge_key))?;
        let at = index.find(id);
        if at.is_none() {
            index.add(id, live.len());
        }
        match (at.and_then(|at| live[at].as_object_mut()), item) {
            (Some(old), Value::Object(new)) => merge(old, new, element)?,
            (None, new) | (Some(_), new) => {
                item = new;
                clean(&mut item);
                live.push(item);
            }
        }
    }
    Ok(live)
}
