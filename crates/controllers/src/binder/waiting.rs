//! Pods that wait for a node: those to try next, by priority, and those that wait for something to change.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use pandaemon_client::{backoff::Backoff, object_meta::Key};
use tokio::time::Instant;

use crate::views::Pod;

/// How long a pod that fits nowhere rests between two tries, even if something changes; as upstream, 1 to 10 s. A
/// pinned pod rests less, as only changes of its own node wake it.
const REST: Backoff = Backoff {
    min: Duration::from_secs(1),
    max: Duration::from_secs(10),
};
const PINNED_REST: Backoff = Backoff {
    min: Duration::from_millis(20),
    max: Duration::from_secs(2),
};
/// After so long it is tried again in any case; upstream's limit is 5 minutes.
const AT_LAST: Duration = Duration::from_secs(60);

/// What can make a pod fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// A change of one node.
    Node(String),
    /// A change of any node.
    Any,
}

impl Blocked {
    /// What the pod waits for: its only node, the node on which room is being made, or any.
    #[must_use]
    pub fn on(pod: &Pod, room: Option<&str>) -> Self {
        let target = pod
            .pending
            .as_ref()
            .and_then(|pending| pending.target.as_deref());
        room.or(target)
            .map_or(Self::Any, |node| Self::Node(node.to_owned()))
    }
}

/// The place in the line.
type Rank = (Reverse<i32>, Option<Timestamp>, Key);

#[derive(Debug)]
struct Entry {
    pod: Arc<Pod>,
    failures: u32,
    /// Not before then, if it has failed before.
    rests_until: Option<Instant>,
    blocked: Option<Blocked>,
}

/// The line.
#[derive(Debug, Default)]
pub struct Waiting {
    entries: BTreeMap<Key, Entry>,
    line: BTreeSet<Rank>,
    /// Pods that rest, by the end of their rest.
    resting: BTreeSet<(Instant, Key)>,
    by_node: BTreeMap<String, BTreeSet<Key>>,
    anywhere: BTreeSet<Key>,
}

fn rank(pod: &Pod) -> Rank {
    (
        Reverse(pod.priority),
        pod.meta.creation_timestamp,
        pod.meta.key(),
    )
}

impl Waiting {
    /// A pod without a node was seen. One that is known and has not changed what it asks for keeps its place.
    pub fn add(&mut self, pod: Arc<Pod>) {
        let key = pod.meta.key();
        let asks = |pod: &Pod| {
            pod.pending
                .as_ref()
                .map(|p| (p.needs.clone(), p.target.clone(), p.gated))
        };
        if let Some(entry) = self.entries.get_mut(&key)
            && entry.pod.meta.uid == pod.meta.uid
            && entry.pod.priority == pod.priority
            && asks(&entry.pod) == asks(&pod)
        {
            // Its status is what we wrote ourselves.
            entry.pod = pod;
            return;
        }
        self.remove(&key);
        self.line.insert(rank(&pod));
        let entry = Entry {
            pod,
            failures: 0,
            rests_until: None,
            blocked: None,
        };
        self.entries.insert(key, entry);
    }

