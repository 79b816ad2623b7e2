//! What every node has left: running sums that change with each pod, never counted anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pandaemon_client::object_meta::Key;
use pandaemon_placement::Usage;
use pandaemon_types::{NodeView, PodResources};

use crate::views::{Node, Pod};

/// A pod on a node.
#[derive(Debug, Clone)]
pub struct Held {
    /// What it takes.
    pub resources: Arc<PodResources>,
    /// Its priority.
    pub priority: i32,
    /// Its uid.
    pub uid: String,
    /// It is on its way out.
    pub deleting: bool,
}

/// A node and its pods.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// `None` while only pods name the node.
    pub node: Option<Arc<NodeView>>,
    /// What its pods take.
    pub usage: Usage,
    /// Its pods.
    pub pods: BTreeMap<Key, Held>,
    /// Pods for which room is being made here, with their priority.
    pub nominated: BTreeMap<Key, (i32, Arc<PodResources>)>,
}

impl Place {
    /// What a pod must fit next to: what is there, and what is to come with at least its priority.
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

/// All nodes.
#[derive(Debug, Default)]
pub struct Cluster {
    places: BTreeMap<String, Place>,
    known: usize,
    /// Where each pod is.
    at: BTreeMap<Key, String>,
    /// Pods that were bound here and not yet seen as such.
    assumed: BTreeMap<Key, Arc<Pod>>,
    /// Where room is being made for a pod.
    nominations: BTreeMap<Key, String>,
}

impl Cluster {
    // === nodes ===

    /// Takes in a node; true if something has changed that placement looks at.
    pub fn set_node(&mut self, node: &Node) -> bool {
        let place = self.places.entry(node.meta.name.clone()).or_default();
        if place
            .node
            .as_ref()
            .is_some_and(|known| **known == *node.view)
        {
            return false;
        }
        if place.node.replace(node.view.clone()).is_none() {
            self.known += 1;
        }
        true
    }

    /// Takes out a node. Its pods keep their place, should it come back.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(place) = self.places.get_mut(name) {
            self.known -= usize::from(place.node.take().is_some());
            if place.pods.is_empty() {
                self.places.remove(name);
            }
        }
    }

    /// Takes out nodes that are not in the list, and names them.
    pub fn retain_nodes(&mut self, there: &BTreeSet<String>) -> Vec<String> {
        let gone: Vec<String> = self
            .places
            .iter()
            .filter(|(name, place)| place.node.is_some() && !there.contains(*name))
            .map(|(name, _)| name.clone())
            .collect();
        gone.iter().for_each(|name| self.remove_node(name));
        gone
    }

    /// How many nodes there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.known
    }

    /// Whether there is no node.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.known == 0
    }

    /// The nodes that there are, by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &NodeView, &Place)> {
        self.places.iter().filter_map(|(name, place)| {
            place
                .node
                .as_deref()
                .map(|node| (name.as_str(), node, place))
        })
    }

    /// A node that is there.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<(&NodeView, &Place)> {
        let place = self.places.get(name)?;
        Some((place.node.as_deref()?, place))
    }

    // === pods ===

    /// A pod is bound to a node.
    pub fn hold(&mut self, pod: &Pod, node: &str) {
        let key = pod.meta.key();
        self.assumed.remove(&key);
        self.drop_nomination(&key);
        let held = Held {
            resources: pod.resources.clone(),
            priority: pod.priority,
            uid: pod.meta.uid.clone(),
            deleting: pod.meta.is_deleting(),
        };
        if self.at.get(&key).is_some_and(|known| known == node)
            && let Some(known) = self
                .places
                .get_mut(node)
                .and_then(|place| place.pods.get_mut(&key))
            && known.resources == held.resources
        {
            *known = held;
            return;
        }
        self.take_out(&key);
        let place = self.places.entry(node.to_owned()).or_default();
        place.usage.add(&held.resources);
        place.pods.insert(key.clone(), held);
        self.at.insert(key, node.to_owned());
    }

    /// A pod is about to be bound: its node counts with it from now on.
    pub fn assume(&mut self, pod: &Arc<Pod>, node: &str) {
        self.hold(pod, node);
        self.assumed.insert(pod.meta.key(), pod.clone());
    }

    /// Whether this very pod was assumed, and its binding is not seen yet.
    #[must_use]
    pub fn is_assumed(&self, pod: &Pod) -> bool {
        self.assumed
            .get(&pod.meta.key())
            .is_some_and(|known| known.meta.uid == pod.meta.uid)
    }

    /// The binding of an assumed pod has failed.
    pub fn forget_assumed(&mut self, key: &Key) -> Option<(Arc<Pod>, String)> {
        let pod = self.assumed.remove(key)?;
        let node = self.take_out(key)?;
        Some((pod, node))
    }

    /// A pod is gone, or has ended; returns the node that it leaves.
    pub fn release(&mut self, key: &Key) -> Option<String> {
        self.assumed.remove(key);
        self.drop_nomination(key);
        self.take_out(key)
    }

    /// Takes out pods that are not in the list.
    pub fn retain_pods(&mut self, there: &BTreeSet<Key>) {
        let gone: Vec<Key> = self
            .at
            .keys()
            .filter(|key| !there.contains(*key))
            .cloned()
            .collect();
        for key in gone {
            self.release(&key);
        }
    }

    fn take_out(&mut self, key: &Key) -> Option<String> {
        let node = self.at.remove(key)?;
        let place = self.places.get_mut(&node)?;
        if let Some(held) = place.pods.remove(key) {
            place.usage.remove(&held.resources);
        }
        if place.pods.is_empty() && place.node.is_none() {
            self.places.remove(&node);
        }
        Some(node)
    }

    /// Room is being made for a pod.
    pub fn nominate(&mut self, pod: &Pod, node: &str) {
        let key = pod.meta.key();
        self.drop_nomination(&key);
        if let Some(place) = self.places.get_mut(node) {
            place
                .nominated
                .insert(key.clone(), (pod.priority, pod.resources.clone()));
            self.nominations.insert(key, node.to_owned());
        }
    }

    fn drop_nomination(&mut self, key: &Key) {
        if let Some(node) = self.nominations.remove(key)
            && let Some(place) = self.places.get_mut(&node)
        {
            place.nominated.remove(key);
        }
    }

    /// Where room is being made for the pod.
    #[must_use]
    pub fn nomination(&self, key: &Key) -> Option<&str> {
        self.nominations.get(key).map(String::as_str)
    }
}
