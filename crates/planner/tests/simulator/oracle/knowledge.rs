//! What a controller has been told: sets, nodes, pods and revisions, each in its newest version.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{placement::Demands, placement::Fit, selector::Selector};
use crate::{
    api::{Kind, Object, Stored},
    objects::{Node, Pod, Revision, Set},
    request::Delivery,
    value::{Key, Text},
};

/// A pod, with `ready_since` as the controller's clock sees it.
#[derive(Debug, Clone)]
pub(crate) struct KnownPod {
    pub(crate) pod: Pod,
    /// A deletion was requested and has not failed.
    pub(crate) delete_sent: bool,
    /// The last deletion that was requested has failed.
    pub(crate) delete_failed: bool,
    /// A deletion was requested and not answered: it may take effect yet.
    pub(crate) delete_unclear: bool,
    /// Until when its deletion may wait after one that has failed, also if another one on its node
    /// has succeeded meanwhile.
    pub(crate) delete_waits: i64,
}

impl KnownPod {
    /// Whether it stays, as far as is known.
    pub(crate) const fn is_active(&self) -> bool {
        !self.pod.deleting && !self.delete_sent
    }

    /// Whether it takes its node's place: not if it has ended and is being deleted.
    pub(crate) const fn is_present(&self) -> bool {
        !(self.pod.deleting && self.pod.is_ended())
    }
}

/// A set, with its selector and its demands read.
#[derive(Debug)]
pub(crate) struct KnownSet {
    pub(crate) set: Set,
    pub(crate) selector: Selector,
    pub(crate) demands: Demands,
}

impl KnownSet {
    pub(crate) fn new(set: Set) -> Self {
        Self {
            selector: Selector::read(&set.selector),
            demands: Demands::read(&set.template),
            set,
        }
    }

    /// Whether a pod is the set's, or is to be adopted.
    pub(crate) fn claims(&self, pod: &Pod) -> bool {
        let ours = match &pod.owner {
            Some(owner) => *owner == self.set.uid,
            None => !pod.deleting && pod.key.namespace == self.set.key.namespace,
        };
        ours && self.selector.is_usable() && self.selector.matches(&pod.labels)
    }

    /// Whether the controller may act for it at all.
    pub(crate) const fn is_worked_on(&self) -> bool {
        !self.set.deleting && self.selector.is_usable()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    pub(crate) sets: BTreeMap<Key, KnownSet>,
    pub(crate) nodes: BTreeMap<Text, Node>,
    pub(crate) pods: BTreeMap<Text, KnownPod>,
    pub(crate) revisions: BTreeMap<Key, Revision>,
    /// The uids of the pods of each node.
    on: BTreeMap<Text, BTreeSet<Text>>,
    pods_seen: u64,
    revisions_seen: u64,
    /// Pods that have gone and were not taken note of.
    pub(crate) gone: Vec<KnownPod>,
}

impl Knowledge {
    // === deliveries ===

    /// Takes in what a watch or a list delivers at a time of the controller's clock.
    pub(crate) fn observe(&mut self, delivery: &Delivery, now: i64) {
        match delivery {
            Delivery::Changed(stored) => {
                self.seen(stored.kind(), stored.version());
                self.changed(stored, now);
            }
            Delivery::Gone { last, version } => {
                self.seen(last.kind(), *version);
                self.gone(last.kind(), &last.key(), last.uid());
            }
            Delivery::Listed {
                kind,
                members,
                version,
            } => self.listed(*kind, members, *version),
            Delivery::Outcome(_) | Delivery::Old(_) => {}
        }
    }

    fn seen(&mut self, kind: Kind, version: u64) {
        match kind {
            Kind::Pods => self.pods_seen = self.pods_seen.max(version),
            Kind::Revisions => self.revisions_seen = self.revisions_seen.max(version),
            Kind::Sets | Kind::Nodes => {}
        }
    }