    /// The pod needs no node any more.
    pub fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.line.remove(&rank(&entry.pod));
            if let Some(at) = entry.rests_until {
                self.resting.remove(&(at, key.clone()));
            }
            self.unblock(key, entry.blocked.as_ref());
        }
    }

    /// Removes pods that are not in the list.
    pub fn retain(&mut self, there: &BTreeSet<Key>) {
        let gone: Vec<Key> = self
            .entries
            .keys()
            .filter(|key| !there.contains(*key))
            .cloned()
            .collect();
        gone.iter().for_each(|key| self.remove(key));
    }

    /// The pod.
    #[must_use]
    pub fn pod(&self, key: &Key) -> Option<Arc<Pod>> {
        self.entries.get(key).map(|entry| entry.pod.clone())
    }

    /// The pod fits nowhere now.
    pub fn block(&mut self, pod: &Pod, blocked: Blocked, now: Instant) {
        let key = pod.meta.key();
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        self.line.remove(&rank(&entry.pod));
        entry.failures = entry.failures.saturating_add(1);
        let at = now + AT_LAST;
        if let Some(old) = entry.rests_until.replace(at) {
            self.resting.remove(&(old, key.clone()));
        }
        self.resting.insert((at, key.clone()));
        let old = entry.blocked.replace(blocked.clone());
        self.unblock(&key, old.as_ref());
        match blocked {
            Blocked::Node(node) => self.by_node.entry(node).or_default().insert(key),
            Blocked::Any => self.anywhere.insert(key),
        };
    }

    fn unblock(&mut self, key: &Key, blocked: Option<&Blocked>) {
        match blocked {
            Some(Blocked::Node(node)) => {
                if let Some(keys) = self.by_node.get_mut(node) {
                    keys.remove(key);
                    if keys.is_empty() {
                        self.by_node.remove(node);
                    }
                }
            }
            Some(Blocked::Any) => {
                self.anywhere.remove(key);
            }
            None => (),
        }
    }

    /// Something has changed on a node: pods that wait for it rest a little and are tried again.
    pub fn node_changed(&mut self, node: &str) {
        let now = Instant::now();
        let keys = self.by_node.remove(node).unwrap_or_default();
        for key in keys.into_iter().chain(std::mem::take(&mut self.anywhere)) {
            let Some(entry) = self.entries.get_mut(&key) else {
                continue;
            };
            let rest = match entry.blocked.take() {
                Some(Blocked::Node(_)) => PINNED_REST.delay(entry.failures),
                Some(Blocked::Any) | None => REST.delay(entry.failures),
            };
            if let Some(old) = entry.rests_until.replace(now + rest) {
                self.resting.remove(&(old, key.clone()));
            }
            self.resting.insert((now + rest, key));
        }
    }

    /// The pod to try next: the most important, then the oldest. Safe to cancel.
    pub async fn next(&mut self) -> Key {
        loop {
            self.wake(Instant::now());
            if let Some((_, _, key)) = self.line.pop_first() {
                return key;
            }
            match self.resting.first() {
                Some((at, _)) => tokio::time::sleep_until(*at).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Try a pod that waits now.
    pub fn again(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get(key) {
            self.line.insert(rank(&entry.pod));
        }
    }

    fn wake(&mut self, now: Instant) {
        while let Some((at, key)) = self.resting.first().cloned() {
            if now < at {
                return;
            }
            self.resting.remove(&(at, key.clone()));
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.rests_until = None;
                self.line.insert(rank(&entry.pod));
                let blocked = entry.blocked.take();
                self.unblock(&key, blocked.as_ref());
            }
        }
    }

    /// How many pods wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no pod waits.
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
    async fn the_most_important_pod_is_first() {
        let mut waiting = Waiting::default();
        for (name, priority) in [("a", 0), ("b", 10), ("c", 10)] {
            waiting.add(pod(name, priority, None));
        }
        for expected in ["b", "c", "a"] {
            assert_eq!(waiting.next().await.name, expected);
        }
    }

    #[tokio::test]
    async fn a_blocked_pod_waits_for_its_own_node() {
        let mut waiting = Waiting::default();
        let (mine, other) = (pod("mine", 0, Some("n1")), pod("other", 0, Some("n2")));
        for pod in [&mine, &other] {
            waiting.add(pod.clone());
            waiting.next().await;
            waiting.block(pod, Blocked::on(pod, None), Instant::now());
        }
        waiting.node_changed("n1");
        assert_eq!(waiting.next().await.name, "mine");
        assert!(waiting.line.is_empty() && waiting.len() == 2);
        waiting.remove(&other.meta.key());
        waiting.remove(&mine.meta.key());
        assert!(waiting.is_empty() && waiting.resting.is_empty() && waiting.by_node.is_empty());
    }
}
