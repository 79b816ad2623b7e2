//! Checks an applied configuration against the field tables (structured-merge-diff's
//! `typed.AsTyped`).

use std::{collections::BTreeSet, fmt};

use serde_json::Value;

use super::{merge_type::MergeType, path_element};
use crate::bounds::Texts;

/// The errors of a configuration: fields that the kind does not have, list items without their key
/// fields or with the keys of another item. Upstream's texts, one for each of the first errors.
pub(super) fn errors(merge_type: MergeType<'_>, config: &Value) -> Texts {
    let mut errors = Texts::default();
    let root = Path {
        parent: None,
        step: format_args!(""),
    };
    collect(merge_type, config, &root, &mut errors);
    errors
}

/// The path of a value, which becomes text only for an error.
struct Path<'a> {
    parent: Option<&'a Self>,
    step: fmt::Arguments<'a>,
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        f.write_fmt(self.step)
    }
}

fn collect(merge_type: MergeType<'_>, value: &Value, at: &Path<'_>, errors: &mut Texts) {
    match (merge_type, value) {
        (MergeType::Struct(_) | MergeType::Map(_), Value::Object(fields)) => {
            for (name, value) in fields {
                match merge_type.field(name) {
                    Some(MergeType::Atomic) => {}
                    Some(child) => {
                        let path = Path {
                            parent: Some(at),
                            step: format_args!(".{name}"),
                        };
                        collect(child, value, &path, errors);
                    }
                    None => {
                        errors.add(format_args!("{at}.{name}: field not declared in schema"));
                    }
                }
            }
        }
        (MergeType::ListSet | MergeType::ListMap(..), Value::Array(items)) => {
            let mut seen = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                match merge_type.element(item) {
                    Err(key) => errors.add(format_args!(
                        "{at}: element {index}: associative list with keys has an element that omits \
                         key field {key:?} (and doesn't have default value)"
                    )),
                    Ok(element) => {
                        let shown = path_element::display(&element);
                        let path = Path {
                            parent: Some(at),
                            step: format_args!("{shown}"),
                        };
                        collect(merge_type.item(), item, &path, errors);
                        if !seen.insert(element) {
                            errors.add(format_args!("{at}: duplicate entries for key {shown}"));
                        }
                    }
                }
            }
        }
        _ => {}
    }
}
