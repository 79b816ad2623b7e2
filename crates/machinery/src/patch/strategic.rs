//! Strategic merge patch: a merge patch that knows the merge keys of lists, and directives.
//!
//! - maps merge key by key, `null` deletes; `$patch: replace` or `delete` in a map, `$retainKeys: [..]`
//! - lists with the strategy `merge` merge by merge key (or by value), other lists are replaced;
//!   `$patch: delete` in an item deletes it, an item `$patch: replace` replaces the list
//! - `$setElementOrder/x` orders the list `x`, `$deleteFromPrimitiveList/x` deletes values from it

use serde_json::{Map, Value};

use super::{
    order::{self, Index},
    unprocessable,
};
use crate::{
    schema::Shape,
    status::{Result, Status},
};

mod errors;

use errors::{go_list, go_type, internal, no_merge_key, unknown_directive};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

type Object = Map<String, Value>;

/// Merges `patch` into `original`, which has the shape `shape`.
pub(super) fn merge(original: &mut Object, mut patch: Object, shape: Shape) -> Result<()> {
    if let Some(directive) = patch.get(DIRECTIVE).cloned() {
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
            patch.remove(DIRECTIVE);
            clean_map(&mut patch);
            *original = patch;
        }
        Some("delete") => original.clear(),
        Some(_) | None => return Err(unknown_directive(directive, &Value::Object(patch))),
    }
    Ok(())
}

fn merge_field(original: &mut Object, key: String, value: Value, shape: Shape) -> Result<()> {
    if value.is_null() {
        original.remove(&key);
        return Ok(());
    }
    match (original.get_mut(&key), value) {
        (Some(Value::Object(old)), Value::Object(new)) => {
            merge(old, new, lookup(shape, &key)?.shape)
        }
        (Some(Value::Array(old)), Value::Array(new)) => {
            let field = lookup(shape, &key)?;
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

/// `$retainKeys` clears every key that it does not name.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<()> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let bad = || Status::bad_request("invalid patch format of retainKeys");
    let keys = keys.as_array().ok_or_else(bad)?;
    let named = |key: &str| keys.iter().any(|k| k == key);
    let is_directive = |key: &str| key.starts_with(DELETE_PRIMITIVES) || key.starts_with(SET_ORDER);
    if patch
        .iter()
        .any(|(key, value)| !value.is_null() && !is_directive(key) && !named(key))
    {
        return Err(bad());
    }
    original.retain(|key, _| named(key));
    Ok(())
}

/// Merges every list that has a `$setElementOrder`, and takes both out of the patch.
fn ordered_lists(original: &mut Object, patch: &mut Object, shape: Shape) -> Result<()> {
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
        let field = lookup(shape, key)?;
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
        let merged = order::arrange(merged, field.merge_key, &wanted, &live_order);
        original.insert(key.to_owned(), Value::Array(merged));
    }
    Ok(())
}

/// The items of the patch must be in the order that `$setElementOrder` gives.
fn check_order(patched: &[Value], wanted: &[Value], merge_key: &str) -> Result<()> {
    if patched.is_empty() || wanted.is_empty() {
        return Ok(());
    }
    require_keys(wanted, merge_key)?;
    let mut rest = wanted.iter();
    for item in patched.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let id = order::identity(item, merge_key).ok_or_else(|| no_merge_key(item, merge_key))?;
        if !rest.any(|other| order::identity(other, merge_key) == Some(id)) {
            return Err(internal(format!(
                "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
                go_list(patched),
                go_list(wanted)
            )));
        }
    }
    Ok(())
}

fn delete_primitives(original: &mut Object, key: &str, value: Value, shape: Shape) -> Result<()> {
    if value.is_null() {
        original.remove(key);
        return Ok(());
    }
    if let (Some(Value::Array(old)), Value::Array(gone)) = (original.get_mut(key), value) {
        let field = lookup(shape, key)?;
        *old = merge_lists(std::mem::take(old), gone, &field, true)?;
    }
    Ok(())
}

