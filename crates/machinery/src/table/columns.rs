//! Printers and the column definitions of each kind. The descriptions are those of the API
//! documentation.

mod other;
mod workload;

use serde_json::{Value, json};

use super::cells::Clock;

pub(crate) use other::*;
pub(crate) use workload::*;

/// How objects of a kind are shown: its columns, and the function that fills them.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    pub(crate) columns: &'static [Column],
    /// One cell a column.
    pub(crate) cells: fn(&Value, Clock) -> Vec<Value>,
}

/// One column definition (`metav1.TableColumnDefinition`).
#[derive(Debug)]
pub struct Column {
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    description: &'static str,
    /// 0 for a column that is always printed, 1 for one of `-o wide`.
    priority: u8,
}

impl Column {
    /// The JSON form.
    pub(super) fn definition(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.kind,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }
}

const fn column(kind: &'static str, name: &'static str, description: &'static str) -> Column {
    Column {
        name,
        kind,
        format: "",
        description,
        priority: 0,
    }
}

const fn text(name: &'static str, description: &'static str) -> Column {
    column("string", name, description)
}

const fn wide(column: Column) -> Column {
    Column {
        priority: 1,
        ..column
    }
}

const NAME: Column = Column {
    format: "name",
    ..text("Name", NAME_TEXT)
};

const AGE: Column = text("Age", AGE_TEXT);

const NAME_TEXT: &str = "Name must be unique within a namespace. Is required when creating resources, although \
     some resources may allow a client to request the generation of an appropriate name \
     automatically. Name is primarily intended for creation idempotence and configuration \
     definition. Cannot be updated. More info: \
     https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";

const AGE_TEXT: &str = "CreationTimestamp is a timestamp representing the server time when this object was \
     created. It is not guaranteed to be set in happens-before order across separate \
     operations. Clients may not set this value. It is represented in RFC3339 form and is in \
     UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: \
     https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
