//! The scheduler's cache, shared with the controller that creates pods with their node set.
//!
//! Both count a pod here before they send its request, so that a node never gets more than it has
//! room for although two controllers bind pods.

use std::sync::Arc;

use pandaemon_client::object_meta::Key;
use pandaemon_types::PodResources;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::cache::SchedulerCache;

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
        let is_reserved = self.lock().reserve(pod, node, resources);
        is_reserved.then(|| Reservation {
            cache: self.clone(),
            pod: pod.clone(),
        })
    }

    /// Waits for reservations that are taken back, and returns their nodes. Cancel safe.
    pub(super) async fn released(&self) -> Vec<String> {
        self.0.changed.notified().await;
        std::mem::take(&mut *self.0.released.lock())
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
        // No pod has an empty key, so the drop releases nothing.
        self.pod = Key::default();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let released = self.cache.lock().release(&self.pod);
        if let Some(node) = released {
            self.cache.0.released.lock().push(node);
            self.cache.0.changed.notify_one();
        }
    }
}
