//! Who owns whom: a node for each object that is there, and for each uid the objects that name it as their owner.
//!
//! An owner that is named but not (yet) there needs no node: its dependents are found by its uid all the same.

use pandaemon_client::{
    discovery::ApiResource,
    list_watch::Delta,
    object_meta::{Key, Object as _, ObjectMeta, OwnerReference, PartialObjectMetadata},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The finalizer of an object whose dependents go first.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object whose dependents stay.
pub const ORPHAN: &str = "orphan";

/// What the graph keeps of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its kind.
    pub kind: Arc<ApiResource>,
    /// Its namespace and name.
    pub key: Key,
    /// Its version.
    pub version: String,
    /// Its owners.
    pub owners: Arc<[OwnerReference]>,
    /// Deletion has been asked for.
    pub deleting: bool,
    /// It is being deleted and waits for its dependents.
    pub foreground: bool,
    /// It is being deleted and its dependents shall stay.
    pub orphaning: bool,
}

/// A dependent of an object, as far as its deletion cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// Its uid.
    pub uid: String,
    /// What it is.
    pub node: Node,
    /// Whether the owner's foreground deletion waits for it.
    pub blocks: bool,
}

/// Everything that is needed to decide about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The object's uid.
    pub uid: String,
    /// The object.
    pub node: Node,
    /// For each owner what the graph knows.
    pub owners: Vec<(OwnerReference, Seen)>,
    /// Its dependents; only for objects that are being deleted or may be next.
    pub dependents: Vec<Dependent>,
}

/// What the graph knows of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It is there, and not waiting for its dependents.
    There,
    /// It is being deleted and waits for its dependents.
    WaitsForDependents,
    /// It is gone for certain.
    Gone,
    /// It has not been seen: it must be looked for live.
    Unknown,
}

/// What an event has touched.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Objects to decide about.
    pub attempt: Vec<String>,
    /// Objects that are gone for certain.
    pub gone: Vec<String>,
}

