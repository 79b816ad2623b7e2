//! Parsing of the label and field selectors of a query.

use pandaemon_machinery::{Kind, Status, selectable_fields, status::Result};
use pandaemon_types::{FieldSelector, LabelSelector};
use serde_json::Value;

/// Parses `labelSelector`.
///
/// # Errors
/// 400, with the position of the syntax error, or for too many requirements.
pub(crate) fn labels(text: &str) -> Result<LabelSelector> {
    let selector = LabelSelector::parse(text).map_err(|error| Status::bad_request(error.0))?;
    check_count(selector.requirements().len())?;
    Ok(selector)
}

/// Parses `fieldSelector` for objects of `kind`.
///
/// # Errors
/// 400 for a syntax error, too many requirements, or a field that is not selectable.
pub(crate) fn fields(kind: &Kind, text: &str) -> Result<FieldSelector> {
    let selector = FieldSelector::parse(text).map_err(|error| Status::bad_request(error.0))?;
    check_count(selector.requirements().len())?;
    for requirement in selector.requirements() {
        check_supported(kind, &requirement.field)?;
    }
    Ok(selector)
}

/// Most requirements of a selector in a query. Every object of a list is compared with each, so
/// that thousands would cost as much as thousands of lists.
const MAX_REQUIREMENTS: usize = 200;

fn check_count(count: usize) -> Result<()> {
    if count <= MAX_REQUIREMENTS {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "too many requirements in the selector: {count}, at most {MAX_REQUIREMENTS} are allowed"
    )))
}

fn check_supported(kind: &Kind, name: &str) -> Result<()> {
    let always = name == "metadata.name" || name == "metadata.namespace";
    if always || selectable_fields::field_value(kind, &Value::Null, name).is_some() {
        return Ok(());
    }
    // Upstream's text differs between kinds with and without selectable fields of their own.
    let text = if kind.selectable_fields.is_empty() {
        format!(
            "{name:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        )
    } else {
        format!("field label not supported: {name}")
    };
    Err(Status::bad_request(text))
}
