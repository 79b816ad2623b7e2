//! Services and pods by namespace, and which services a change concerns.

use pandaemon_client::{list_watch::Delta, object_meta::Key};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::service::Service;
use crate::views::Pod;

#[derive(Debug, Default)]
pub(super) struct ServiceIndex {
    services: BTreeMap<String, BTreeMap<String, Arc<Service>>>,
    pods: BTreeMap<String, BTreeMap<String, Arc<Pod>>>,
    synced: (bool, bool),
}

impl ServiceIndex {
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

    /// Applies an event of services; returns the services to write.
    pub(super) fn observe_services(&mut self, delta: Delta<Service>) -> BTreeSet<Key> {
        let (listed, applied, deleted) = changes(delta);
        let mut affected = BTreeSet::new();
        if listed {
            self.synced.0 = true;
            let old = std::mem::take(&mut self.services);
            affected.extend(
                old.into_values()
                    .flat_map(BTreeMap::into_values)
                    .map(|s| s.metadata.key()),
            );
        }
        for service in deleted {
            affected.insert(service.metadata.key());
            let name = &service.metadata.name;
            // A later service of the name stays.
            if let Some(services) = self.services.get_mut(&service.metadata.namespace)
                && services
                    .get(name)
                    .is_some_and(|known| known.metadata.uid == service.metadata.uid)
            {
                services.remove(name);
            }
        }
        for service in applied {
            affected.insert(service.metadata.key());
            let (namespace, name) = (
                service.metadata.namespace.clone(),
                service.metadata.name.clone(),
            );
            self.services
                .entry(namespace)
                .or_default()
                .insert(name, Arc::new(service));
        }
        affected
    }

    /// Applies an event of pods; returns the services to write.
    pub(super) fn observe_pods(&mut self, delta: Delta<Arc<Pod>>) -> BTreeSet<Key> {
        let (listed, applied, deleted) = changes(delta);
        let mut affected = BTreeSet::new();
        if listed {
            self.synced.1 = true;
            self.pods.clear();
            let services = self.services.values().flat_map(BTreeMap::values);
            affected.extend(services.map(|service| service.metadata.key()));
        }
        for pod in deleted {
            self.add_services_of(&pod, &mut affected);
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
            old.iter()
                .for_each(|old| self.add_services_of(old, &mut affected));
            self.add_services_of(&pod, &mut affected);
        }
        affected
    }

    fn add_services_of(&self, pod: &Pod, affected: &mut BTreeSet<Key>) {
        let services = self
            .services
            .get(&pod.meta.namespace)
            .into_iter()
            .flat_map(BTreeMap::values);
        let selecting =
            services.filter(|service| service.selects(&pod.meta.namespace, &pod.meta.labels));
        affected.extend(selecting.map(|service| service.metadata.key()));
    }
}

/// Whether all fields that an endpoint contains are equal.
fn same_endpoint(old: &Pod, new: &Pod) -> bool {
    old.meta.uid == new.meta.uid
        && old.meta.labels == new.meta.labels
        && old.meta.is_deleting() == new.meta.is_deleting()
        && (old.phase, old.ready) == (new.phase, new.ready)
        && (&old.ips, &old.node) == (&new.ips, &new.node)
}

/// Splits an event: whether it is a list, the objects that exist, and those that are deleted.
fn changes<T>(delta: Delta<T>) -> (bool, Vec<T>, Vec<T>) {
    match delta {
        Delta::Listed(items) => (true, items, Vec::new()),
        Delta::Applied(item) => (false, vec![item], Vec::new()),
        Delta::Deleted(item) => (false, Vec::new(), vec![item]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_late_deletion_of_an_earlier_service_leaves_its_successor() {
        let service = |uid: &str| -> Service {
            let object = json!({ "metadata": { "name": "s", "namespace": "a", "uid": uid } });
            serde_json::from_value(object).unwrap()
        };
        let (mut index, key) = (ServiceIndex::default(), Key::new("a", "s"));
        index.observe_services(Delta::Listed(vec![service("old")]));
        index.observe_services(Delta::Applied(service("new")));
        index.observe_services(Delta::Deleted(service("old")));
        let known = index.service(&key).map(|known| known.metadata.uid.clone());
        assert_eq!(known.as_deref(), Some("new"));
        index.observe_services(Delta::Deleted(service("new")));
        assert!(index.service(&key).is_none());
    }
}
