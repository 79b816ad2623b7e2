//! The graph of owners: a node for each object that was seen, and for each uid the objects that
//! name it as an owner.
//!
//! An owner that was not seen yet has no node: its dependents are found by its uid.

use pandaemon_client::{
    discovery::ApiResource,
    list_watch::Delta,
    object_meta::{Key, ObjectMeta, OwnerReference, PartialObjectMetadata},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The finalizer of an object whose dependents are deleted first.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object whose dependents are kept.
pub const ORPHAN: &str = "orphan";

/// An object in the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The object's kind.
    pub kind: Arc<ApiResource>,
    /// Its namespace and name.
    pub key: Key,
    /// Its resource version.
    pub version: String,
    /// Its owner references.
    pub owners: Arc<[OwnerReference]>,
    /// It has a deletion timestamp.
    pub deleting: bool,
    /// It is being deleted and waits for its dependents.
    pub foreground: bool,
    /// It is being deleted and its dependents are kept.
    pub orphaning: bool,
}

/// A dependent of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// The dependent's uid.
    pub uid: String,
    /// The dependent in the graph.
    pub node: Node,
    /// Whether the owner's foreground deletion waits for it (`blockOwnerDeletion`).
    pub blocks: bool,
}

/// What is needed to decide about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionAttempt {
    /// The object's uid.
    pub uid: String,
    /// The object in the graph.
    pub node: Node,
    /// Its owners, and what the graph knows of each.
    pub owners: Vec<(OwnerReference, OwnerState)>,
    /// The objects that name this one as an owner.
    pub dependents: Vec<Dependent>,
}

/// What the graph knows of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerState {
    /// It exists and does not wait for its dependents (upstream: solid).
    Present,
    /// It is being deleted and waits for its dependents.
    WaitsForDependents,
    /// It does not exist (upstream: dangling).
    Absent,
    /// It was not seen: a GET must tell.
    Unknown,
}

/// What an event has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Objects to attempt to delete.
    pub attempt: Vec<String>,
    /// Objects that do not exist any more.
    pub gone: Vec<String>,
}

/// The graph of all objects and their owners.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: BTreeMap<String, Node>,
    dependents: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Applies an event of objects of a kind.
    pub fn observe(
        &mut self,
        kind: &Arc<ApiResource>,
        delta: Delta<PartialObjectMetadata>,
    ) -> Changes {
        match delta {
            Delta::Applied(object) => Changes {
                attempt: self.apply(kind, object.metadata),
                gone: Vec::new(),
            },
            Delta::Deleted(object) => self.remove(&object.metadata.uid),
            Delta::Listed(objects) => {
                let present: BTreeSet<&str> = objects
                    .iter()
                    .map(|object| object.metadata.uid.as_str())
                    .collect();
                let gone: Vec<String> = self
                    .nodes
                    .iter()
                    .filter(|(uid, node)| *node.kind == **kind && !present.contains(uid.as_str()))
                    .map(|(uid, _)| uid.clone())
                    .collect();
                let mut changes = Changes::default();
                for uid in gone {
                    let more = self.remove(&uid);
                    changes.attempt.extend(more.attempt);
                    changes.gone.extend(more.gone);
                }
                for object in objects {
                    changes.attempt.extend(self.apply(kind, object.metadata));
                }
                changes
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
        // An attempt is due after a change of owners, and when a foreground or orphan deletion
        // begins.
        let owner_unconfirmed = owners_changed && self.has_unconfirmed_owner(&node);
        if owner_unconfirmed
            || began(node.foreground, |old| old.foreground)
            || began(node.orphaning, |old| old.orphaning)
        {
            attempt.push(uid.clone());
        }
        // An owner that waits for its dependents may have waited for this reference.
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
            attempt.extend(self.is_unblocked(owner).then(|| owner.clone()));
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

    fn has_unconfirmed_owner(&self, node: &Node) -> bool {
        node.owners
            .iter()
            .any(|owner| self.owner_state(node, owner) != OwnerState::Present)
    }

    /// Removes an object. Attempts are due for its dependents, and for owners that waited for it.
    pub fn remove(&mut self, uid: &str) -> Changes {
        let mut changes = Changes::default();
        if let Some(node) = self.nodes.remove(uid) {
            for owner in node.owners.iter() {
                self.unlink(&owner.uid, uid);
                let unblocked = self.is_unblocked(&owner.uid);
                changes.attempt.extend(unblocked.then(|| owner.uid.clone()));
            }
        }
        changes
            .attempt
            .extend(self.dependents.get(uid).into_iter().flatten().cloned());
        changes.gone.push(uid.to_owned());
        changes
    }

    /// Whether an owner in foreground deletion has no blocking dependent left. Asked when a
    /// dependent goes, so that the end of thousands of dependents is one attempt for their owner.
    fn is_unblocked(&self, owner: &str) -> bool {
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

    /// Removes all objects of a kind that is no longer served. No attempt is due: they may still
    /// exist.
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

    /// Objects in foreground or orphan deletion, and those with an owner that was not seen.
    #[must_use]
    pub fn objects_to_check(&self) -> Vec<String> {
        self.nodes
            .iter()
            .filter(|(_, node)| {
                node.foreground || node.orphaning || self.has_unconfirmed_owner(node)
            })
            .map(|(uid, _)| uid.clone())
            .collect()
    }

    /// What is needed to decide about an object; `None` if it is not in the graph.
    #[must_use]
    pub fn deletion_attempt(
        &self,
        uid: &str,
        absent: &BTreeSet<String>,
    ) -> Option<DeletionAttempt> {
        let node = self.nodes.get(uid)?;
        let owners: Vec<(OwnerReference, OwnerState)> = node
            .owners
            .iter()
            .map(|owner| {
                let state = match self.owner_state(node, owner) {
                    OwnerState::Unknown if absent.contains(&owner.uid) => OwnerState::Absent,
                    state => state,
                };
                (owner.clone(), state)
            })
            .collect();
        let dependents = self
            .dependents
            .get(uid)
            .into_iter()
            .flatten()
            .filter_map(|dependent| self.dependent(uid, dependent))
            .collect();
        Some(DeletionAttempt {
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

    fn owner_state(&self, dependent: &Node, owner: &OwnerReference) -> OwnerState {
        let Some(node) = self.nodes.get(&owner.uid) else {
            return OwnerState::Unknown;
        };
        // A reference with the uid of an object, but another name, kind or namespace: a GET by the
        // reference decides.
        let group = owner
            .api_version
            .rsplit_once('/')
            .map_or("", |(group, _)| group);
        let same = node.key.name == owner.name
            && node.kind.kind == owner.kind
            && node.kind.group == group
            && (!node.kind.namespaced || node.key.namespace == dependent.key.namespace);
        match (same, node.foreground) {
            (false, _) => OwnerState::Unknown,
            (true, true) => OwnerState::WaitsForDependents,
            (true, false) => OwnerState::Present,
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
