//! The ConfigMaps and Secrets that a pod references, and their cached content.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use tokio::sync::watch;

use super::PodRef;
use crate::api::object_cache::{CachedObject, ObjectCache, ObjectData, ObjectKey, ObjectKind};

/// The objects that a pod references, watched while the pod is on this node.
pub(crate) struct PodReferences {
    cache: ObjectCache,
    receivers: BTreeMap<ObjectKey, watch::Receiver<CachedObject>>,
}

/// The content of the referenced objects at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReferencedObjects {
    namespace: String,
    known: BTreeMap<ObjectKey, CachedObject>,
}

impl PodReferences {
    /// Starts watching the objects that the pod references.
    #[must_use]
    pub(crate) fn watch(pod: &PodRef, cache: &ObjectCache) -> Self {
        let keys = references(pod);
        let receivers = keys
            .into_iter()
            .map(|key| (key.clone(), cache.watch(&key)))
            .collect();
        Self {
            cache: cache.clone(),
            receivers,
        }
    }

    /// The cached content; waits a little for objects that were not received yet.
    pub(crate) async fn read(&mut self, namespace: &str) -> ReferencedObjects {
        let cache = &self.cache;
        let reads = self
            .receivers
            .iter_mut()
            .map(|(key, receiver)| async move { (key.clone(), cache.read(receiver).await) });
        let known = futures::future::join_all(reads).await.into_iter().collect();
        ReferencedObjects {
            namespace: namespace.to_owned(),
            known,
        }
    }

    /// The cached content as it is now.
    #[must_use]
    pub(crate) fn current(&mut self, namespace: &str) -> ReferencedObjects {
        let known = self
            .receivers
            .iter_mut()
            .map(|(key, receiver)| (key.clone(), receiver.borrow_and_update().clone()));
        ReferencedObjects {
            namespace: namespace.to_owned(),
            known: known.collect(),
        }
    }

    /// Resolves when an object has changed. Never resolves if the pod references none.
    pub(crate) async fn changed(&mut self) {
        if self.receivers.is_empty() {
            return std::future::pending().await;
        }
        let changes = self
            .receivers
            .values_mut()
            .map(|receiver| Box::pin(receiver.changed()));
        let (result, ..) = futures::future::select_all(changes).await;
        if result.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl ReferencedObjects {
    /// The content of given objects.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn of(namespace: &str, known: BTreeMap<ObjectKey, CachedObject>) -> Self {
        Self {
            namespace: namespace.to_owned(),
            known,
        }
    }

    /// The data of an object; `Ok(None)` if it does not exist and is optional.
    ///
    /// # Errors
    /// The kubelet's message if it does not exist or was not received yet.
    pub(crate) fn get(
        &self,
        kind: ObjectKind,
        name: &str,
        optional: bool,
    ) -> Result<Option<&ObjectData>, String> {
        let key = ObjectKey {
            kind,
            namespace: self.namespace.clone(),
            name: name.to_owned(),
        };
        match self.known.get(&key) {
            Some(CachedObject::Present(data)) => Ok(Some(data)),
            Some(CachedObject::Missing) if optional => Ok(None),
            Some(CachedObject::Missing) => Err(format!("{} {name:?} not found", kind.lower_name())),
            Some(CachedObject::Unknown) | None => {
                let name_of_kind = kind.lower_name();
                Err(format!(
                    "failed to sync {name_of_kind} cache: timed out waiting for {name:?}"
                ))
            }
        }
    }

    /// One key of an object; `Ok(None)` if object or key do not exist and are optional.
    ///
    /// # Errors
    /// The kubelet's message if one of them does not exist or the object was not received yet.
    pub(crate) fn key(
        &self,
        kind: ObjectKind,
        name: &str,
        key: &str,
        optional: bool,
    ) -> Result<Option<&[u8]>, String> {
        let Some(data) = self.get(kind, name, optional)? else {
            return Ok(None);
        };
        match data.0.get(key) {
            Some(bytes) => Ok(Some(bytes)),
            None if optional => Ok(None),
            None => {
                let (title, namespace) = (kind.title(), &self.namespace);
                Err(format!(
                    "couldn't find key {key} in {title} {namespace}/{name}"
                ))
            }
        }
    }

    /// The image pull secrets of the pod that exist.
    #[must_use]
    pub(crate) fn pull_secrets(&self, pod: &PodRef) -> Vec<Secret> {
        let names = pod
            .spec
            .image_pull_secrets
            .iter()
            .flatten()
            .map(|one| one.name.as_str());
        let found =
            names.filter_map(|name| self.get(ObjectKind::Secret, name, true).ok().flatten());
        found
            .map(|data| {
                let data = data
                    .0
                    .iter()
                    .map(|(key, v)| (key.clone(), ByteString(v.clone())));
                Secret {
                    data: Some(data.collect()),
                    ..Secret::default()
                }
            })
            .collect()
    }
}

impl ObjectKind {
    const fn title(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// The keys of all ConfigMaps and Secrets in the pod spec.
fn references(pod: &PodRef) -> Vec<ObjectKey> {
    let mut names: Vec<(ObjectKind, String)> = Vec::new();
    for one in pod.spec.image_pull_secrets.iter().flatten() {
        names.push((ObjectKind::Secret, one.name.clone()));
    }
    for container in pod.all_containers().chain(&pod.ephemeral) {
        environment_references(container, &mut names);
    }
    for volume in pod.spec.volumes.iter().flatten() {
        if let Some(source) = &volume.config_map {
            names.push((ObjectKind::ConfigMap, source.name.clone()));
        }
        if let Some(name) = volume
            .secret
            .as_ref()
            .and_then(|one| one.secret_name.clone())
        {
            names.push((ObjectKind::Secret, name));
        }
        let projected = volume
            .projected
            .iter()
            .flat_map(|one| one.sources.iter().flatten());
        for source in projected {
            names.extend(
                source
                    .config_map
                    .iter()
                    .map(|one| (ObjectKind::ConfigMap, one.name.clone())),
            );
            names.extend(
                source
                    .secret
                    .iter()
                    .map(|one| (ObjectKind::Secret, one.name.clone())),
            );
        }
    }
    names.sort();
    names.dedup();
    let namespace = &pod.namespace;
    let key = |(kind, name)| ObjectKey {
        kind,
        namespace: namespace.clone(),
        name,
    };
    names.into_iter().map(key).collect()
}

fn environment_references(
    container: &k8s_openapi::api::core::v1::Container,
    names: &mut Vec<(ObjectKind, String)>,
) {
    for from in container.env_from.iter().flatten() {
        names.extend(
            from.config_map_ref
                .iter()
                .map(|one| (ObjectKind::ConfigMap, one.name.clone())),
        );
        names.extend(
            from.secret_ref
                .iter()
                .map(|one| (ObjectKind::Secret, one.name.clone())),
        );
    }
    for from in container
        .env
        .iter()
        .flatten()
        .filter_map(|env| env.value_from.as_ref())
    {
        names.extend(
            from.config_map_key_ref
                .iter()
                .map(|one| (ObjectKind::ConfigMap, one.name.clone())),
        );
        names.extend(
            from.secret_key_ref
                .iter()
                .map(|one| (ObjectKind::Secret, one.name.clone())),
        );
    }
}