fn merge_lists(
    live: Vec<Value>,
    patch: Vec<Value>,
    field: &Merge,
    deletes: bool,
) -> Result<Vec<Value>> {
    if !field.merge {
        return Ok(if deletes {
            patch
        } else {
            without_directives(patch)
        });
    }
    let Some(is_map) = element_kind(&live, &patch)? else {
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
    Ok(order::arrange(
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
    order::arrange(all, "", &patch_order, &live_order)
}

/// Does what `$patch` in list items asks for: returns the live items that are left and the items to merge.
fn item_directives(
    mut live: Vec<Value>,
    patch: Vec<Value>,
    merge_key: &str,
) -> Result<(Vec<Value>, Vec<Value>)> {
    let mut items = Vec::with_capacity(patch.len());
    let mut gone = Index::default();
    let mut replaces = false;
    for item in patch {
        let Some(directive) = item.get(DIRECTIVE) else {
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

fn merge_items(mut live: Vec<Value>, patch: Vec<Value>, field: &Merge) -> Result<Vec<Value>> {
    let element = match field.shape {
        Shape::List(element) => *element,
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

/// What the field tables say about merging a field.
struct Merge {
    shape: Shape,
    merge: bool,
    merge_key: &'static str,
}

fn lookup(shape: Shape, key: &str) -> Result<Merge> {
    let plain = |shape| Merge {
        shape,
        merge: false,
        merge_key: "",
    };
    match shape {
        Shape::Object(struct_type) => match struct_type.field(key) {
            Some(field) => Ok(Merge {
                shape: field.shape,
                merge: field.patch_merge,
                merge_key: field.patch_merge_key,
            }),
            None => Err(internal(format!(
                "unable to find api field in struct {} for the json field {key:?}",
                struct_type.short_name()
            ))),
        },
        Shape::Map(value) => Ok(plain(*value)),
        _ => Ok(plain(Shape::Any)),
    }
}

/// Whether the items of both lists are maps. They must be of one type; `None` without any items.
fn element_kind(live: &[Value], patch: &[Value]) -> Result<Option<bool>> {
    let Some(first) = live.iter().chain(patch).next() else {
        return Ok(None);
    };
    if first.is_array() {
        return Err(unprocessable());
    }
    let kind = go_type(first);
    if live.iter().chain(patch).any(|item| go_type(item) != kind) {
        let lists = format!("[{} {}]", go_list(live), go_list(patch));
        return Err(internal(format!(
            "list element types are not identical: {lists}"
        )));
    }
    Ok(Some(first.is_object()))
}

fn require_keys(items: &[Value], merge_key: &str) -> Result<()> {
    if merge_key.is_empty() {
        return Ok(());
    }
    items.iter().try_for_each(|item| match item {
        Value::Object(fields) if fields.contains_key(merge_key) => Ok(()),
        Value::Object(_) => Err(no_merge_key(item, merge_key)),
        other => Err(internal(format!(
            "expected a map[string]interface {{}}, but received a {}",
            go_type(other)
        ))),
    })
}

fn list_of(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(internal(format!(
            "expected a []interface {{}}, but received a {}",
            go_type(&other)
        ))),
    }
}

/// Takes nulls and directives out of a value that is new to the object. False if it is a directive itself.
fn clean(value: &mut Value) -> bool {
    match value {
        Value::Object(fields) => {
            if fields.contains_key(DIRECTIVE) {
                return false;
            }
            clean_map(fields);
        }
        Value::Array(items) => items.retain_mut(clean),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    true
}

fn clean_map(fields: &mut Object) {
    fields.retain(|key, value| {
        let directive =
            key == RETAIN_KEYS || key.starts_with(SET_ORDER) || key.starts_with(DELETE_PRIMITIVES);
        !directive && !value.is_null() && clean(value)
    });
}

fn without_directives(mut items: Vec<Value>) -> Vec<Value> {
    items.retain_mut(clean);
    items
}
