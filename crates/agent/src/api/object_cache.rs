//! The ConfigMaps and Secrets that pods of this node reference: watched while referenced, and saved
//! on disk so that pods start while the control plane cannot be reached. The kubelet's watch-based
//! manager.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, runtime::watcher};
use pandaemon_runtime::Shutdown;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{files, supervise};

/// How long the start of a pod waits for the first response of the API server.
const FIRST_RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The kinds of objects that carry data for pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ObjectKind {
    ConfigMap,
    Secret,
}

impl ObjectKind {
    /// The lower-case name that the kubelet's messages use.
    #[must_use]
    pub(crate) const fn lower_name(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }
}

/// The identity of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ObjectKey {
    pub kind: ObjectKind,
    pub namespace: String,
    pub name: String,
}

/// The data of an object by key; `binaryData` of a ConfigMap included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectData(pub BTreeMap<String, Vec<u8>>);

/// The cached state of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum CachedObject {
    /// The API server has not responded yet, and there is no saved copy.
    #[default]
    Unknown,
    /// It does not exist.
    Missing,
    LocalImage(Arc<ObjectData>),
}

type Watches = Arc<Mutex<BTreeMap<ObjectKey, Arc<watch::Sender<CachedObject>>>>>;

/// The cache of all referenced objects. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ObjectCache {
    client: Client,
    dir: PathBuf,
    watches: Watches,
}

impl ObjectCache {
    /// ObjectCache from this API, with copies in `dir`.
    #[must_use]
    pub(crate) fn new(client: Client, dir: PathBuf) -> Self {
        Self {
            client,
            dir,
            watches: Watches::default(),
        }
    }

    /// Watches an object for as long as the receiver exists.
    #[must_use]
    pub(crate) fn watch(&self, key: &ObjectKey) -> watch::Receiver<CachedObject> {
        let mut watches = self.watches.lock();
        if let Some(sender) = watches.get(key) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(CachedObject::Unknown);
        let sender = Arc::new(sender);
        watches.insert(key.clone(), Arc::clone(&sender));
        let (this, key) = (self.clone(), key.clone());
        let watch = move || {
            let (this, key, sender) = (this.clone(), key.clone(), Arc::clone(&sender));
            async move { this.watch_while_referenced(key, sender).await }
        };
        let task = supervise::run_to_end("object watch", Shutdown::default(), watch);
        pandaemon_runtime::spawn("object watches", task);
        receiver
    }

    /// The cached object; waits a little for the first response if there is nothing yet.
    pub(crate) async fn read(&self, receiver: &mut watch::Receiver<CachedObject>) -> CachedObject {
        let cached = receiver.wait_for(|cached| *cached != CachedObject::Unknown);
        match tokio::time::timeout(FIRST_RESPONSE_TIMEOUT, cached).await {
            Ok(Ok(cached)) => cached.clone(),
            Ok(Err(_)) | Err(_) => CachedObject::Unknown,
        }
    }

    async fn watch_while_referenced(
        &self,
        key: ObjectKey,
        sender: Arc<watch::Sender<CachedObject>>,
    ) {
        loop {
            tokio::select! {
                () = self.watch_object(&key, &sender) => (),
                () = sender.closed() => {
                    let mut watches = self.watches.lock();
                    if sender.receiver_count() == 0 {
                        watches.remove(&key);
                        return;
                    }
                }
            }
        }
    }

    async fn watch_object(&self, key: &ObjectKey, sender: &watch::Sender<CachedObject>) {
        match key.kind {
            ObjectKind::ConfigMap => {
                let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &key.namespace);
                self.apply_stream(
                    key,
                    sender,
                    watcher::watch_object(api, &key.name),
                    config_map,
                )
                .await;
            }
            ObjectKind::Secret => {
                let api: Api<Secret> = Api::namespaced(self.client.clone(), &key.namespace);
                self.apply_stream(key, sender, watcher::watch_object(api, &key.name), secret)
                    .await;
            }
        }
    }

    async fn apply_stream<K>(
        &self,
        key: &ObjectKey,
        sender: &watch::Sender<CachedObject>,
        stream: impl futures::Stream<Item = watcher::Result<Option<K>>>,
        data: fn(K) -> ObjectData,
    ) {
        let mut stream = std::pin::pin!(stream);
        let mut delay = Duration::from_millis(200);
        while let Some(item) = stream.next().await {
            let cached = match item {
                Ok(Some(object)) => CachedObject::LocalImage(Arc::new(data(object))),
                Ok(None) => CachedObject::Missing,
                Err(error) => {
                    tracing::debug!(%error, name = key.name, "watch of an object failed; trying again");
                    self.use_saved_copy(key, sender);
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(Duration::from_secs(30));
                    continue;
                }
            };
            delay = Duration::from_millis(200);
            self.save(key, &cached);
            sender.send_if_modified(|old| {
                let changed = *old != cached;
                *old = cached;
                changed
            });
        }
    }

    /// Uses the saved copy as long as the API server has not responded.
    fn use_saved_copy(&self, key: &ObjectKey, sender: &watch::Sender<CachedObject>) {
        if *sender.borrow() != CachedObject::Unknown {
            return;
        }
        let bytes = std::fs::read(self.path(key)).ok();
        if let Some(data) = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            sender.send_replace(CachedObject::LocalImage(Arc::new(data)));
        }
    }

    fn save(&self, key: &ObjectKey, cached: &CachedObject) {
        let path = self.path(key);
        let done = match cached {
            CachedObject::Unknown => Ok(()),
            CachedObject::Missing => files::remove(&path),
            CachedObject::LocalImage(data) => serde_json::to_vec(&**data)
                .map_err(std::io::Error::other)
                .and_then(|bytes| files::replace(&path, &bytes, 0o600)),
        };
        if let Err(error) = done {
            tracing::warn!(path = %path.display(), %error, "cannot save a copy of an object");
        }
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        let dir: &Path = &self.dir;
        dir.join(key.kind.lower_name())
            .join(&key.namespace)
            .join(format!("{}.json", key.name))
    }
}

fn config_map(object: ConfigMap) -> ObjectData {
    let texts = object.data.unwrap_or_default().into_iter();
    let texts = texts.map(|(key, text)| (key, text.into_bytes()));
    let bytes = object.binary_data.unwrap_or_default().into_iter();
    ObjectData(
        texts
            .chain(bytes.map(|(key, bytes)| (key, bytes.0)))
            .collect(),
    )
}

fn secret(object: Secret) -> ObjectData {
    let data = object.data.unwrap_or_default().into_iter();
    ObjectData(data.map(|(key, bytes)| (key, bytes.0)).collect())
}
