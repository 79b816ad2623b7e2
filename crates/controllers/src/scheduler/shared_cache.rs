//! The scheduler's cache, shared with the controller that creates pods with their node set.
//!
//! Both count a pod here before they send its request, so that a node never gets more than it has
//! room for although two controllers bind pods.

use std::{sync::Arc, time::Duration};

use pandaemon_client::object_meta::Key;
use pandaemon_types::PodResources;
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::Notify, time::Instant};

use super::cache::SchedulerCache;

/// How long after a creation without an answer its pod may appear in the watch: a server gives up a
/// request after a minute, and the watch may lag as long.
const MAY_APPEAR: Duration = Duration::from_secs(120);

/// The scheduler's cache; clones share it.
#[derive(Debug, Clone, Default)]
pub struct SharedCache(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    cache: Mutex<SchedulerCache>,
    /// Nodes with reservations that were taken back, which the scheduler has not seen yet.
    released: Mutex<Vec<String>>,
    changed: Notify,
}

impl SharedCache {
    pub(super) fn lock(&self) -> MutexGuard<'_, SchedulerCache> {
        self.0.cache.lock()
    }

    /// Reserves room on a node for a pod that is about to be created there; `None` if there is
    /// none.
    #[must_use]
    pub fn reserve(
        &self,
        pod: &Key,
        node: &str,
        resources: &Arc<PodResources>,
    ) -> Option<Reservation> {
        let mut cache = self.lock();
        let expired = cache.expire(Instant::now());
        let is_reserved = cache.reserve(pod, node, resources);
        drop(cache);
        self.release_nodes(expired);
        is_reserved.then(|| Reservation {
            cache: self.clone(),
            pod: pod.clone(),
        })
    }

    /// Waits for reservations that are taken back or expire, and returns their nodes. Cancel safe.
    pub(super) async fn released(&self) -> Vec<String> {
        loop {
            let expiry = self.lock().next_expiry();
            let expired = async {
                match expiry {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.0.changed.notified() => {}
                () = expired => {}
            }
            let mut nodes = std::mem::take(&mut *self.0.released.lock());
            nodes.extend(self.lock().expire(Instant::now()));
            if !nodes.is_empty() {
                return nodes;
            }
        }
    }

    /// Whether there is room reserved for a pod that was not seen yet.
    #[cfg(test)]
    pub(crate) fn is_reserved(&self, pod: &Key) -> bool {
        self.lock().is_reserved(pod)
    }

    fn release_nodes(&self, nodes: impl IntoIterator<Item = String>) {
        self.0.released.lock().extend(nodes);
        self.0.changed.notify_one();
    }
}

/// Room on a node for a pod. It is taken back when this value is dropped before the pod exists.
#[derive(Debug)]
pub struct Reservation {
    cache: SharedCache,
    pod: Key,
}

impl Reservation {
    /// The pod exists: its event takes the place of the reservation.
    pub fn keep(mut self) {
        self.cache.lock().created(&self.pod);
        self.forget();
    }

    /// The creation got no answer. The room stays reserved until the pod is seen, or should have
    /// been.
    pub fn keep_until_seen(mut self) {
        let until = Instant::now() + MAY_APPEAR;
        self.cache.lock().may_appear(&self.pod, until);
        // The scheduler waits for an earlier time, or for none.
        self.cache.0.changed.notify_one();
        self.forget();
    }

    fn forget(&mut self) {
        // No pod has an empty key, so the drop releases nothing.
        self.pod = Key::default();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let released = self.cache.lock().release(&self.pod);
        if released.is_some() {
            self.cache.release_nodes(released);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Deserialize as _;
    use serde_json::json;

    use super::*;
    use crate::views::Node;

    fn cache() -> SharedCache {
        let cache = SharedCache::default();
        let node = json!({ "metadata": { "name": "a", "uid": "a" } });
        cache.lock().update_node(&Node::deserialize(&node).unwrap());
        cache
    }

    fn reserve(cache: &SharedCache) -> Reservation {
        let pod = Key::new("ns", "agent-a");
        let room = cache.reserve(&pod, "a", &Arc::default());
        room.expect("room on an empty node")
    }

    fn pods(cache: &SharedCache) -> usize {
        let cache = cache.lock();
        cache.node("a").map_or(0, |(_, info)| info.pods.len())
    }

    #[tokio::test(start_paused = true)]
    async fn room_for_a_creation_without_an_answer_is_given_back_in_the_end() {
        let (cache, began) = (cache(), Instant::now());
        reserve(&cache).keep_until_seen();
        assert_eq!(pods(&cache), 1);
        // Lists without the pod do not prove that the request is not carried out later.
        for _ in 0..3 {
            cache.lock().retain_pods(&BTreeSet::new());
        }
        assert_eq!(pods(&cache), 1);
        assert_eq!(cache.released().await, ["a"]);
        assert_eq!((began.elapsed(), pods(&cache)), (MAY_APPEAR, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_answer_about_the_pod_settles_a_creation_without_an_answer() {
        let cache = cache();
        reserve(&cache).keep_until_seen();
        // The repetition is refused.
        drop(reserve(&cache));
        assert_eq!(pods(&cache), 1);
        // The next one finds the pod. The room is not given back before its event.
        reserve(&cache).keep();
        tokio::time::sleep(2 * MAY_APPEAR).await;
        assert_eq!(cache.lock().expire(Instant::now()), [""; 0]);
        assert_eq!(pods(&cache), 1);
    }
}
