//! The scheduler cache: for each node its pods and the total of their requests, updated with each
//! pod event.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pandaemon_client::object_meta::Key;
use pandaemon_placement::Usage;
use pandaemon_types::{NodeView, PodResources};
use tokio::time::Instant;

use crate::views::{Node, Pod};

/// A pod on a node, as preemption sees it.
#[derive(Debug, Clone)]
pub struct PodInfo {
    /// Its requests and host ports.
    pub resources: Arc<PodResources>,
    /// The value of its priority class.
    pub priority: i32,
    /// The uid that a deletion must name.
    pub uid: String,
    /// Its deletion has been asked for.
    pub deleting: bool,
}

/// A node and its pods (upstream's `NodeInfo`).
#[derive(Debug, Clone, Default)]
pub struct NodeInfo {
    /// `None` while pods name the node and it was not seen.
    pub node: Option<Arc<NodeView>>,
    /// The total of its pods' requests and host ports.
    pub usage: Usage,
    /// The pods that are bound to it or assumed to be.
    pub pods: BTreeMap<Key, PodInfo>,
    /// Pods that are nominated to this node while their victims terminate, with priority and
    /// requests.
    pub nominated: BTreeMap<Key, (i32, Arc<PodResources>)>,
}

impl NodeInfo {
    /// The usage that a pod must fit beside: pods of the node, and nominated pods of at least its
    /// priority.
    #[must_use]
    pub fn usage_for(&self, key: &Key, priority: i32) -> std::borrow::Cow<'_, Usage> {
        let before = |(other, (their, _)): &(&Key, &(i32, Arc<PodResources>))| {
            *other != key && *their >= priority
        };
        let mut coming = self.nominated.iter().filter(before).peekable();
        if coming.peek().is_none() {
            return std::borrow::Cow::Borrowed(&self.usage);
        }
        let mut usage = self.usage.clone();
        coming.for_each(|(_, (_, resources))| usage.add(resources));
        std::borrow::Cow::Owned(usage)
    }
}

/// All nodes and the pods on them (upstream's scheduler cache).
#[derive(Debug, Default)]
pub struct SchedulerCache {
    nodes: BTreeMap<String, NodeInfo>,
    /// Entries of `nodes` whose node was seen.
    node_count: usize,
    /// The node of each pod.
    node_of: BTreeMap<Key, String>,
    /// Pods whose binding was sent and has not come back as an event.
    assumed: BTreeMap<Key, Arc<Pod>>,
    /// The nominated node of each nominated pod.
    nominations: BTreeMap<Key, String>,
    /// Pods that another controller creates with their node set; true if a list without them was
    /// seen since.
    reserved: BTreeMap<Key, bool>,
    /// Those of them whose creation got no answer, and until when they may appear.
    unanswered: BTreeMap<Key, Instant>,
    /// The same, by time.
    expiries: BTreeSet<(Instant, Key)>,
}

impl SchedulerCache {
    // === nodes ===

    /// Adds or updates a node; true if something that placement reads has changed.
    pub fn update_node(&mut self, node: &Node) -> bool {
        let entry = self.nodes.entry(node.meta.name.clone()).or_default();
        if entry
            .node
            .as_ref()
            .is_some_and(|known| **known == *node.view)
        {
            return false;
        }
        if entry.node.replace(node.view.clone()).is_none() {
            self.node_count += 1;
        }
        true
    }

