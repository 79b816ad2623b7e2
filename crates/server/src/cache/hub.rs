//! Who wants to know: watchers by the narrowest thing they ask for, so that a change is offered only
//! to those that can be interested.

use std::{collections::HashMap, sync::Arc};

use pandaemon_machinery::{Kind, selectable_fields};
use pandaemon_types::{FieldSelector, LabelSelector};

use super::{event::ChangeKind, event::Event, watcher::Watcher};
use crate::object::Object;

/// Where a watcher hangs in the index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every object of the kind.
    All,
    /// One namespace.
    Namespace(Box<str>),
    /// One object: `NAMESPACE/NAME`, or `/NAME` for those without a namespace.
    Object(Box<str>),
    /// Pods of one node.
    Node(Box<str>),
}

/// What a watch or list selects.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The kind, for the fields it can be selected by.
    pub kind: &'static Kind,
    /// The namespace asked for, if any.
    pub namespace: Option<Box<str>>,
    /// By label.
    pub labels: LabelSelector,
    /// By field.
    pub fields: FieldSelector,
}

impl Filter {
    /// The narrowest place in the index that sees everything this filter selects.
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
            _ => match (self.fields.exact("spec.nodeName"), namespace) {
                (Some(node), _) if self.kind.storage == "pods" => Scope::Node(node.into()),
                (_, Some(namespace)) => Scope::Namespace(namespace.into()),
                _ => Scope::All,
            },
        }
    }

    /// Whether it lets everything of its namespace through.
    #[must_use]
    pub fn is_open(&self) -> bool {
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
        self.fields.requirements().iter().all(|field| {
            let equal = match &*field.field {
                "metadata.name" => object.name() == field.value,
                "metadata.namespace" => object.namespace() == field.value,
                "spec.nodeName" if self.kind.storage == "pods" => object.node() == field.value,
                other => {
                    let value = parsed.get_or_insert_with(|| object.value().ok());
                    let found = value
                        .as_ref()
                        .and_then(|v| selectable_fields::field_value(self.kind, v, other));
                    found.unwrap_or_default() == field.value
                }
            };
            equal == field.equal
        })
    }

    /// What the change is to one with this filter; `None` if it does not concern it.
    #[must_use]
    pub fn change(&self, event: &Event) -> Option<ChangeKind> {
        let selected =
            |object: &Option<Arc<Object>>| object.as_ref().is_some_and(|o| self.matches(o));
        match (selected(&event.before), selected(&event.now)) {
            (false, false) => None,
            (false, true) => Some(ChangeKind::Added),
            (true, true) => Some(ChangeKind::Modified),
            (true, false) => Some(ChangeKind::Deleted),
        }
    }
}

type Bucket = Vec<Arc<Watcher>>;

/// All watchers of one kind.
#[derive(Debug, Default)]
pub(super) struct Hub {
    buckets: HashMap<Scope, Bucket>,
    count: usize,
    closed: bool,
}

impl Hub {
    /// Adds a watcher.
    pub(super) fn add(&mut self, watcher: Arc<Watcher>) {
        if self.closed {
            // Who comes after the end is told so at once.
            return watcher.close();
        }
        self.count += 1;
        self.buckets
            .entry(watcher.scope.clone())
            .or_default()
            .push(watcher);
    }

    /// Removes a watcher.
    pub(super) fn remove(&mut self, watcher: &Arc<Watcher>) {
        let Some(bucket) = self.buckets.get_mut(&watcher.scope) else {
            return;
        };
        if let Some(at) = bucket.iter().position(|other| Arc::ptr_eq(other, watcher)) {
            bucket.swap_remove(at);
            self.count -= 1;
        }
        if bucket.is_empty() {
            self.buckets.remove(&watcher.scope);
        }
    }

    /// Offers a change to everybody who can be interested in it.
    pub(super) fn publish(&mut self, event: &Arc<Event>) {
        if self.buckets.is_empty() {
            return;
        }
        let Some(object) = event.any() else { return };
        let (namespace, name) = (object.namespace(), object.name());
        self.offer(&Scope::All, event);
        if !namespace.is_empty() {
            self.offer(&Scope::Namespace(namespace.into()), event);
        }
        self.offer(&Scope::Object(format!("{namespace}/{name}").into()), event);
        if object.key.starts_with("/pods/") {
            self.publish_to_nodes(event);
        }
    }

    fn publish_to_nodes(&mut self, event: &Arc<Event>) {
        let now = event.now.as_ref().map(|pod| pod.node());
        let before = event.before.as_ref().map(|pod| pod.node());
        for node in [now, before.filter(|before| Some(*before) != now)]
            .into_iter()
            .flatten()
        {
            self.offer(&Scope::Node(node.into()), event);
        }
    }

    fn offer(&mut self, scope: &Scope, event: &Arc<Event>) {
        let Some(bucket) = self.buckets.get_mut(scope) else {
            return;
        };
        let before = bucket.len();
        bucket.retain(|watcher| watcher.offer(event));
        self.count -= before - bucket.len();
        if bucket.is_empty() {
            self.buckets.remove(scope);
        }
    }

    /// Ends all watches.
    pub(super) fn close(&mut self) {
        for watcher in self.buckets.values().flatten() {
            watcher.close();
        }
        self.buckets.clear();
        self.count = 0;
        self.closed = true;
    }

    /// How many there are.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.count
    }
}
