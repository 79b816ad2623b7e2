//! Checks an applied configuration against the field tables (structured-merge-diff's
//! `typed.AsTyped`).

use std::{collections::BTreeSet, fmt};

use serde_json::Value;

use super::{merge_type::MergeType, path_element};

/// Most errors that are collected. Each holds its path: all together could be much longer than the
/// configuration.
const MAX_ERRORS: usize = 100;

/// The errors of a configuration: fields that the kind does not have, list items without their key
/// fields or with the keys of another item. Upstream's texts, one for each error.
pub(super) fn errors(merge_type: MergeType<'_>, config: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    collect(merge_type, config, &Place::Root, &mut errors);
    errors
}

/// The path to a value. It is written for an error only.
enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    /// An item of a list, as the text of a path element.
    Item(&'a Place<'a>, &'a str),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, element) => {
                write!(f, "{parent}{}", path_element::display(element))
            }
        }
    }
}

fn collect(merge_type: MergeType<'_>, value: &Value, at: &Place<'_>, errors: &mut Vec<String>) {
    match (merge_type, value) {
        (MergeType::Struct(_) | MergeType::Map(_), Value::Object(fields)) => {
            for (name, value) in fields {
                let place = Place::Field(at, name);
                match merge_type.field(name) {
                    Some(MergeType::Atomic) => {}
                    Some(child) => collect(child, value, &place, errors),
                    None => add(errors, || format!("{place}: field not declared in schema")),
                }
            }
        }
        (MergeType::ListSet | MergeType::ListMap(..), Value::Array(items)) => {
            let mut seen = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                match merge_type.element(item) {
                    Err(key) => add(errors, || {
                        format!(
                            "{at}: element {index}: associative list with keys has an element that \
                             omits key field {key:?} (and doesn't have default value)"
                        )
                    }),
                    Ok(element) => {
                        let place = Place::Item(at, &element);
                        collect(merge_type.item(), item, &place, errors);
                        if seen.contains(&element) {
                            let shown = path_element::display(&element);
                            add(errors, || {
                                format!("{at}: duplicate entries for key {shown}")
                            });
                        }
                        seen.insert(element);
                    }
                }
            }
        }
        _ => {}
    }
}

fn add(errors: &mut Vec<String>, error: impl FnOnce() -> String) {
    if errors.len() < MAX_ERRORS {
        errors.push(error());
    }
}
