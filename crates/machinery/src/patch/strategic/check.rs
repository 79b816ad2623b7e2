//! Checks of the lists in strategic merge patches.

use serde_json::Value;

use super::{
    directives::{PATCH, SET_ORDER},
    errors::{go_type, internal, no_merge_key},
};
use crate::{
    bounds::cut_off,
    go_text::plain_list,
    patch::{invalid::unprocessable, list_order},
    status::Result,
};

/// Checks that the items of the patch are in the order of `$setElementOrder`.
///
/// # Errors
/// 500, as upstream, if they are not, or if an item lacks its merge key.
pub(super) fn check_order(patched: &[Value], wanted: &[Value], merge_key: &str) -> Result<()> {
    if patched.is_empty() || wanted.is_empty() {
        return Ok(());
    }
    require_keys(wanted, merge_key)?;
    let mut rest = wanted.iter();
    for item in patched.iter().filter(|item| item.get(PATCH).is_none()) {
        let id =
            list_order::identity(item, merge_key).ok_or_else(|| no_merge_key(item, merge_key))?;
        if !rest.any(|other| list_order::identity(other, merge_key) == Some(id)) {
            return Err(internal(format!(
                "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
                cut_off(&plain_list(patched)),
                cut_off(&plain_list(wanted))
            )));
        }
    }
    Ok(())
}

/// Whether the items of both lists are maps; `None` if there are no items.
///
/// # Errors
/// 422 for lists of lists, 500 (as upstream) for items of different types.
pub(super) fn are_maps(live: &[Value], patch: &[Value]) -> Result<Option<bool>> {
    let Some(first) = live.iter().chain(patch).next() else {
        return Ok(None);
    };
    if first.is_array() {
        return Err(unprocessable());
    }
    let kind = go_type(first);
    if live.iter().chain(patch).any(|item| go_type(item) != kind) {
        let (live, patch) = (plain_list(live), plain_list(patch));
        let lists = format!("[{} {}]", cut_off(&live), cut_off(&patch));
        return Err(internal(format!(
            "list element types are not identical: {lists}"
        )));
    }
    Ok(Some(first.is_object()))
}

/// Checks that every item has the merge key.
///
/// # Errors
/// 500, as upstream, if an item lacks it.
pub(super) fn require_keys(items: &[Value], merge_key: &str) -> Result<()> {
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

/// The items of a list.
///
/// # Errors
/// 500, as upstream, for another value.
pub(super) fn list_of(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(internal(format!(
            "expected a []interface {{}}, but received a {}",
            go_type(&other)
        ))),
    }
}
