//! Table printers: the `meta.k8s.io/v1 Table` that `kubectl get` shows (upstream's
//! `TableConvertor`).
//!
//! Columns and cells are those of `k8s.io/kubernetes/pkg/printers/internalversion`. The client only
//! aligns the cells, so texts and ages are made here.

mod age;
pub(crate) mod cells;
pub(crate) mod columns;
pub(crate) mod event;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod plain;
pub(crate) mod pod;
pub(crate) mod workload;

use serde_json::{Value, json};

use crate::{Kind, json_fields::ReadFields};

pub use age::human_duration;
pub use cells::Clock;
pub(crate) use columns::*;
pub use columns::{Column, Printer};

/// The query parameter `includeObject`: what a row holds beside its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IncludeObject {
    /// Rows carry no object (`includeObject=None`).
    None,
    /// The metadata as `PartialObjectMetadata` (the default).
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

/// The `columnDefinitions` of a kind.
#[must_use]
pub fn columns(kind: &Kind) -> Value {
    let columns = kind.strategy.printer().columns.iter();
    columns.map(Column::definition).collect()
}

/// One entry of `rows`, with `cells`, `object` and for a finished pod `conditions`. `now_seconds`
/// is the time of the request in seconds since 1970, for ages.
#[must_use]
pub fn row(kind: &Kind, object: &Value, include: IncludeObject, now_seconds: i64) -> Value {
    let cells = (kind.strategy.printer().cells)(object, Clock::at(now_seconds));
    let mut row = json!({ "cells": cells, "object": included(object, include) });
    if let Some(conditions) = kind.strategy.row_conditions(object) {
        row["conditions"] = conditions;
    }
    row
}

fn included(object: &Value, include: IncludeObject) -> Value {
    match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Object => object.clone(),
        IncludeObject::Metadata => json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": object["metadata"],
        }),
    }
}

/// The string field `field` of the item of this `type` in a list, or `""`.
fn text_of_type<'a>(items: &'a [Value], of_type: &str, field: &str) -> &'a str {
    let item = items.iter().find(|item| item.text("type") == of_type);
    item.map_or("", |item| item.text(field))
}

/// `text`, or `<none>` if it is empty.
fn or_none(text: &str) -> String {
    if text.is_empty() {
        "<none>".to_owned()
    } else {
        text.to_owned()
    }
}

/// Labels as `a=1,b=2`, or `<none>` (upstream's `labels.FormatLabels`).
fn format_labels(labels: &Value) -> String {
    let pairs: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    or_none(&pairs.join(","))
}

#[cfg(test)]
mod tests;
