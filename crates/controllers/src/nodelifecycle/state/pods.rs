//! The state's other half: pods by node, whose patience runs, and what is left of nodes that are gone.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{State, Work};
use crate::{
    nodelifecycle::evict::{Eviction, eviction},
    views::Pod,
};
use pandaemon_client::{list_watch::Delta, object_meta::Key, work_queue::WorkQueue};

impl State {
    /// Pods have changed.
    pub fn pods(&mut self, delta: Delta<Arc<Pod>>, queue: &mut WorkQueue<Work>, now: Instant) {
        match delta {
            Delta::Listed(items) => {
                let there: BTreeSet<Key> = items.iter().map(|pod| pod.meta.key()).collect();
                let gone: Vec<Key> = self
                    .places
                    .keys()
                    .filter(|key| !there.contains(*key))
                    .cloned()
                    .collect();
                gone.iter().for_each(|key| self.drop_pod(key, queue));
                items
                    .into_iter()
                    .for_each(|pod| self.place(pod, queue, now));
                self.synced.1 = true;
            }
            Delta::Applied(pod) => self.place(pod, queue, now),
            Delta::Deleted(pod) => self.drop_pod(&pod.meta.key(), queue),
        }
    }

    fn place(&mut self, pod: Arc<Pod>, queue: &mut WorkQueue<Work>, now: Instant) {
        let key = pod.meta.key();
        let other = self.places.get(&key).filter(|place| **place != pod.node);
        let reborn = self
            .pod(&key)
            .is_some_and(|known| known.meta.uid != pod.meta.uid || other.is_some());
        if reborn {
            self.drop_pod(&key, queue);
        }
        self.places.insert(key.clone(), pod.node.clone());
        self.pods
            .entry(pod.node.clone())
            .or_default()
            .insert(key, pod.clone());
        if pod.node.is_empty() {
            if pod.meta.is_deleting() {
                queue.add(Work::Collect(String::new()));
            }
        } else {
            self.consider(&pod, queue, now);
        }
    }

    fn drop_pod(&mut self, key: &Key, queue: &mut WorkQueue<Work>) {
        if let Some(place) = self.places.remove(key)
            && let Some(pods) = self.pods.get_mut(&place)
        {
            pods.remove(key);
            if pods.is_empty() {
                self.pods.remove(&place);
            }
        }
        if self.evictions.remove(key).is_some() {
            queue.cancel(&Work::Evict(key.clone()));
        }
    }

    /// Starts, moves or ends a pod's wait for its eviction.
    pub(super) fn consider(&mut self, pod: &Arc<Pod>, queue: &mut WorkQueue<Work>, now: Instant) {
        let key = pod.meta.key();
        match self.eviction(pod) {
            Eviction::Never => {
                if self.evictions.remove(&key).is_some() {
                    queue.cancel(&Work::Evict(key));
                }
            }
            Eviction::After(wait) => {
                let since = *self.evictions.entry(key.clone()).or_insert(now);
                queue.cancel(&Work::Evict(key.clone()));
                queue.add_at(Work::Evict(key), since + wait);
            }
        }
    }

    fn eviction(&self, pod: &Pod) -> Eviction {
        match self.nodes.get(&pod.node) {
            Some(known) if !pod.meta.is_deleting() && !pod.phase.is_terminal() => {
                eviction(&pod.tolerations, &known.node.view.taints)
            }
            _ => Eviction::Never,
        }
    }

    /// The pod.
    #[must_use]
    pub fn pod(&self, key: &Key) -> Option<Arc<Pod>> {
        self.pods.get(self.places.get(key)?)?.get(key).cloned()
    }

    /// Whether the pod's patience has run out.
    #[must_use]
    pub fn is_due(&self, key: &Key, now: Instant) -> bool {
        let (Some(pod), Some(since)) = (self.pod(key), self.evictions.get(key)) else {
            return false;
        };
        match self.eviction(&pod) {
            Eviction::Never => false,
            Eviction::After(wait) => *since + wait <= now + Duration::from_millis(1),
        }
    }

    /// Ready pods of a node that has just become not ready, once.
    pub fn pods_to_mark(&mut self, name: &str) -> Vec<Arc<Pod>> {
        let unready = self.unready.contains(name);
        let Some(known) = self.nodes.get_mut(name) else {
            return Vec::new();
        };
        if known.marked || !unready {
            return Vec::new();
        }
        known.marked = true;
        let pods = self
            .pods
            .get(name)
            .into_iter()
            .flat_map(|pods| pods.values());
        pods.filter(|pod| pod.ready == Some(true))
            .cloned()
            .collect()
    }

    /// The pods of a node that is gone, or pods that have none and are being deleted.
    #[must_use]
    pub fn stranded(&self, node: &str) -> Vec<Arc<Pod>> {
        if self.nodes.contains_key(node) {
            return Vec::new();
        }
        let pods = self
            .pods
            .get(node)
            .into_iter()
            .flat_map(|pods| pods.values());
        pods.filter(|pod| !node.is_empty() || pod.meta.is_deleting())
            .cloned()
            .collect()
    }
}
