//! Table printers: the `meta.k8s.io/v1 Table` that `kubectl get` shows (upstream's
//! `TableConvertor`).
//!
//! Columns and cells are those of `k8s.io/kubernetes/pkg/printers/internalversion`. The client only
//! aligns the cells, so texts and ages are made here.

mod age;
mod columns;
mod event;
mod network;
mod node;
mod plain;
mod pod;
mod workload;

use serde_json::{Value, json};

use crate::Kind;
use crate::json_fields::ReadFields;

pub use age::human_duration;
use columns::Column;

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

/// The time of the request, for ages.
#[derive(Debug, Clone, Copy)]
struct Clock {
    /// Seconds since 1970-01-01T00:00:00Z.
    now_seconds: i64,
}

/// The columns of a kind, and the function that makes the cells of a row.
struct Printer {
    columns: &'static [Column],
    cells: fn(&Value, Clock) -> Vec<Value>,
}

fn printer(kind: &Kind) -> Printer {
    let (columns, cells): (_, fn(&Value, Clock) -> Vec<Value>) = match (kind.group, kind.kind) {
        ("", "Pod") => (columns::POD, pod::cells),
        ("", "Node") => (columns::NODE, node::cells),
        ("apps", "DaemonSet") => (columns::DAEMON_SET, workload::daemon_set),
        ("apps", "ControllerRevision") => (columns::CONTROLLER_REVISION, workload::revision),
        ("", "Service") => (columns::SERVICE, network::service),
        ("", "Endpoints") => (columns::ENDPOINTS, network::endpoints),
        ("discovery.k8s.io", "EndpointSlice") => (columns::ENDPOINT_SLICE, network::endpoint_slice),
        ("" | "events.k8s.io", "Event") => (columns::EVENT, event::cells),
        ("", "Namespace") => (columns::NAMESPACE, plain::namespace),
        ("", "ConfigMap") => (columns::CONFIG_MAP, plain::config_map),
        ("", "Secret") => (columns::SECRET, plain::secret),
        ("", "ServiceAccount") => (columns::SERVICE_ACCOUNT, plain::service_account),
        ("coordination.k8s.io", "Lease") => (columns::LEASE, plain::lease),
        ("scheduling.k8s.io", "PriorityClass") => (columns::PRIORITY_CLASS, plain::priority_class),
        _ => (columns::OTHER, plain::other),
    };
    Printer { columns, cells }
}

/// The `columnDefinitions` of a kind.
#[must_use]
pub fn columns(kind: &Kind) -> Value {
    printer(kind)
        .columns
        .iter()
        .map(Column::definition)
        .collect()
}

/// One entry of `rows`, with `cells`, `object` and for a finished pod `conditions`. `now_seconds`
/// is the time of the request in seconds since 1970, for ages.
#[must_use]
pub fn row(kind: &Kind, object: &Value, include: IncludeObject, now_seconds: i64) -> Value {
    let cells = (printer(kind).cells)(object, Clock { now_seconds });
    let mut row = json!({ "cells": cells, "object": included(object, include) });
    if (kind.group, kind.kind) == ("", "Pod")
        && let Some(conditions) = pod::row_conditions(object)
    {
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

/// The cell with the name of the object.
fn name(object: &Value) -> Value {
    object["metadata"]["name"].clone()
}

impl Clock {
    /// How long ago an RFC 3339 time was, such as `5m10s`; `<unknown>` if it is no time.
    fn since(self, time: &str) -> String {
        age::since(time, self.now_seconds)
    }

    /// The cell with the age of the object.
    fn age(self, object: &Value) -> Value {
        self.since(object["metadata"].text("creationTimestamp"))
            .into()
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
