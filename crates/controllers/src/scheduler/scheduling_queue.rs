//! The scheduling queue: pods to schedule by priority, and unschedulable pods that wait for a
//! cluster event or the end of their back-off (upstream's activeQ, backoffQ and unschedulable
//! pods).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use pandaemon_client::{backoff::Backoff, object_meta::Key};
use pandaemon_types::Timestamp;
use tokio::time::Instant;

use crate::views::Pod;

/// The back-off of an unschedulable pod after a cluster event: 1 to 10 s, as upstream.
const BACKOFF: Backoff = Backoff {
    min: Duration::from_secs(1),
    max: Duration::from_secs(10),
};
/// The back-off of a pod that waits for one node: shorter, as only events of that node count.
const PINNED_BACKOFF: Backoff = Backoff {
    min: Duration::from_millis(20),
    max: Duration::from_secs(2),
};
/// An unschedulable pod is tried again after so long without any event; upstream waits 5 minutes.
const MAX_UNSCHEDULABLE: Duration = Duration::from_secs(60);

/// The events that can make an unschedulable pod fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitsFor {
    /// Events of one node.
    Node(String),
    /// Events of any node.
    AnyNode,
}

impl WaitsFor {
    /// What the pod waits for: its nominated node, the only node that its affinity names, or any
    /// node.
    #[must_use]
    pub fn of(pod: &Pod, nominated: Option<&str>) -> Self {
        let target = pod
            .pending
            .as_ref()
            .and_then(|pending| pending.target.as_deref());
        nominated
            .or(target)
            .map_or(Self::AnyNode, |node| Self::Node(node.to_owned()))
    }
}

/// The order of active pods: priority, then age, then name.
type Position = (Reverse<i32>, Option<Timestamp>, Key);

#[derive(Debug)]
struct Entry {
    pod: Arc<Pod>,
    failures: u32,
    /// Not scheduled before then, after a failure.
    backoff_until: Option<Instant>,
    waits_for: Option<WaitsFor>,
}

/// All pods that have no node yet.
#[derive(Debug, Default)]
pub struct SchedulingQueue {
    entries: BTreeMap<Key, Entry>,
    active: BTreeSet<Position>,
    /// Unschedulable pods by the end of their back-off.
    backing_off: BTreeSet<(Instant, Key)>,
    by_node: BTreeMap<String, BTreeSet<Key>>,
    any_node: BTreeSet<Key>,
}

fn position(pod: &Pod) -> Position {
    (
        Reverse(pod.priority),
        pod.meta.creation_timestamp,
        pod.meta.key(),
    )
}

impl SchedulingQueue {
    /// Adds a pod without a node. A known pod whose requirements are unchanged keeps its position.
    pub fn add(&mut self, pod: Arc<Pod>) {
        let key = pod.meta.key();
        let requirements = |pod: &Pod| {
            pod.pending
                .as_ref()
                .map(|p| (p.needs.clone(), p.target.clone(), p.gated))
        };
        if let Some(entry) = self.entries.get_mut(&key)
            && entry.pod.meta.uid == pod.meta.uid
            && entry.pod.priority == pod.priority
            && requirements(&entry.pod) == requirements(&pod)
        {
            // Only its status has changed, which this scheduler wrote.
            entry.pod = pod;
            return;
        }
        self.remove(&key);
        self.active.insert(position(&pod));
        let entry = Entry {
            pod,
            failures: 0,
            backoff_until: None,
            waits_for: None,
        };
        self.entries.insert(key, entry);
    }

