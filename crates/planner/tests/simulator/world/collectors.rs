//! The garbage collector by owner, the pod garbage collector, and the end of namespaces.

use serde_json::{Value, json};

use super::{SimEvent, World};
use crate::{
    api::Kind,
    script::Propagation,
    value::{Key, Text, list, text, time_text},
};

/// Removes an owner from an object.
fn drop_owner(object: &mut Value, uid: &str) {
    let mut owners = list(object, "/metadata/ownerReferences").to_vec();
    owners.retain(|owner| text(owner, "/uid") != uid);
    object["metadata"]["ownerReferences"] = Value::Array(owners);
}

impl World {
    /// If the owner of something is gone or going, the garbage collector is due.
    pub(super) fn check_owner(&mut self, owner: &Text) {
        let mut sets = self.api.sets();
        let lives = sets.any(|set| set.uid == *owner && !set.deleting);
        drop(sets);
        if !lives && self.collecting.insert(owner.clone()) {
            let wait = self.node_rng.latency(500, 10_000);
            self.schedule(wait, SimEvent::Gc(owner.clone()));
        }
    }

    pub(super) fn collect(&mut self, owner: &Text) {
        self.collecting.remove(owner);
        let set = self.api.sets().find(|set| set.uid == *owner);
        if set.is_some_and(|set| !set.deleting) {
            return;
        }
        let set = set.map(|set| set.key.clone());
        let orphan = self.deleting.get(owner) == Some(&Propagation::Orphan) && set.is_some();
        let pods = self.api.pods().filter(|pod| pod.is_owned_by(owner));
        let pods: Vec<Text> = pods.map(|pod| pod.uid.clone()).collect();
        let revisions = self.api.revisions();
        let revisions = revisions.filter(|revision| revision.owner.as_ref() == Some(owner));
        let revisions: Vec<Key> = revisions.map(|revision| revision.key.clone()).collect();
        let mut left = pods.len() + revisions.len();
        for uid in pods {
            if orphan {
                self.api.edit_pod(&uid, |pod| drop_owner(pod, owner));
                left -= 1;
            } else if self.node_rng.chance(70) {
                self.api.delete_pod(&uid);
            }
        }
        for key in revisions {
            if orphan {
                let edit = |revision: &mut Value| drop_owner(revision, owner);
                self.api.edit(Kind::Revisions, &key, edit);
                left -= 1;
            } else if self.node_rng.chance(70) {
                self.api.remove(Kind::Revisions, &key);
                left -= 1;
            }
        }
        if left > 0 {
            self.collecting.insert(owner.clone());
            let wait = self.node_rng.between(50, 2_000);
            self.schedule(wait, SimEvent::Gc(owner.clone()));
        } else if let Some(key) = set {
            self.record(|| format!("{key} is gone"));
            self.api.remove(Kind::Sets, &key);
        }
    }

    /// Removes the pods that are bound to a node which does not exist.
    pub(super) fn pod_gc(&mut self, name: &Text) {
        if self.api.node(name).is_some() {
            return;
        }
        let bound = self.api.pods_on(name).filter(|pod| pod.node.is_some());
        let bound: Vec<Text> = bound.map(|pod| pod.uid.clone()).collect();
        for uid in bound {
            self.record(|| format!("the pod garbage collector removes {uid} of {name}"));
            self.api.remove_pod(&uid);
        }
    }

    pub(super) fn delete_set(&mut self, key: &Key, how: Propagation) {
        let Some(set) = self.api.set(key).filter(|set| !set.deleting) else {
            return;
        };
        let (uid, generation) = (set.uid.clone(), set.generation);
        self.deleting.insert(uid.clone(), how);
        if how == Propagation::Background {
            self.api.remove(Kind::Sets, key);
        } else {
            let now = time_text(self.now);
            self.api.edit(Kind::Sets, key, |set| {
                set["metadata"]["deletionTimestamp"] = json!(now);
                set["metadata"]["generation"] = json!(generation + 1);
            });
        }
        self.collecting.remove(&uid);
        self.check_owner(&uid);
    }

    /// The namespace controller: removes what is in a namespace, bit by bit, and then makes it
    /// again.
    pub(super) fn end_namespace(&mut self, namespace: &Text, until: i64) {
        let inside = |key: &Key| key.namespace == *namespace;
        let sets: Vec<Key> = self.keys().into_iter().filter(inside).collect();
        for key in &sets {
            if self.node_rng.chance(60) {
                self.delete_set(key, Propagation::Background);
            }
        }
        let pods = self.api.pods().filter(|pod| inside(&pod.key));
        let pods: Vec<Text> = pods.map(|pod| pod.uid.clone()).collect();
        for uid in &pods {
            if self.node_rng.chance(60) {
                self.api.delete_pod(uid);
            }
        }
        let revisions = self.api.revisions().map(|revision| revision.key.clone());
        let revisions: Vec<Key> = revisions.filter(inside).collect();
        for key in &revisions {
            self.api.remove(Kind::Revisions, key);
        }
        let empty = pods.is_empty() && !self.api.sets().any(|set| inside(&set.key));
        if empty && (until <= self.now || self.faults_ended) {
            self.record(|| format!("namespace {namespace} is gone, and made again"));
            self.api.terminating.remove(namespace);
        } else {
            let wait = self.node_rng.between(100, 2_000);
            let namespace = namespace.clone();
            self.schedule(wait, SimEvent::NamespaceGc { namespace, until });
        }
    }
}
