//! What watches must deliver: computed from the changes of the store alone, with selectors of its
//! own.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use pandaemon_store::{Event as StoreEvent, Key, Revision};
use serde_json::{Value, json};

use crate::cache::{object, watch_cache::key};

use super::super::kind;

pub(super) const PODS: &str = "pods";
pub(super) const KINDS: [&str; 2] = [PODS, "configmaps"];
pub(super) const NAMESPACES: [&str; 2] = ["a", "b"];
pub(super) const NAMES: [&str; 3] = ["x", "y", "z"];
pub(super) const APPS: [&str; 3] = ["", "web", "db"];
pub(super) const NODES: [&str; 3] = ["", "n1", "n2"];
const PHASES: [&str; 2] = ["Pending", "Running"];

/// Namespace and name.
pub(super) type Name = (String, String);

/// The content of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// The label `app`; empty for none.
    pub app: String,
    /// `spec.nodeName` of a pod.
    pub node: String,
    /// `status.phase` of a pod.
    pub phase: String,
    /// Tells states apart.
    pub number: u64,
}

impl Item {
    /// The state of this number. What can be selected follows from `choice`.
    pub(super) fn new(number: u64, choice: u8) -> Self {
        let choice = usize::from(choice);
        Self {
            app: APPS[choice % 3].into(),
            node: NODES[choice / 3 % 3].into(),
            phase: PHASES[choice / 9 % 2].into(),
            number,
        }
    }

    /// The bytes to store.
    pub(super) fn encode(&self, plural: &str, (namespace, name): (&str, &str)) -> Bytes {
        let mut value = json!({"apiVersion": "v1", "kind": kind(plural).kind,
            "metadata": {"name": name, "namespace": namespace,
                "annotations": {"number": self.number.to_string()}}});
        if !self.app.is_empty() {
            value["metadata"]["labels"] = json!({"app": self.app});
        }
        if plural == PODS {
            value["spec"] = json!({"nodeName": self.node});
            value["status"] = json!({"phase": self.phase});
        }
        let index = kind(plural).strategy.indexed_field();
        object::encode(&value, index).unwrap().bytes
    }

    fn of(value: &Value) -> Self {
        let text = |pointer| value.pointer(pointer).and_then(Value::as_str);
        let text = |pointer| text(pointer).unwrap_or_default().to_owned();
        Self {
            app: text("/metadata/labels/app"),
            node: text("/spec/nodeName"),
            phase: text("/status/phase"),
            number: text("/metadata/annotations/number").parse().unwrap(),
        }
    }
}

