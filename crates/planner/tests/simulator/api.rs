//! The API server: objects as JSON, one counter of resource versions, a log per kind that watches
//! read, and the requests of `api/requests.rs`.

mod admission;
mod patch;
mod requests;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use serde_json::{Value, json};

pub(crate) use self::{
    admission::Admission,
    patch::PatchForm,
    requests::{Maker, Refusal},
};
use crate::{
    objects::{Node, Pod, Revision, Set},
    value::{Key, Text, time_text},
};

/// The kinds of objects that the controller reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Sets,
    Revisions,
    Nodes,
    Pods,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Sets, Self::Revisions, Self::Nodes, Self::Pods];

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// An object that was read from its JSON.
#[derive(Debug, Clone)]
pub(crate) enum Object {
    Set(Set),
    Revision(Revision),
    Node(Node),
    Pod(Pod),
}

/// One version of an object.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) json: Value,
    pub(crate) object: Object,
}

impl Stored {
    pub(crate) fn read(kind: Kind, json: Value) -> Self {
        let object = match kind {
            Kind::Sets => Object::Set(Set::read(&json)),
            Kind::Revisions => Object::Revision(Revision::read(&json)),
            Kind::Nodes => Object::Node(Node::read(&json)),
            Kind::Pods => Object::Pod(Pod::read(&json)),
        };
        Self { json, object }
    }

    pub(crate) const fn kind(&self) -> Kind {
        match &self.object {
            Object::Set(_) => Kind::Sets,
            Object::Revision(_) => Kind::Revisions,
            Object::Node(_) => Kind::Nodes,
            Object::Pod(_) => Kind::Pods,
        }
    }

    pub(crate) fn key(&self) -> Key {
        match &self.object {
            Object::Set(set) => set.key.clone(),
            Object::Revision(revision) => revision.key.clone(),
            Object::Node(node) => Key::new("", &node.name),
            Object::Pod(pod) => pod.key.clone(),
        }
    }

    pub(crate) const fn uid(&self) -> &Text {
        match &self.object {
            Object::Set(set) => &set.uid,
            Object::Revision(revision) => &revision.uid,
            Object::Node(node) => &node.uid,
            Object::Pod(pod) => &pod.uid,
        }
    }

    pub(crate) const fn version(&self) -> u64 {
        match &self.object {
            Object::Set(set) => set.version,
            Object::Revision(revision) => revision.version,
            Object::Node(node) => node.version,
            Object::Pod(pod) => pod.version,
        }
    }

    pub(crate) const fn pod(&self) -> Option<&Pod> {
        match &self.object {
            Object::Pod(pod) => Some(pod),
            _ => None,
        }
    }
}

/// One change in the log of a kind.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The version of the change; for a removal it is newer than the object's last version.
    pub(crate) version: u64,
    /// When it was made, in milliseconds.
    pub(crate) at: i64,
    pub(crate) stored: Rc<Stored>,
    pub(crate) gone: bool,
}

/// The server's state.
#[derive(Debug, Default)]
pub(crate) struct Api {
    pub(crate) now: i64,
    pub(crate) version: u64,
    pub(crate) logs: [Vec<Entry>; 4],
    objects: [BTreeMap<Key, Rc<Stored>>; 4],
    /// The keys of pods by uid.
    pod_keys: BTreeMap<Text, Key>,
    /// The uids of the pods of each node, bound or meant for it.
    on: BTreeMap<Text, BTreeSet<Text>>,
    /// Namespaces that are being deleted.
    pub(crate) terminating: BTreeSet<Text>,
    pub(crate) admission: Admission,
    /// Who asked for a pod, by the pod's uid; users are left out.
    pub(crate) makers: BTreeMap<Text, Maker>,
    /// The keys of all pods that ever existed.
    pub(crate) names: BTreeSet<Key>,
    uids: u64,
}

impl Api {
    pub(crate) fn new(now: i64) -> Self {
        Self {
            now,
            ..Self::default()
        }
    }

    // === reading ===

    pub(crate) fn get(&self, kind: Kind, key: &Key) -> Option<&Rc<Stored>> {
        self.objects[kind.index()].get(key)
    }

    pub(crate) fn sets(&self) -> impl Iterator<Item = &Set> {
        let sets = self.objects[Kind::Sets.index()].values();
        sets.filter_map(|stored| match &stored.object {
            Object::Set(set) => Some(set),
            _ => None,
        })
    }

    pub(crate) fn set(&self, key: &Key) -> Option<&Set> {
        match &self.get(Kind::Sets, key)?.object {
            Object::Set(set) => Some(set),
            _ => None,
        }
    }