    /// Removes a node. Its pods are kept in case it comes back.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(entry) = self.nodes.get_mut(name) {
            self.node_count -= usize::from(entry.node.take().is_some());
            if entry.pods.is_empty() {
                self.nodes.remove(name);
            }
        }
    }

    /// Removes nodes that are not in the list, and returns their names.
    pub fn retain_nodes(&mut self, present: &BTreeSet<String>) -> Vec<String> {
        let gone: Vec<String> = self
            .nodes
            .iter()
            .filter(|(name, entry)| entry.node.is_some() && !present.contains(*name))
            .map(|(name, _)| name.clone())
            .collect();
        gone.iter().for_each(|name| self.remove_node(name));
        gone
    }

    /// The number of nodes that were seen.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.node_count
    }

    /// Whether no node was seen.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.node_count == 0
    }

    /// Every node that was seen, by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &NodeView, &NodeInfo)> {
        self.nodes.iter().filter_map(|(name, entry)| {
            entry
                .node
                .as_deref()
                .map(|node| (name.as_str(), node, entry))
        })
    }

    /// A node that was seen.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<(&NodeView, &NodeInfo)> {
        let entry = self.nodes.get(name)?;
        Some((entry.node.as_deref()?, entry))
    }

    // === pods ===

    /// Adds or updates a pod that is bound to a node.
    pub fn add_pod(&mut self, pod: &Pod, node: &str) {
        let key = pod.meta.key();
        self.assumed.remove(&key);
        self.reserved.remove(&key);
        self.answered(&key);
        self.drop_nomination(&key);
        let info = PodInfo {
            resources: pod.resources.clone(),
            priority: pod.priority,
            uid: pod.meta.uid.clone(),
            deleting: pod.meta.is_deleting(),
        };
        if self.node_of.get(&key).is_some_and(|known| known == node)
            && let Some(known) = self
                .nodes
                .get_mut(node)
                .and_then(|entry| entry.pods.get_mut(&key))
            && known.resources == info.resources
        {
            *known = info;
            return;
        }
        self.detach(&key);
        let entry = self.nodes.entry(node.to_owned()).or_default();
        entry.usage.add(&info.resources);
        entry.pods.insert(key.clone(), info);
        self.node_of.insert(key, node.to_owned());
    }

    /// Counts a pod on a node whose binding is being sent (upstream's `AssumePod`).
    pub fn assume_pod(&mut self, pod: &Arc<Pod>, node: &str) {
        self.add_pod(pod, node);
        self.assumed.insert(pod.meta.key(), pod.clone());
    }

    /// Whether the pod of this uid is assumed: its binding was not seen yet.
    #[must_use]
    pub fn is_assumed_pod(&self, pod: &Pod) -> bool {
        self.assumed
            .get(&pod.meta.key())
            .is_some_and(|known| known.meta.uid == pod.meta.uid)
    }

    /// Takes an assumed pod back after its binding failed (upstream's `ForgetPod`).
    pub fn forget_pod(&mut self, key: &Key) -> Option<(Arc<Pod>, String)> {
        let pod = self.assumed.remove(key)?;
        let node = self.detach(key)?;
        Some((pod, node))
    }

    /// Removes a pod that is gone or has ended; returns its node.
    pub fn remove_pod(&mut self, key: &Key) -> Option<String> {
        self.assumed.remove(key);
        self.reserved.remove(key);
        self.answered(key);
        self.drop_nomination(key);
        self.detach(key)
    }

    /// Counts a pod that another controller is about to create with its node set; false if the node
    /// has no room for it beside the pods that are there, assumed, nominated or reserved.
    pub fn reserve(&mut self, key: &Key, node: &str, resources: &Arc<PodResources>) -> bool {
        if self.node_of.contains_key(key) {
            return true;
        }
        let info = self.nodes.entry(node.to_owned()).or_default();
        if let Some(view) = &info.node {
            let mut reasons = Vec::new();
            // The priority of the pod is not known yet, so that every nominated pod counts.
            let usage = info.usage_for(key, i32::MIN);
            usage.shortages(view, resources, &mut reasons);
            if !reasons.is_empty() {
                return false;
            }
        }
        info.usage.add(resources);
        // It is not there yet, so that it cannot be a victim of preemption.
        let reserved = PodInfo {
            resources: Arc::clone(resources),
            priority: i32::MAX,
            uid: String::new(),
            deleting: false,
        };
        info.pods.insert(key.clone(), reserved);
        self.node_of.insert(key.clone(), node.to_owned());
        self.reserved.insert(key.clone(), false);
        true
    }

    /// The pod of a reservation was created: its event takes the place of the reservation.
    pub fn created(&mut self, key: &Key) {
        self.answered(key);
    }

    fn answered(&mut self, key: &Key) {
        if let Some(until) = self.unanswered.remove(key) {
            self.expiries.remove(&(until, key.clone()));
        }
    }

    /// The creation of a reservation's pod got no answer: the pod may exist or come into existence
    /// until then.
    pub fn may_appear(&mut self, key: &Key, until: Instant) {
        if self.reserved.contains_key(key) {
            self.answered(key);
            self.unanswered.insert(key.clone(), until);
            self.expiries.insert((until, key.clone()));
        }
    }

    /// Takes back a reservation whose pod was not created, unless an earlier request for it may
    /// still have created it. Returns the node.
    pub fn release(&mut self, key: &Key) -> Option<String> {
        if self.unanswered.contains_key(key) {
            return None;
        }
        self.reserved.remove(key)?;
        self.detach(key)
    }

    /// Takes back the reservations whose pods should have appeared by now. Returns the nodes.
    pub fn expire(&mut self, now: Instant) -> Vec<String> {
        let over = self.expiries.iter().take_while(|(until, _)| *until <= now);
        let over: Vec<Key> = over.map(|(_, key)| key.clone()).collect();
        over.iter().filter_map(|key| self.remove_pod(key)).collect()
    }

    /// Whether there is room reserved for a pod that was not seen yet.
    #[cfg(test)]
    pub(super) fn is_reserved(&self, key: &Key) -> bool {
        self.reserved.contains_key(key)
    }

    /// When the next reservation whose creation got no answer ends.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|(until, _)| *until)
    }

    /// Forgets everything but reservations, before a new list.
    pub fn reset(&mut self) {
        let reserved = std::mem::take(&mut self.reserved);
        let mut kept = Self {
            unanswered: std::mem::take(&mut self.unanswered),
            expiries: std::mem::take(&mut self.expiries),
            ..Self::default()
        };
        for (key, seen) in reserved {
            let Some(node) = self.node_of.remove(&key) else {
                continue;
            };
            let info = self.nodes.get_mut(&node);
            if let Some(pod) = info.and_then(|info| info.pods.remove(&key)) {
                let info = kept.nodes.entry(node.clone()).or_default();
                info.usage.add(&pod.resources);
                info.pods.insert(key.clone(), pod);
                kept.node_of.insert(key.clone(), node);
                kept.reserved.insert(key, seen);
            }
        }
        *self = kept;
    }

    /// Removes pods that are not in the list.
    pub fn retain_pods(&mut self, present: &BTreeSet<Key>) {
        let gone: Vec<Key> = self
            .node_of
            .keys()
            .filter(|key| !present.contains(*key))
            .cloned()
            .collect();
        for key in gone {
            // A list may be older than a reservation, but the one after it is not. Neither proves
            // that a request without an answer is not carried out later.
            match self.reserved.get_mut(&key) {
                Some(_) if self.unanswered.contains_key(&key) => {}
                Some(seen @ false) => *seen = true,
                _ => drop(self.remove_pod(&key)),
            }
        }
    }

    fn detach(&mut self, key: &Key) -> Option<String> {
        let node = self.node_of.remove(key)?;
        let entry = self.nodes.get_mut(&node)?;
        if let Some(info) = entry.pods.remove(key) {
            entry.usage.remove(&info.resources);
        }
        if entry.pods.is_empty() && entry.node.is_none() {
            self.nodes.remove(&node);
        }
        Some(node)
    }

    /// Records that victims on the node are being deleted for this pod.
    pub fn nominate(&mut self, pod: &Pod, node: &str) {
        let key = pod.meta.key();
        self.drop_nomination(&key);
        if let Some(entry) = self.nodes.get_mut(node) {
            entry
                .nominated
                .insert(key.clone(), (pod.priority, pod.resources.clone()));
            self.nominations.insert(key, node.to_owned());
        }
    }

    fn drop_nomination(&mut self, key: &Key) {
        if let Some(node) = self.nominations.remove(key)
            && let Some(entry) = self.nodes.get_mut(&node)
        {
            entry.nominated.remove(key);
        }
    }

    /// The node that the pod is nominated to.
    #[must_use]
    pub fn nomination(&self, key: &Key) -> Option<&str> {
        self.nominations.get(key).map(String::as_str)
    }
}
