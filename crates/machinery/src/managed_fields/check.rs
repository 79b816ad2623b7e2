//! Checks an applied configuration against the field tables (structured-merge-diff's
//! `typed.AsTyped`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::{merge_type::MergeType, path_element};

/// The errors of a configuration: fields that the kind does not have, list items without their key
/// fields or with the keys of another item. Upstream's texts, one for each error.
pub(super) fn errors(merge_type: MergeType<'_>, config: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    collect(merge_type, config, "", &mut errors);
    errors
}

fn collect(merge_type: MergeType<'_>, value: &Value, at: &str, errors: &mut Vec<String>) {
    match (merge_type, value) {
        (MergeType::Struct(_) | MergeType::Map(_), Value::Object(fields)) => {
            for (name, value) in fields {
                match merge_type.field(name) {
                    Some(MergeType::Atomic) => {}
                    Some(child) => collect(child, value, &format!("{at}.{name}"), errors),
                    None => errors.push(format!("{at}.{name}: field not declared in schema")),
                }
            }
        }
        (MergeType::ListSet | MergeType::ListMap(..), Value::Array(items)) => {
            let mut seen = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                match merge_type.element(item) {
                    Err(key) => errors.push(format!(
                        "{at}: element {index}: associative list with keys has an element that omits \
                         key field {key:?} (and doesn't have default value)"
                    )),
                    Ok(element) => {
                        let shown = path_element::display(&element);
                        collect(merge_type.item(), item, &format!("{at}{shown}"), errors);
                        if !seen.insert(element) {
                            errors.push(format!("{at}: duplicate entries for key {shown}"));
                        }
                    }
                }
            }
        }
        _ => {}
    }
}