    pub(crate) fn revisions(&self) -> impl Iterator<Item = &Revision> {
        let revisions = self.objects[Kind::Revisions.index()].values();
        revisions.filter_map(|stored| match &stored.object {
            Object::Revision(revision) => Some(revision),
            _ => None,
        })
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        let nodes = self.objects[Kind::Nodes.index()].values();
        nodes.filter_map(|stored| match &stored.object {
            Object::Node(node) => Some(node),
            _ => None,
        })
    }

    pub(crate) fn node(&self, name: &str) -> Option<&Node> {
        match &self.get(Kind::Nodes, &Key::new("", name))?.object {
            Object::Node(node) => Some(node),
            _ => None,
        }
    }

    pub(crate) fn pods(&self) -> impl Iterator<Item = &Pod> {
        let pods = self.objects[Kind::Pods.index()].values();
        pods.filter_map(|stored| stored.pod())
    }

    pub(crate) fn pod(&self, uid: &str) -> Option<&Pod> {
        self.get(Kind::Pods, self.pod_keys.get(uid)?)?.pod()
    }

    /// The pods that are bound to a node or meant for it.
    pub(crate) fn pods_on(&self, node: &str) -> impl Iterator<Item = &Pod> {
        let uids = self.on.get(node).into_iter().flatten();
        uids.filter_map(|uid| self.pod(uid))
    }

    /// What a list at a version holds.
    pub(crate) fn list(&self, kind: Kind, version: u64) -> Vec<Rc<Stored>> {
        let mut state: BTreeMap<Key, Rc<Stored>> = BTreeMap::new();
        let entries = self.logs[kind.index()].iter();
        for entry in entries.take_while(|entry| entry.version <= version) {
            if entry.gone {
                state.remove(&entry.stored.key());
            } else {
                state.insert(entry.stored.key(), Rc::clone(&entry.stored));
            }
        }
        state.into_values().collect()
    }

    // === writing, without any check ===

    pub(crate) fn new_uid(&mut self, kind: &str) -> String {
        self.uids += 1;
        format!("{kind}-{}", self.uids)
    }

    /// Stores an object under its key with the next version.
    pub(crate) fn put(&mut self, kind: Kind, mut json: Value) -> Rc<Stored> {
        self.version += 1;
        json["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let stored = Rc::new(Stored::read(kind, json));
        self.log(&stored, false);
        if let Some(pod) = stored.pod() {
            self.names.insert(pod.key.clone());
            self.pod_keys.insert(pod.uid.clone(), pod.key.clone());
            if let Some(node) = pod.place() {
                let on = self.on.entry(node.clone()).or_default();
                on.insert(pod.uid.clone());
            }
        }
        self.objects[kind.index()].insert(stored.key(), Rc::clone(&stored));
        stored
    }

    /// Changes an object, if it exists; without a change no version is made.
    pub(crate) fn edit(
        &mut self,
        kind: Kind,
        key: &Key,
        change: impl FnOnce(&mut Value),
    ) -> Option<Rc<Stored>> {
        let old = Rc::clone(self.get(kind, key)?);
        let mut json = old.json.clone();
        change(&mut json);
        if json == old.json {
            return Some(old);
        }
        Some(self.put(kind, json))
    }

    pub(crate) fn edit_pod(&mut self, uid: &str, change: impl FnOnce(&mut Value)) {
        if let Some(key) = self.pod_keys.get(uid).cloned() {
            self.edit(Kind::Pods, &key, change);
        }
    }

    pub(crate) fn remove(&mut self, kind: Kind, key: &Key) {
        let Some(stored) = self.objects[kind.index()].remove(key) else {
            return;
        };
        self.version += 1;
        self.log(&stored, true);
        if let Some(pod) = stored.pod() {
            self.pod_keys.remove(&pod.uid);
            if let Some(on) = pod.place().and_then(|node| self.on.get_mut(node)) {
                on.remove(&pod.uid);
            }
        }
    }

    pub(crate) fn remove_pod(&mut self, uid: &str) {
        if let Some(key) = self.pod_keys.get(uid).cloned() {
            self.remove(Kind::Pods, &key);
        }
    }

    /// Deletes a pod without any check: at once if it is not bound, else its kubelet ends it.
    pub(crate) fn delete_pod(&mut self, uid: &str) {
        let now = time_text(self.now);
        match self.pod(uid) {
            Some(pod) if pod.node.is_none() => self.remove_pod(uid),
            Some(pod) if !pod.deleting => self.edit_pod(uid, |pod| {
                pod["metadata"]["deletionTimestamp"] = json!(now);
            }),
            Some(_) | None => {}
        }
    }

    fn log(&mut self, stored: &Rc<Stored>, gone: bool) {
        let (version, at) = (self.version, self.now);
        self.logs[stored.kind().index()].push(Entry {
            version,
            at,
            stored: Rc::clone(stored),
            gone,
        });
    }
}