    /// Removes a pod that is bound, has ended or is gone.
    pub fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.active.remove(&position(&entry.pod));
            if let Some(at) = entry.backoff_until {
                self.backing_off.remove(&(at, key.clone()));
            }
            self.stop_queue(key, entry.waits_for.as_ref());
        }
    }

    /// Removes pods that are not in the list.
    pub fn retain(&mut self, present: &BTreeSet<Key>) {
        let gone: Vec<Key> = self
            .entries
            .keys()
            .filter(|key| !present.contains(*key))
            .cloned()
            .collect();
        gone.iter().for_each(|key| self.remove(key));
    }

    /// The pod of that key, if it is in the queue.
    #[must_use]
    pub fn pod(&self, key: &Key) -> Option<Arc<Pod>> {
        self.entries.get(key).map(|entry| entry.pod.clone())
    }

    /// Notes a failed attempt: the pod waits for these events, and at most [`MAX_UNSCHEDULABLE`].
    pub fn mark_unschedulable(&mut self, pod: &Pod, waits_for: WaitsFor, now: Instant) {
        let key = pod.meta.key();
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        self.active.remove(&position(&entry.pod));
        entry.failures = entry.failures.saturating_add(1);
        let at = now + MAX_UNSCHEDULABLE;
        if let Some(old) = entry.backoff_until.replace(at) {
            self.backing_off.remove(&(old, key.clone()));
        }
        self.backing_off.insert((at, key.clone()));
        let old = entry.waits_for.replace(waits_for.clone());
        self.stop_queue(&key, old.as_ref());
        match waits_for {
            WaitsFor::Node(node) => self.by_node.entry(node).or_default().insert(key),
            WaitsFor::AnyNode => self.any_node.insert(key),
        };
    }

    fn stop_queue(&mut self, key: &Key, waits_for: Option<&WaitsFor>) {
        match waits_for {
            Some(WaitsFor::Node(node)) => {
                if let Some(keys) = self.by_node.get_mut(node) {
                    keys.remove(key);
                    if keys.is_empty() {
                        self.by_node.remove(node);
                    }
                }
            }
            Some(WaitsFor::AnyNode) => {
                self.any_node.remove(key);
            }
            None => (),
        }
    }

    /// A node or its pods have changed: pods that wait for it become active after their back-off.
    pub fn node_changed(&mut self, node: &str) {
        let now = Instant::now();
        let keys = self.by_node.remove(node).unwrap_or_default();
        for key in keys.into_iter().chain(std::mem::take(&mut self.any_node)) {
            let Some(entry) = self.entries.get_mut(&key) else {
                continue;
            };
            let wait = match entry.waits_for.take() {
                Some(WaitsFor::Node(_)) => PINNED_BACKOFF.delay(entry.failures),
                Some(WaitsFor::AnyNode) | None => BACKOFF.delay(entry.failures),
            };
            if let Some(old) = entry.backoff_until.replace(now + wait) {
                self.backing_off.remove(&(old, key.clone()));
            }
            self.backing_off.insert((now + wait, key));
        }
    }

    /// The next pod to schedule, in the order of [`Position`]. Cancel safe.
    pub async fn next(&mut self) -> Key {
        loop {
            self.flush_backoff(Instant::now());
            if let Some((_, _, key)) = self.active.pop_first() {
                return key;
            }
            match self.backing_off.first() {
                Some((at, _)) => tokio::time::sleep_until(*at).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Makes a pod active at once.
    pub fn activate(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get(key) {
            self.active.insert(position(&entry.pod));
        }
    }

    fn flush_backoff(&mut self, now: Instant) {
        while let Some((at, key)) = self.backing_off.first().cloned() {
            if now < at {
                return;
            }
            self.backing_off.remove(&(at, key.clone()));
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.backoff_until = None;
                self.active.insert(position(&entry.pod));
                let waits_for = entry.waits_for.take();
                self.stop_queue(&key, waits_for.as_ref());
            }
        }
    }

    /// The number of pods in the queue.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the queue has no pod.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::pod::Pending;
    use pandaemon_client::object_meta::ObjectMeta;

    fn pod(name: &str, priority: i32, target: Option<&str>) -> Arc<Pod> {
        let pending = Pending {
            target: target.map(str::to_owned),
            ..Pending::default()
        };
        let meta = ObjectMeta {
            name: name.to_owned(),
            uid: name.to_owned(),
            ..ObjectMeta::default()
        };
        Arc::new(Pod {
            meta,
            priority,
            pending: Some(Arc::new(pending)),
            ..Pod::default()
        })
    }

    #[tokio::test]
    async fn pods_of_higher_priority_are_first() {
        let mut queue = SchedulingQueue::default();
        for (name, priority) in [("a", 0), ("b", 10), ("c", 10)] {
            queue.add(pod(name, priority, None));
        }
        for expected in ["b", "c", "a"] {
            assert_eq!(queue.next().await.name, expected);
        }
    }

    #[tokio::test]
    async fn an_unschedulable_pod_waits_for_its_own_node() {
        let mut queue = SchedulingQueue::default();
        let (mine, other) = (pod("mine", 0, Some("n1")), pod("other", 0, Some("n2")));
        for pod in [&mine, &other] {
            queue.add(pod.clone());
            queue.next().await;
            queue.mark_unschedulable(pod, WaitsFor::of(pod, None), Instant::now());
        }
        queue.node_changed("n1");
        assert_eq!(queue.next().await.name, "mine");
        assert!(queue.active.is_empty() && queue.len() == 2);
        queue.remove(&other.meta.key());
        queue.remove(&mine.meta.key());
        assert!(queue.is_empty() && queue.backing_off.is_empty() && queue.by_node.is_empty());
    }
}
