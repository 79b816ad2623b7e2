//! The contents of responses in the negotiated form: objects, Tables or metadata only; JSON or
//! YAML.

use pandaemon_machinery::{Kind, table};
use serde_json::{Value, json};

use crate::{
    http::negotiate::{Encoding, Form, Shape},
    registry::list_meta::ListMeta,
};

/// How objects are written into a response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    /// The negotiated encoding and shape.
    pub form: Form,
    /// What a row of a Table contains of its object (`includeObject`).
    pub include: table::IncludeObject,
    /// The current Unix time in seconds, for ages in Tables.
    pub now_seconds: i64,
}

impl View {
    /// Whether the form is that of the stored bytes.
    #[must_use]
    pub(crate) fn is_plain_json(&self) -> bool {
        self.form == Form::default()
    }

    /// The version of `meta.k8s.io`, if the form is compact JSON of metadata only.
    #[must_use]
    pub(crate) fn metadata_json(&self) -> Option<&'static str> {
        match (self.form.encoding, self.form.shape, self.form.pretty) {
            (Encoding::Json, Shape::Metadata(version), false) => Some(version),
            _ => None,
        }
    }
}

/// Writes a value in the negotiated encoding.
#[must_use]
pub(crate) fn encode(form: &Form, value: &Value) -> Vec<u8> {
    let written = match (form.encoding, form.pretty) {
        (Encoding::Json, false) => serde_json::to_vec(value).map_err(|e| e.to_string()),
        (Encoding::Json, true) => serde_json::to_vec_pretty(value).map_err(|e| e.to_string()),
        (Encoding::Yaml, _) => serde_saphyr::to_string(value)
            .map(String::into_bytes)
            .map_err(|e| e.to_string()),
    };
    written.unwrap_or_else(|error| {
        tracing::error!(%error, "cannot encode a response");
        Vec::new()
    })
}

/// Writes a value in the negotiated encoding, with a line feed at the end.
#[must_use]
pub(crate) fn encode_line(form: &Form, value: &Value) -> Vec<u8> {
    let mut line = encode(form, value);
    if line.last() != Some(&b'\n') {
        line.push(b'\n');
    }
    line
}

/// An object in the negotiated shape. `with_columns` adds the column definitions to a Table.
#[must_use]
pub(crate) fn shape_one(kind: &Kind, view: &View, value: Value, with_columns: bool) -> Value {
    match view.form.shape {
        Shape::Plain => value,
        Shape::Metadata(version) => metadata_only(&value, version),
        Shape::Table(version) => {
            let list = ListMeta {
                resource_version: value["metadata"]["resourceVersion"]
                    .as_str()
                    .unwrap_or_default()
                    .into(),
                ..ListMeta::default()
            };
            let row = table::row(kind, &value, view.include, view.now_seconds);
            table_of(kind, version, &list, vec![row], with_columns)
        }
    }
}

fn metadata_only(value: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": value["metadata"],
    })
}

fn table_of(
    kind: &Kind,
    version: &str,
    list: &ListMeta,
    rows: Vec<Value>,
    with_columns: bool,
) -> Value {
    let columns = if with_columns {
        table::columns(kind)
    } else {
        Value::Array(Vec::new())
    };
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": list.value(),
        "columnDefinitions": columns,
        "rows": rows,
    })
}

/// The object of a bookmark event in the negotiated shape.
#[must_use]
pub(crate) fn bookmark(kind: &Kind, view: &View, metadata: Value) -> Value {
    match view.form.shape {
        Shape::Plain => {
            json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata})
        }
        Shape::Metadata(version) => json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": format!("meta.k8s.io/{version}"),
            "metadata": metadata,
        }),
        Shape::Table(version) => {
            let resource_version = metadata["resourceVersion"].clone();
            let object = json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            });
            json!({
                "kind": "Table",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": {"resourceVersion": resource_version},
                "columnDefinitions": [],
                "rows": [{"cells": [], "object": object}],
            })
        }
    }
}

/// A list without items in the negotiated shape, and the name of the field of its items.
pub(crate) fn empty_list(kind: &Kind, view: &View, meta: &ListMeta) -> (Value, &'static str) {
    let (kind, api_version) = match view.form.shape {
        Shape::Plain => (kind.list_kind.as_str(), kind.api_version()),
        Shape::Metadata(version) => (
            "PartialObjectMetadataList",
            format!("meta.k8s.io/{version}"),
        ),
        Shape::Table(version) => return (table_of(kind, version, meta, Vec::new(), true), "rows"),
    };
    let list = json!({
        "kind": kind, "apiVersion": api_version, "metadata": meta.value(), "items": [],
    });
    (list, "items")
}

/// An item of a list in the negotiated shape.
pub(crate) fn shape_item(kind: &Kind, view: &View, value: Value) -> Value {
    match view.form.shape {
        Shape::Plain => item(value),
        Shape::Metadata(version) => metadata_only(&value, version),
        Shape::Table(_) => table::row(kind, &value, view.include, view.now_seconds),
    }
}

fn item(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    value
}