    /// Takes in the object of a reply. It is ignored if it was deleted before, as far as the watch
    /// tells.
    pub(crate) fn replied(&mut self, stored: &Rc<Stored>, now: i64) {
        let is_news = match &stored.object {
            Object::Pod(pod) => self.pods.contains_key(&pod.uid) || self.pods_seen < pod.version,
            Object::Revision(revision) => {
                let known = self.revisions.get(&revision.key);
                known.is_some_and(|known| known.uid == revision.uid)
                    || self.revisions_seen < revision.version
            }
            Object::Set(set) => {
                let known = self.sets.get(&set.key);
                known.is_some_and(|known| known.set.uid == set.uid)
            }
            Object::Node(_) => false,
        };
        if is_news {
            self.changed(stored, now);
        }
    }

    fn changed(&mut self, stored: &Rc<Stored>, now: i64) {
        match &stored.object {
            Object::Set(set) => {
                let known = self.sets.get(&set.key).map(|known| &known.set);
                if known.is_none_or(|old| old.uid != set.uid || old.version < set.version) {
                    self.sets
                        .insert(set.key.clone(), KnownSet::new(set.clone()));
                }
            }
            Object::Revision(new) => {
                let known = self.revisions.get(&new.key);
                if known.is_none_or(|old| old.uid != new.uid || old.version < new.version) {
                    self.revisions.insert(new.key.clone(), new.clone());
                }
            }
            Object::Node(node) => drop(self.nodes.insert(node.name.clone(), node.clone())),
            Object::Pod(pod) => self.pod_changed(pod, now),
        }
    }

    fn pod_changed(&mut self, pod: &Pod, now: i64) {
        let mut pod = pod.clone();
        let old = self.pods.get(&pod.uid);
        if old.is_some_and(|old| pod.version <= old.pod.version) {
            return;
        }
        // The node's clock is ahead: the pod is ready since the moment that was first heard of it.
        if pod.ready_since.is_some_and(|since| now < since) {
            let known = old.filter(|old| old.pod.ready);
            let known = known.and_then(|old| old.pod.ready_since);
            pod.ready_since = Some(known.filter(|since| *since <= now).unwrap_or(now));
        }
        let delete_sent = old.is_some_and(|old| old.delete_sent);
        let delete_failed = old.is_some_and(|old| old.delete_failed);
        let delete_unclear = old.is_some_and(|old| old.delete_unclear);
        let delete_waits = old.map_or(i64::MIN, |old| old.delete_waits);
        if let Some(node) = pod.place() {
            let on = self.on.entry(node.clone()).or_default();
            on.insert(pod.uid.clone());
        }
        let uid = pod.uid.clone();
        let known = KnownPod {
            pod,
            delete_sent,
            delete_failed,
            delete_unclear,
            delete_waits,
        };
        self.pods.insert(uid, known);
    }

    fn gone(&mut self, kind: Kind, key: &Key, uid: &Text) {
        match kind {
            Kind::Sets => drop(self.sets.remove(key)),
            Kind::Revisions => drop(self.revisions.remove(key)),
            Kind::Nodes => drop(self.nodes.remove(&key.name)),
            Kind::Pods => self.forget_pod(uid),
        }
    }

    pub(crate) fn forget_pod(&mut self, uid: &str) {
        let Some(known) = self.pods.remove(uid) else {
            return;
        };
        if let Some(on) = known.pod.place().and_then(|node| self.on.get_mut(node)) {
            on.remove(uid);
        }
        self.gone.push(known);
    }

    fn listed(&mut self, kind: Kind, members: &[(Key, Text)], version: u64) {
        self.seen(kind, version);
        let keys: BTreeSet<&Key> = members.iter().map(|(key, _)| key).collect();
        match kind {
            Kind::Sets => self.sets.retain(|key, _| keys.contains(key)),
            Kind::Revisions => self.revisions.retain(|key, _| keys.contains(key)),
            Kind::Nodes => {
                let names: BTreeSet<&Text> = keys.iter().map(|key| &key.name).collect();
                self.nodes.retain(|name, _| names.contains(name));
            }
            Kind::Pods => {
                let uids: BTreeSet<&Text> = members.iter().map(|(_, uid)| uid).collect();
                let pods = self.pods.values().map(|known| &known.pod);
                let gone = pods.filter(|pod| !uids.contains(&pod.uid) && pod.version <= version);
                let gone: Vec<Text> = gone.map(|pod| pod.uid.clone()).collect();
                gone.iter().for_each(|uid| self.forget_pod(uid));
            }
        }
    }