/// What a client asks for.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    pub plural: &'static str,
    pub namespace: Option<&'static str>,
    pub labels: Labels,
    pub fields: Fields,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Labels {
    All,
    Is(&'static str),
    IsNot(&'static str),
    Absent,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Fields {
    All,
    Name(&'static str),
    NotName(&'static str),
    Namespace(&'static str),
    Node(&'static str),
    Phase(&'static str),
}

impl Selection {
    /// The parameters of the query.
    pub(super) fn query(&self) -> String {
        let labels = match self.labels {
            Labels::All => String::new(),
            Labels::Is(app) => format!("app={app}"),
            Labels::IsNot(app) => format!("app!={app}"),
            Labels::Absent => "!app".into(),
        };
        let fields = match self.fields {
            Fields::All => String::new(),
            Fields::Name(name) => format!("metadata.name={name}"),
            Fields::NotName(name) => format!("metadata.name!={name}"),
            Fields::Namespace(namespace) => format!("metadata.namespace={namespace}"),
            Fields::Node(node) => format!("spec.nodeName={node}"),
            Fields::Phase(phase) => format!("status.phase={phase}"),
        };
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("labelSelector", &labels);
        query.append_pair("fieldSelector", &fields);
        query.finish()
    }

    fn selects(&self, (namespace, name): &Name, item: &Item) -> bool {
        let labels = match self.labels {
            Labels::All => true,
            Labels::Is(app) => item.app == app,
            Labels::IsNot(app) => item.app != app,
            Labels::Absent => item.app.is_empty(),
        };
        let fields = match self.fields {
            Fields::All => true,
            Fields::Name(wanted) => name == wanted,
            Fields::NotName(other) => name != other,
            Fields::Namespace(wanted) => namespace == wanted,
            Fields::Node(node) => item.node == node,
            Fields::Phase(phase) => item.phase == phase,
        };
        labels && fields && self.namespace.is_none_or(|wanted| namespace == wanted)
    }
}

/// A line of a watch: its type, and the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub event: String,
    pub name: Name,
    pub revision: Revision,
    pub item: Item,
}

impl Line {
    pub(super) fn of(event: &str, object: &Value) -> Self {
        let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
        Self {
            event: event.into(),
            name: (text("namespace"), text("name")),
            revision: text("resourceVersion").parse().unwrap(),
            item: Item::of(object),
        }
    }
}

/// Objects with the revision of their last change.
pub(super) type State = BTreeMap<Name, (Item, Revision)>;

/// A change of one object.
#[derive(Debug, Clone)]
struct Change {
    revision: Revision,
    plural: String,
    name: Name,
    before: Option<Item>,
    now: Option<Item>,
}

/// Gives all changes so far.
pub(super) type Source = dyn Fn() -> Arc<Truth> + Send + Sync;

/// All changes of a store.
#[derive(Debug, Clone, Default)]
pub(super) struct Truth {
    changes: Vec<Change>,
    current: BTreeMap<(String, Name), Item>,
    /// How many events of the store are in it.
    events: usize,
}

impl Truth {
    /// How many events of the store it was given.
    pub(super) const fn events(&self) -> usize {
        self.events
    }

    /// Adds the next events.
    pub(super) fn update(&mut self, events: &[StoreEvent]) {
        for event in events {
            let value = event.entry.as_ref().map(|entry| {
                let value: Value = serde_json::from_slice(&entry.value).unwrap();
                Item::of(&value)
            });
            self.change(event.revision, &event.key, value);
        }
        self.events += events.len();
    }

    /// Adds the change of a key.
    pub(super) fn change(&mut self, revision: Revision, key: &str, now: Option<Item>) {
        let mut parts = key.split('/').skip(1).map(str::to_owned);
        let mut part = || parts.next().unwrap();
        let (plural, name) = (part(), (part(), part()));
        let place = (plural.clone(), name.clone());
        let before = match now.clone() {
            Some(now) => self.current.insert(place, now),
            None => self.current.remove(&place),
        };
        self.changes.push(Change {
            revision,
            plural,
            name,
            before,
            now,
        });
    }

    /// The keys that exist.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        let places = self.current.keys();
        places.map(|(plural, (namespace, name))| key(kind(plural), namespace, name))
    }

    fn of(&self, selection: &Selection) -> impl Iterator<Item = &Change> {
        let plural = selection.plural;
        self.changes.iter().filter(move |c| c.plural == plural)
    }

    /// The selected objects at a revision.
    pub(super) fn state_at(&self, selection: &Selection, revision: Revision) -> State {
        let mut state = State::new();
        for change in self.of(selection).filter(|c| c.revision <= revision) {
            let now = change.now.as_ref();
            match now.filter(|item| selection.selects(&change.name, item)) {
                Some(item) => {
                    let now = (item.clone(), change.revision);
                    state.insert(change.name.clone(), now);
                }
                None => drop(state.remove(&change.name)),
            }
        }
        state
    }

    /// The lines of a watch from a revision on.
    pub(super) fn lines(&self, selection: &Selection, after: Revision) -> Vec<Line> {
        let selected = |name: &Name, item: &Option<Item>| {
            let item = item.as_ref();
            item.filter(|item| selection.selects(name, item)).cloned()
        };
        let mut lines = Vec::new();
        for change in self.of(selection).filter(|c| c.revision > after) {
            let before = selected(&change.name, &change.before);
            let (event, item) = match (before, selected(&change.name, &change.now)) {
                (None, None) => continue,
                (None, Some(now)) => ("ADDED", now),
                (Some(_), Some(now)) => ("MODIFIED", now),
                (Some(before), None) => ("DELETED", before),
            };
            lines.push(Line {
                event: event.into(),
                name: change.name.clone(),
                revision: change.revision,
                item,
            });
        }
        lines
    }

    /// The first revision from `least` on at which the object is as a reader has found it.
    pub(super) fn found_at(
        &self,
        (plural, name): (&str, &Name),
        found: Option<Revision>,
        least: Revision,
    ) -> Option<Revision> {
        let is_of = |c: &&Change| c.plural == plural && c.name == *name;
        let own: Vec<&Change> = self.changes.iter().filter(is_of).collect();
        // Between its changes the object is as the last one left it.
        let mut spans = vec![(0, None)];
        spans.extend(own.iter().map(|change| {
            let exists = change.now.is_some();
            (change.revision, exists.then_some(change.revision))
        }));
        let ends = spans.iter().skip(1).map(|(from, _)| *from);
        let ends: Vec<Revision> = ends.chain([Revision::MAX]).collect();
        let mut spans = spans.iter().zip(ends);
        let span = spans.find(|((_, state), end)| *state == found && *end > least);
        span.map(|((from, _), _)| least.max(*from))
    }
}
