//! The pods of this node and their workers; the store of the kubelet's pod manager.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::pod::{
    PodRef,
    api_status::foreign_conditions,
    worker::{PodUpdate, WorkerHandle},
};

/// The pods of this node and their workers, by uid. Clones share the store.
#[derive(Clone, Default)]
pub(crate) struct Pods {
    entries: Arc<RwLock<BTreeMap<String, Entry>>>,
    /// Counts the pods that were removed.
    removed: Arc<watch::Sender<u64>>,
}

#[derive(Clone)]
struct Entry {
    pod: Arc<PodRef>,
    worker: WorkerHandle,
}

impl Pods {
    /// The pod with this namespace and name.
    #[must_use]
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<Arc<PodRef>> {
        let pods = self.entries.read();
        let mut found = pods
            .values()
            .filter(|entry| entry.pod.namespace == namespace && entry.pod.name == name);
        found.next_back().map(|entry| Arc::clone(&entry.pod))
    }

    /// The pod with this uid.
    #[must_use]
    pub(crate) fn get(&self, uid: &str) -> Option<Arc<PodRef>> {
        let pods = self.entries.read();
        pods.get(uid).map(|entry| Arc::clone(&entry.pod))
    }

    /// All Pod objects, each with the latest status of its worker and the conditions of other
    /// clients.
    #[must_use]
    pub(crate) fn list(&self) -> Vec<serde_json::Value> {
        let pods = self.entries.read();
        let object = |entry: &Entry| {
            let mut object = serde_json::to_value(entry.pod.to_object()).unwrap_or_default();
            object["status"] = entry.worker.status.last();
            if let Some(conditions) = object["status"]["conditions"].as_array_mut() {
                let others = foreign_conditions(&entry.pod);
                conditions.extend(others.filter_map(|one| serde_json::to_value(one).ok()));
            }
            object
        };
        pods.values().map(object).collect()
    }

    /// The number of pods.
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.entries.read().len()
    }

    /// The uids of all pods.
    #[must_use]
    pub(crate) fn uids(&self) -> BTreeSet<String> {
        self.entries.read().keys().cloned().collect()
    }

    /// Adds a pod and its worker.
    pub(crate) fn insert(&self, pod: Arc<PodRef>, worker: WorkerHandle) {
        let entry = Entry { pod, worker };
        self.entries.write().insert(entry.pod.uid.clone(), entry);
    }

    /// Replaces the object of a pod, and passes an update, if any, to its worker; its status
    /// manager sees every state. A pod without a worker is ignored.
    pub(crate) fn update(&self, pod: Arc<PodRef>, update: Option<PodUpdate>) {
        if let Some(entry) = self.entries.write().get_mut(&pod.uid) {
            if let Some(update) = update {
                entry.worker.updates.send_replace(update);
            }
            entry.worker.status.reconcile(&pod);
            entry.pod = pod;
        }
    }

    /// Removes a pod.
    pub(crate) fn remove(&self, uid: &str) {
        self.entries.write().remove(uid);
        self.removed.send_modify(|count| *count += 1);
    }

    /// Ends all pods, each within its grace period, and forgets their objects.
    pub(crate) fn end_all(&self) {
        for uid in self.uids() {
            if let Some(pod) = self.get(&uid) {
                self.update(Arc::clone(&pod), Some(PodUpdate::Removed(pod)));
            }
        }
    }

    /// Resolves when there are no pods.
    pub(crate) async fn emptied(&self) {
        let mut removed = self.removed.subscribe();
        while self.count() > 0 {
            // The sender lives as long as `self`.
            let _closed = removed.changed().await;
        }
    }

    /// Makes the worker of a pod look at the runtime again.
    pub(crate) fn wake(&self, uid: &str) {
        if let Some(entry) = self.entries.read().get(uid) {
            entry.worker.changed.notify_one();
        }
    }
}
