//! The list-watches behind `status --watch`: of the DaemonSet, its revisions and its pods.

use kube::Client;
use pandaemon_client::{
    list_watch::{Delta, ListWatch, watch},
    object_meta::{Object, ObjectMeta},
};
use pandaemon_explain::{DaemonPod, Revision};
use pandaemon_runtime::Shutdown;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::read_cluster::{labels, pods_path, revisions_path, sets_path};

/// An object with its metadata.
#[derive(Debug, Clone)]
pub(crate) struct Watched<T> {
    metadata: ObjectMeta,
    pub(crate) object: T,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Watched<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let value = Value::deserialize(deserializer)?;
        let metadata = value.get("metadata").map(ObjectMeta::deserialize);
        let metadata = metadata.transpose().map_err(D::Error::custom)?;
        Ok(Self {
            metadata: metadata.unwrap_or_default(),
            object: T::deserialize(value).map_err(D::Error::custom)?,
        })
    }
}

impl<T> Object for Watched<T>
where
    T: DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// What a list-watch delivered.
#[derive(Debug)]
pub(crate) enum Update {
    Set(Delta<Watched<Value>>),
    Revision(Delta<Watched<Revision>>),
    Pod(Delta<Watched<DaemonPod>>),
}

/// The three list-watches; they end when this is dropped.
pub(crate) struct Updates {
    sets: mpsc::Receiver<Delta<Watched<Value>>>,
    revisions: mpsc::Receiver<Delta<Watched<Revision>>>,
    pods: mpsc::Receiver<Delta<Watched<DaemonPod>>>,
}

impl Updates {
    /// Starts to watch a DaemonSet by name, and the revisions and pods that it selects.
    pub(crate) fn start(client: &Client, namespace: &str, name: &str, set: &Value) -> Self {
        let selected = |path| ListWatch::all(path).labels(labels(set));
        let sets = ListWatch::all(sets_path(namespace)).fields(format!("metadata.name={name}"));
        Self {
            sets: start(client, sets),
            revisions: start(client, selected(revisions_path(namespace))),
            pods: start(client, selected(pods_path(namespace))),
        }
    }

    /// The next update; `None` when the list-watches have ended.
    pub(crate) async fn next(&mut self) -> Option<Update> {
        tokio::select! {
            delta = self.sets.recv() => delta.map(Update::Set),
            delta = self.revisions.recv() => delta.map(Update::Revision),
            delta = self.pods.recv() => delta.map(Update::Pod),
        }
    }
}

fn start<T: Object>(client: &Client, source: ListWatch) -> mpsc::Receiver<Delta<T>> {
    watch(client.clone(), source, Shutdown::default())
}
