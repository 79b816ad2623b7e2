//! What a pod reads from elsewhere: which config maps and secrets, and what is known of them.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use tokio::sync::watch;

use super::PodRef;
use crate::api::sources::{Data, Key, Kind, Known, Sources};

/// Everything a pod refers to, followed while the pod is here.
pub(crate) struct Inputs {
    sources: Sources,
    receivers: BTreeMap<Key, watch::Receiver<Known>>,
}

/// What was known at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    namespace: String,
    known: BTreeMap<Key, Known>,
}

impl Inputs {
    /// Begins to follow what the pod refers to.
    #[must_use]
    pub(crate) fn follow(pod: &PodRef, sources: &Sources) -> Self {
        let keys = references(pod);
        let receivers = keys
            .into_iter()
            .map(|key| (key.clone(), sources.follow(&key)))
            .collect();
        Self {
            sources: sources.clone(),
            receivers,
        }
    }

    /// What is known; waits a little for first answers.
    pub(crate) async fn read(&mut self, namespace: &str) -> Snapshot {
        let mut known = BTreeMap::new();
        for (key, receiver) in &mut self.receivers {
            known.insert(key.clone(), self.sources.read(receiver).await);
        }
        Snapshot {
            namespace: namespace.to_owned(),
            known,
        }
    }

    /// Resolves when anything changed; never if nothing is followed.
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

impl Snapshot {
    /// A snapshot of given objects.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn of(namespace: &str, known: BTreeMap<Key, Known>) -> Self {
        Self {
            namespace: namespace.to_owned(),
            known,
        }
    }

    /// An object's data; `Ok(None)` if it is missing but may be.
    ///
    /// # Errors
    /// The kubelet's words when it is missing, or not known yet.
    pub(crate) fn get(
        &self,
        kind: Kind,
        name: &str,
        optional: bool,
    ) -> Result<Option<&Data>, String> {
        let key = Key {
            kind,
            namespace: self.namespace.clone(),
            name: name.to_owned(),
        };
        match self.known.get(&key) {
            Some(Known::Present(data)) => Ok(Some(data)),
            Some(Known::Missing) if optional => Ok(None),
            Some(Known::Missing) => Err(format!("{} {name:?} not found", kind.word())),
            Some(Known::Unknown) | None => {
                let word = kind.word();
                Err(format!(
                    "failed to sync {word} cache: timed out waiting for {name:?}"
                ))
            }
        }
    }

    /// One key of an object; `Ok(None)` if it is missing but may be.
    ///
    /// # Errors
    /// The kubelet's words.
    pub(crate) fn key(
        &self,
        kind: Kind,
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
                let (word, namespace) = (kind.title(), &self.namespace);
                Err(format!(
                    "couldn't find key {key} in {word} {namespace}/{name}"
                ))
            }
        }
    }

    /// The pull secrets that exist.
    #[must_use]
    pub(crate) fn pull_secrets(&self, pod: &PodRef) -> Vec<Secret> {
        let names = pod
            .spec
            .image_pull_secrets
            .iter()
            .flatten()
            .map(|one| one.name.as_str());
        let found = names.filter_map(|name| self.get(Kind::Secret, name, true).ok().flatten());
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

impl Kind {
    const fn title(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

fn references(pod: &PodRef) -> Vec<Key> {
    let mut names: Vec<(Kind, String)> = Vec::new();
    for one in pod.spec.image_pull_secrets.iter().flatten() {
        names.push((Kind::Secret, one.name.clone()));
    }
    for container in pod.all_containers().chain(&pod.ephemeral) {
        environment(container, &mut names);
    }
    for volume in pod.spec.volumes.iter().flatten() {
        if let Some(source) = &volume.config_map {
            names.push((Kind::ConfigMap, source.name.clone()));
        }
        if let Some(name) = volume
            .secret
            .as_ref()
            .and_then(|one| one.secret_name.clone())
        {
            names.push((Kind::Secret, name));
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
                    .map(|one| (Kind::ConfigMap, one.name.clone())),
            );
            names.extend(
                source
                    .secret
                    .iter()
                    .map(|one| (Kind::Secret, one.name.clone())),
            );
        }
    }
    names.sort();
    names.dedup();
    let namespace = &pod.namespace;
    let key = |(kind, name)| Key {
        kind,
        namespace: namespace.clone(),
        name,
    };
    names.into_iter().map(key).collect()
}

fn environment(container: &k8s_openapi::api::core::v1::Container, names: &mut Vec<(Kind, String)>) {
    for from in container.env_from.iter().flatten() {
        names.extend(
            from.config_map_ref
                .iter()
                .map(|one| (Kind::ConfigMap, one.name.clone())),
        );
        names.extend(
            from.secret_ref
                .iter()
                .map(|one| (Kind::Secret, one.name.clone())),
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
                .map(|one| (Kind::ConfigMap, one.name.clone())),
        );
        names.extend(
            from.secret_key_ref
                .iter()
                .map(|one| (Kind::Secret, one.name.clone())),
        );
    }
}