/// The graph.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: BTreeMap<String, Node>,
    dependents: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Takes in what has happened to objects of a kind.
    pub fn observe(
        &mut self,
        kind: &Arc<ApiResource>,
        delta: Delta<PartialObjectMetadata>,
    ) -> Touched {
        match delta {
            Delta::Applied(object) => Touched {
                attempt: self.apply(kind, object.metadata),
                gone: Vec::new(),
            },
            Delta::Deleted(object) => self.remove(&object.meta().uid),
            Delta::Listed(objects) => {
                let there: BTreeSet<&str> = objects
                    .iter()
                    .map(|object| object.metadata.uid.as_str())
                    .collect();
                let gone: Vec<String> = self
                    .nodes
                    .iter()
                    .filter(|(uid, node)| *node.kind == **kind && !there.contains(uid.as_str()))
                    .map(|(uid, _)| uid.clone())
                    .collect();
                let mut touched = Touched::default();
                for uid in gone {
                    let more = self.remove(&uid);
                    touched.attempt.extend(more.attempt);
                    touched.gone.extend(more.gone);
                }
                for object in objects {
                    touched.attempt.extend(self.apply(kind, object.metadata));
                }
                touched
            }
        }
    }

    fn apply(&mut self, kind: &Arc<ApiResource>, meta: ObjectMeta) -> Vec<String> {
        let has = |finalizer: &str| meta.finalizers.iter().any(|known| known == finalizer);
        let deleting = meta.is_deleting();
        let node = Node {
            kind: kind.clone(),
            key: meta.key(),
            foreground: deleting && has(FOREGROUND),
            orphaning: deleting && has(ORPHAN),
            deleting,
            version: meta.resource_version,
            owners: meta.owner_references,
        };
        let uid = meta.uid;
        let old = self.nodes.get(&uid);
        let owners_changed = old.map_or(&[][..], |old| &*old.owners) != &*node.owners;
        let began = |now: bool, was: fn(&Node) -> bool| now && !old.is_some_and(was);
        let mut attempt = Vec::new();
        // A change of owners is looked at, and so is the beginning of a deletion with a finalizer of ours.
        let suspicious = owners_changed && self.is_suspect(&node);
        if suspicious
            || began(node.foreground, |old| old.foreground)
            || began(node.orphaning, |old| old.orphaning)
        {
            attempt.push(uid.clone());
        }
        // An owner that waits for its dependents may have been waiting for this reference to go.
        let lost: Vec<String> = old
            .map(|old| {
                old.owners
                    .iter()
                    .filter(|owner| !node.owners.contains(owner))
            })
            .into_iter()
            .flatten()
            .map(|owner| owner.uid.clone())
            .collect();
        for owner in &lost {
            self.unlink(owner, &uid);
            attempt.extend(self.is_free(owner).then(|| owner.clone()));
        }
        for owner in node.owners.iter() {
            self.dependents
                .entry(owner.uid.clone())
                .or_default()
                .insert(uid.clone());
        }
        self.nodes.insert(uid, node);
        attempt
    }

    fn is_suspect(&self, node: &Node) -> bool {
        node.owners
            .iter()
            .any(|owner| self.seen(node, owner) != Seen::There)
    }

    /// Takes an object out. Its dependents are to be decided about, and owners that waited for it.
    pub fn remove(&mut self, uid: &str) -> Touched {
        let mut touched = Touched::default();
        if let Some(node) = self.nodes.remove(uid) {
            for owner in node.owners.iter() {
                self.unlink(&owner.uid, uid);
                let free = self.is_free(&owner.uid);
                touched.attempt.extend(free.then(|| owner.uid.clone()));
            }
        }
        touched
            .attempt
            .extend(self.dependents.get(uid).into_iter().flatten().cloned());
        touched.gone.push(uid.to_owned());
        touched
    }

    /// Whether an owner that waits for its dependents need wait no longer. Asked when one of them goes, so that the end
    /// of thousands is one decision about their owner and not thousands.
    fn is_free(&self, owner: &str) -> bool {
        self.nodes.get(owner).is_some_and(|node| node.foreground)
            && !self
                .dependents
                .get(owner)
                .into_iter()
                .flatten()
                .filter_map(|dependent| self.nodes.get(dependent))
                .any(|dependent| blocks(dependent, owner))
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }

    /// Forgets all objects of a kind that is no longer served, without drawing conclusions.
    pub fn forget_kind(&mut self, kind: &ApiResource) {
        let gone: Vec<String> = self
            .nodes
            .iter()
            .filter(|(_, node)| *node.kind == *kind)
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in gone {
            self.remove(&uid);
        }
    }

    /// Objects that have an owner which is not there.
    #[must_use]
    pub fn suspects(&self) -> Vec<String> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.foreground || node.orphaning || self.is_suspect(node))
            .map(|(uid, _)| uid.clone())
            .collect()
    }

    /// Everything that is needed to decide about an object; `None` if there is nothing to decide.
    #[must_use]
    pub fn case(&self, uid: &str, absent: &BTreeSet<String>) -> Option<Case> {
        let node = self.nodes.get(uid)?;
        let owners: Vec<(OwnerReference, Seen)> = node
            .owners
            .iter()
            .map(|owner| {
                let seen = match self.seen(node, owner) {
                    Seen::Unknown if absent.contains(&owner.uid) => Seen::Gone,
                    seen => seen,
                };
                (owner.clone(), seen)
            })
            .collect();
        let dependents = self
            .dependents
            .get(uid)
            .into_iter()
            .flatten()
            .filter_map(|dependent| self.dependent(uid, dependent))
            .collect();
        Some(Case {
            uid: uid.to_owned(),
            node: node.clone(),
            owners,
            dependents,
        })
    }

    fn dependent(&self, owner: &str, uid: &str) -> Option<Dependent> {
        let node = self.nodes.get(uid)?;
        let blocks = blocks(node, owner);
        Some(Dependent {
            uid: uid.to_owned(),
            node: node.clone(),
            blocks,
        })
    }

    fn seen(&self, dependent: &Node, owner: &OwnerReference) -> Seen {
        let Some(node) = self.nodes.get(&owner.uid) else {
            return Seen::Unknown;
        };
        // A reference that has the uid but not the name, kind or namespace of what is there points to nothing that is
        // known; the live look with its own words decides.
        let group = owner
            .api_version
            .rsplit_once('/')
            .map_or("", |(group, _)| group);
        let same = node.key.name == owner.name
            && node.kind.kind == owner.kind
            && node.kind.group == group
            && (!node.kind.namespaced || node.key.namespace == dependent.key.namespace);
        match (same, node.foreground) {
            (false, _) => Seen::Unknown,
            (true, true) => Seen::WaitsForDependents,
            (true, false) => Seen::There,
        }
    }
}

fn blocks(dependent: &Node, owner: &str) -> bool {
    let blocking = |reference: &OwnerReference| reference.block_owner_deletion == Some(true);
    dependent
        .owners
        .iter()
        .any(|reference| reference.uid == owner && blocking(reference))
}

#[cfg(test)]
#[path = "graph_tests.rs"]
pub(super) mod tests;