    /// The controller's clock was set back by so much: pauses that have begun move along, times of
    /// pods that are in the future count as now.
    pub(crate) fn set_clock_back(&mut self, now: i64, back: i64) {
        for known in self.pods.values_mut() {
            known.delete_waits = known.delete_waits.saturating_sub(back);
            known.pod.ready_since = known.pod.ready_since.map(|since| since.min(now));
        }
    }

    // === questions ===

    /// The pods of a node that are a set's or are to be adopted.
    pub(crate) fn pods_on<'a>(
        &'a self,
        set: &'a KnownSet,
        node: &str,
    ) -> impl Iterator<Item = &'a KnownPod> {
        let uids = self.on.get(node).into_iter().flatten();
        let pods = uids.filter_map(|uid| self.pods.get(uid));
        let pods = pods.filter(|known| set.claims(&known.pod));
        // Of two pods with one name, the one with the older version is gone.
        let later = |known: &KnownPod, other: &KnownPod| {
            known.pod.key == other.pod.key && known.pod.version < other.pod.version
        };
        let all = pods.clone();
        let is_gone = move |known: &KnownPod| all.clone().any(|other| later(known, other));
        pods.filter(move |known| !is_gone(known))
    }

    /// The names of all nodes that a set's pods are on, or should be on.
    pub(crate) fn nodes_of(&self, set: &KnownSet) -> BTreeSet<Text> {
        let wanted = self.nodes.values().map(|node| &node.name);
        let wanted = wanted.filter(|name| self.fit(set, name) == Some(Fit::Run));
        let used = self.on.iter().filter(|(_, uids)| {
            let pods = uids.iter().filter_map(|uid| self.pods.get(uid));
            pods.into_iter().any(|known| set.claims(&known.pod))
        });
        let used = used.map(|(node, _)| node);
        wanted.chain(used).cloned().collect()
    }

    /// Where a set belongs; `None` if the node does not exist.
    pub(crate) fn fit(&self, set: &KnownSet, node: &str) -> Option<Fit> {
        self.nodes.get(node).map(|node| set.demands.fit(node))
    }

    /// How many nodes should run a set.
    pub(crate) fn desired(&self, set: &KnownSet) -> usize {
        let nodes = self.nodes.values();
        nodes
            .filter(|node| set.demands.fit(node) == Fit::Run)
            .count()
    }

    /// The revisions of a set that are not being deleted.
    pub(crate) fn revisions_of<'a>(&'a self, set: &'a Set) -> impl Iterator<Item = &'a Revision> {
        let revisions = self.revisions.values();
        revisions.filter(|revision| revision.owner.as_ref() == Some(&set.uid) && !revision.deleting)
    }

    /// The hashes of the revisions that hold a set's template: the newest one's first. If it has
    /// none of its own, a revision of another owner serves that has the name which its own would
    /// get.
    pub(crate) fn current_hashes(&self, set: &Set) -> Vec<Text> {
        let revisions = self.revisions.values().filter(|revision| {
            revision.owner.as_ref() == Some(&set.uid)
                && !revision.deleting
                && revision.data == set.data
        });
        let mut equal: Vec<&Revision> = revisions.collect();
        equal.sort_by_key(|revision| (revision.number, revision.key.name.clone()));
        if equal.is_empty() {
            let name = format!(
                "{}-{}",
                set.key.name,
                crate::revisions::hash(&set.data, set.status.collisions)
            );
            let key = Key::new(&set.key.namespace, &name);
            equal.extend(self.revisions.get(&key).filter(|r| r.data == set.data));
        }
        let hashes = equal.into_iter().rev().map(Revision::hash);
        hashes.cloned().collect()
    }
}
