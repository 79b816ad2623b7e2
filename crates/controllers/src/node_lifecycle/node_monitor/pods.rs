//! Pods by node, their waits for eviction, and pods of nodes that are gone.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use pandaemon_client::{list_watch::Delta, object_meta::Key, work_queue::WorkQueue};
use tokio::time::Instant;

use super::{NodeMonitor, Task};
use crate::{
    node_lifecycle::taint_eviction::{Eviction, eviction},
    views::Pod,
};

impl NodeMonitor {
    /// Applies an event of pods.
    pub fn observe_pods(
        &mut self,
        delta: Delta<Arc<Pod>>,
        queue: &mut WorkQueue<Task>,
        now: Instant,
    ) {
        match delta {
            Delta::Listed(items) => {
                let present: BTreeSet<Key> = items.iter().map(|pod| pod.meta.key()).collect();
                let gone: Vec<Key> = self
                    .node_of
                    .keys()
                    .filter(|key| !present.contains(*key))
                    .cloned()
                    .collect();
                gone.iter().for_each(|key| self.remove_pod(key, queue));
                items
                    .into_iter()
                    .for_each(|pod| self.add_pod(pod, queue, now));
                self.synced.1 = true;
            }
            Delta::Applied(pod) => self.add_pod(pod, queue, now),
            Delta::Deleted(pod) => self.remove_pod(&pod.meta.key(), queue),
        }
    }

    fn add_pod(&mut self, pod: Arc<Pod>, queue: &mut WorkQueue<Task>, now: Instant) {
        let key = pod.meta.key();
        let is_known = self
            .pod(&key)
            .is_some_and(|known| known.meta.uid == pod.meta.uid && known.node == pod.node);
        if !is_known {
            self.remove_pod(&key, queue);
        }
        self.node_of.insert(key.clone(), pod.node.clone());
        self.pods
            .entry(pod.node.clone())
            .or_default()
            .insert(key, pod.clone());
        if pod.node.is_empty() {
            if pod.meta.is_deleting() {
                queue.add(Task::DeleteOrphans(String::new()));
            }
        } else {
            self.update_eviction(&pod, queue, now);
            // As upstream, later changes do not count: an agent that is alive reports the pod
            // itself.
            if !is_known && self.pod_to_mark(&pod.meta.key()).is_some() {
                queue.add(Task::MarkNotReady(pod.meta.key()));
            }
        }
    }

    fn remove_pod(&mut self, key: &Key, queue: &mut WorkQueue<Task>) {
        if let Some(place) = self.node_of.remove(key)
            && let Some(pods) = self.pods.get_mut(&place)
        {
            pods.remove(key);
            if pods.is_empty() {
                self.pods.remove(&place);
            }
        }
        if self.evictions.remove(key).is_some() {
            queue.cancel(&Task::Evict(key.clone()));
        }
    }

    /// Starts, changes or ends a pod's wait for its eviction.
    pub(super) fn update_eviction(
        &mut self,
        pod: &Arc<Pod>,
        queue: &mut WorkQueue<Task>,
        now: Instant,
    ) {
        let key = pod.meta.key();
        match self.eviction(pod) {
            Eviction::Never => {
                if self.evictions.remove(&key).is_some() {
                    queue.cancel(&Task::Evict(key));
                }
            }
            Eviction::After(wait) => {
                let since = *self.evictions.entry(key.clone()).or_insert(now);
                queue.cancel(&Task::Evict(key.clone()));
                queue.add_at(Task::Evict(key), since + wait);
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

    /// The pod of that key.
    #[must_use]
    pub fn pod(&self, key: &Key) -> Option<Arc<Pod>> {
        self.pods.get(self.node_of.get(key)?)?.get(key).cloned()
    }

    /// Whether the pod's wait for its eviction has ended.
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

    /// Adds a task for each ready pod of a node that has become not ready.
    pub(super) fn mark_pods_of(&self, node: &str, queue: &mut WorkQueue<Task>) {
        let pods = self.pods.get(node).into_iter().flatten();
        for (key, _) in pods.filter(|(_, pod)| pod.ready == Some(true)) {
            queue.add(Task::MarkNotReady(key.clone()));
        }
    }

    /// The pod of that key, if it is ready and its node is not.
    #[must_use]
    pub fn pod_to_mark(&self, key: &Key) -> Option<Arc<Pod>> {
        self.pod(key)
            .filter(|pod| pod.ready == Some(true) && self.not_ready.contains(&pod.node))
    }

    /// The pods of a node that is gone; for an empty name, terminating pods that were never bound.
    #[must_use]
    pub fn orphaned_pods(&self, node: &str) -> Vec<Arc<Pod>> {
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
