//! The pods of this node and their workers; the store of the kubelet's pod manager.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::RwLock;

use crate::pod::{
    PodRef,
    api_status::foreign_conditions,
    worker::{PodUpdate, WorkerHandle},
};

/// The pods of this node and their workers, by uid. Clones share the store.
#[derive(Clone, Default)]
pub(crate) struct Pods(Arc<RwLock<BTreeMap<String, Entry>>>);

#[derive(Clone)]
struct Entry {
    pod: Arc<PodRef>,
    worker: WorkerHandle,
}

impl Pods {
    /// The pod with this namespace and name.
    #[must_use]
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<Arc<PodRef>> {
        let pods = self.0.read();
        let mut found = pods
            .values()
            .filter(|entry| entry.pod.namespace == namespace && entry.pod.name == name);
        found.next_back().map(|entry| Arc::clone(&entry.pod))
    }

    /// The pod with this uid.
    #[must_use]
    pub(crate) fn get(&self, uid: &str) -> Option<Arc<PodRef>> {
        let pods = self.0.read();
        pods.get(uid).map(|entry| Arc::clone(&entry.pod))
    }

    /// All Pod objects, each with the latest status of its worker and the conditions of other
    /// clients.
    #[must_use]
    pub(crate) fn list(&self) -> Vec<serde_json::Value> {
        let pods = self.0.read();
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
        self.0.read().len()
    }

    /// The uids of all pods.
    #[must_use]
    pub(crate) fn uids(&self) -> BTreeSet<String> {
        self.0.read().keys().cloned().collect()
    }

    /// Adds a pod and its worker.
    pub(crate) fn insert(&self, pod: Arc<PodRef>, worker: WorkerHandle) {
        let entry = Entry { pod, worker };
        self.0.write().insert(entry.pod.uid.clone(), entry);
    }

    /// Replaces the object of a pod, and passes an update, if any, to its worker; its status
    /// manager sees every state. A pod without a worker is ignored.
    pub(crate) fn update(&self, pod: Arc<PodRef>, update: Option<PodUpdate>) {
        if let Some(entry) = self.0.write().get_mut(&pod.uid) {
            if let Some(update) = update {
                entry.worker.updates.send_replace(update);
            }
            entry.worker.status.reconcile(&pod);
            entry.pod = pod;
        }
    }

    /// Removes a pod.
    pub(crate) fn remove(&self, uid: &str) {
        self.0.write().remove(uid);
    }

    /// Makes the worker of a pod look at the runtime again.
    pub(crate) fn wake(&self, uid: &str) {
        if let Some(entry) = self.0.read().get(uid) {
            entry.worker.changed.notify_one();
        }
    }
}
