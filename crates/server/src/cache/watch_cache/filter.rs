//! Selections of lists and watches: namespace, label selector, field selector.

use std::sync::Arc;

use pandaemon_machinery::{KindRef, selectable_fields};
use pandaemon_types::{FieldSelector, LabelSelector};

use super::event::{Change, ChangeKind};
use crate::cache::object::Object;

/// The place of a watcher in the watcher index: the narrowest set of objects that contains its
/// selection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every object of the kind.
    All,
    /// Every object of this namespace.
    Namespace(Box<str>),
    /// One object: `NAMESPACE/NAME`, or `/NAME` for cluster-scoped kinds.
    Object(Box<str>),
    /// Every object with this value in the field by which the kind is indexed: every pod of a node.
    Indexed(Box<str>),
}

/// The selection of a list or watch. Upstream: `storage.SelectionPredicate`.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The kind, which defines the selectable fields.
    pub kind: KindRef,
    /// The namespace of the request; `None` for all namespaces.
    pub namespace: Option<Box<str>>,
    /// The label selector that objects must match.
    pub labels: LabelSelector,
    /// The field selector that objects must match.
    pub fields: FieldSelector,
}

impl Filter {
    /// The narrowest scope that contains everything this filter selects.
    #[must_use]
    pub fn scope(&self) -> Scope {
        let name = self.fields.exact("metadata.name");
        let namespace = self
            .namespace
            .as_deref()
            .or_else(|| self.fields.exact("metadata.namespace"));
        match (name, namespace) {
            (Some(name), Some(namespace)) => Scope::Object(format!("{namespace}/{name}").into()),
            (Some(name), None) if !self.kind.is_namespaced() => {
                Scope::Object(format!("/{name}").into())
            }
            _ => match (self.indexed_value(), namespace) {
                (Some(value), _) => Scope::Indexed(value.into()),
                (_, Some(namespace)) => Scope::Namespace(namespace.into()),
                _ => Scope::All,
            },
        }
    }

    /// The value that it asks for in the field by which the kind is indexed.
    fn indexed_value(&self) -> Option<&str> {
        let index = self.kind.strategy.indexed_field()?;
        self.fields.exact(index.path)
    }

    /// Whether it selects every object of its namespace.
    #[must_use]
    pub fn selects_all(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether it selects the object.
    #[must_use]
    pub fn matches(&self, object: &Object) -> bool {
        self.namespace
            .as_deref()
            .is_none_or(|namespace| namespace == object.namespace())
            && self.labels.matches(object)
            && self.matches_fields(object)
    }

    fn matches_fields(&self, object: &Object) -> bool {
        let mut parsed = None;
        let index = self.kind.strategy.indexed_field().map(|index| index.path);
        self.fields.requirements().iter().all(|field| {
            let equal = match &*field.field {
                "metadata.name" => object.name() == field.value,
                "metadata.namespace" => object.namespace() == field.value,
                path if Some(path) == index => object.indexed_value() == field.value,
                other => {
                    let value = parsed.get_or_insert_with(|| object.value().ok());
                    let found = value
                        .as_ref()
                        .and_then(|v| selectable_fields::field_value(&self.kind, v, other));
                    found.unwrap_or_default() == field.value
                }
            };
            equal == field.equal
        })
    }

    /// The type of the event for a watcher with this filter; `None` if neither the old nor the new
    /// object is selected. An object that starts to match is ADDED, one that stops matching is
    /// DELETED.
    #[must_use]
    pub fn change_kind(&self, change: &Change) -> Option<ChangeKind> {
        let selected =
            |object: &Option<Arc<Object>>| object.as_ref().is_some_and(|o| self.matches(o));
        match (selected(&change.before), selected(&change.now)) {
            (false, false) => None,
            (false, true) => Some(ChangeKind::Added),
            (true, true) => Some(ChangeKind::Modified),
            (true, false) => Some(ChangeKind::Deleted),
        }
    }
}
