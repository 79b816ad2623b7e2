//! What both loops know: services by key, pods by namespace, and which services a change touches.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Service, changes};
use crate::views::Pod;
use pandaemon_client::{list_watch::Delta, object_meta::Key};

#[derive(Debug, Default)]
pub(super) struct State {
    services: BTreeMap<String, BTreeMap<String, Arc<Service>>>,
    pods: BTreeMap<String, BTreeMap<String, Arc<Pod>>>,
    synced: (bool, bool),
}

impl State {
    pub(super) const fn is_synced(&self) -> bool {
        self.synced.0 && self.synced.1
    }

    pub(super) fn service(&self, key: &Key) -> Option<Arc<Service>> {
        self.services.get(&key.namespace)?.get(&key.name).cloned()
    }

    pub(super) fn pods_of<'a>(
        &'a self,
        service: &'a Service,
    ) -> impl Iterator<Item = &'a Arc<Pod>> {
        let namespace = &service.metadata.namespace;
        let pods = self
            .pods
            .get(namespace)
            .into_iter()
            .flat_map(|pods| pods.values());
        pods.filter(move |pod| service.selects(namespace, &pod.meta.labels))
    }

    /// Services have changed: which are touched.
    pub(super) fn services(&mut self, delta: Delta<Service>) -> BTreeSet<Key> {
        let (listed, applied, deleted) = changes(delta);
        let mut touched = BTreeSet::new();
        if listed {
            self.synced.0 = true;
            let old = std::mem::take(&mut self.services);
            touched.extend(
                old.into_values()
                    .flat_map(BTreeMap::into_values)
                    .map(|s| s.metadata.key()),
            );
        }
        for service in deleted {
            touched.insert(service.metadata.key());
            if let Some(services) = self.services.get_mut(&service.metadata.namespace) {
                services.remove(&service.metadata.name);
            }
        }
        for service in applied {
            touched.insert(service.metadata.key());
            let (namespace, name) = (
                service.metadata.namespace.clone(),
                service.metadata.name.clone(),
            );
            self.services
                .entry(namespace)
                .or_default()
                .insert(name, Arc::new(service));
        }
        touched
    }

    /// Pods have changed: which services are touched.
    pub(super) fn pods(&mut self, delta: Delta<Arc<Pod>>) -> BTreeSet<Key> {
        let (listed, applied, deleted) = changes(delta);
        let mut touched = BTreeSet::new();
        if listed {
            self.synced.1 = true;
            self.pods.clear();
            let services = self.services.values().flat_map(BTreeMap::values);
            touched.extend(services.map(|service| service.metadata.key()));
        }
        for pod in deleted {
            self.touch(&pod, &mut touched);
            if let Some(pods) = self.pods.get_mut(&pod.meta.namespace) {
                pods.remove(&pod.meta.name);
                if pods.is_empty() {
                    self.pods.remove(&pod.meta.namespace);
                }
            }
        }
        for pod in applied {
            let pods = self.pods.entry(pod.meta.namespace.clone()).or_default();
            let old = pods.insert(pod.meta.name.clone(), pod.clone());
            if old.as_ref().is_some_and(|old| same_endpoint(old, &pod)) {
                continue;
            }
            old.iter().for_each(|old| self.touch(old, &mut touched));
            self.touch(&pod, &mut touched);
        }
        touched
    }

    fn touch(&self, pod: &Pod, touched: &mut BTreeSet<Key>) {
        let services = self
            .services
            .get(&pod.meta.namespace)
            .into_iter()
            .flat_map(BTreeMap::values);
        let selecting =
            services.filter(|service| service.selects(&pod.meta.namespace, &pod.meta.labels));
        touched.extend(selecting.map(|service| service.metadata.key()));
    }
}

/// Whether nothing has changed that an endpoint shows.
fn same_endpoint(old: &Pod, new: &Pod) -> bool {
    old.meta.uid == new.meta.uid
        && old.meta.labels == new.meta.labels
        && old.meta.is_deleting() == new.meta.is_deleting()
        && (old.phase, old.ready) == (new.phase, new.ready)
        && (&old.ips, &old.node) == (&new.ips, &new.node)
}
