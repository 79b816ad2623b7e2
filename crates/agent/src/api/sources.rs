//! Config maps and secrets that pods here use: watched while used, kept on disk for the time when
//! the control plane is away.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, runtime::watcher};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::files;

/// How long a pod's start waits for the API before it takes the copy on disk.
const PATIENCE: Duration = Duration::from_secs(3);

/// The two kinds of objects that carry data for pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Not secret.
    ConfigMap,
    /// Secret.
    Secret,
}

impl Kind {
    /// As messages name it.
    #[must_use]
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }
}

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// An object's data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Data(pub BTreeMap<String, Vec<u8>>);

/// What is known of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing: the API has not answered.
    #[default]
    Unknown,
    /// It does not exist.
    Missing,
    /// It exists.
    Present(Arc<Data>),
}

type Watches = Arc<Mutex<BTreeMap<Key, Arc<watch::Sender<Known>>>>>;

/// All objects in use. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sources {
    client: Client,
    dir: PathBuf,
    watches: Watches,
}

impl Sources {
    /// Sources from this API, with copies in `dir`.
    #[must_use]
    pub(crate) fn new(client: Client, dir: PathBuf) -> Self {
        Self {
            client,
            dir,
            watches: Watches::default(),
        }
    }

    /// Follows an object for as long as the receiver lives.
    #[must_use]
    pub(crate) fn follow(&self, key: &Key) -> watch::Receiver<Known> {
        let mut watches = self.watches.lock();
        if let Some(sender) = watches.get(key) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Known::Unknown);
        let sender = Arc::new(sender);
        watches.insert(key.clone(), Arc::clone(&sender));
        let (this, key) = (self.clone(), key.clone());
        pandaemon_runtime::spawn("source", async move { this.keep(key, sender).await });
        receiver
    }

    /// What is known now; waits a little for the first answer.
    pub(crate) async fn read(&self, receiver: &mut watch::Receiver<Known>) -> Known {
        let known = receiver.wait_for(|known| *known != Known::Unknown);
        match tokio::time::timeout(PATIENCE, known).await {
            Ok(Ok(known)) => known.clone(),
            Ok(Err(_)) | Err(_) => Known::Unknown,
        }
    }

    async fn keep(&self, key: Key, sender: Arc<watch::Sender<Known>>) {
        loop {
            tokio::select! {
                () = self.watch(&key, &sender) => (),
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

    async fn watch(&self, key: &Key, sender: &watch::Sender<Known>) {
        match key.kind {
            Kind::ConfigMap => {
                let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &key.namespace);
                self.follow_stream(
                    key,
                    sender,
                    watcher::watch_object(api, &key.name),
                    config_map,
                )
                .await;
            }
            Kind::Secret => {
                let api: Api<Secret> = Api::namespaced(self.client.clone(), &key.namespace);
                self.follow_stream(key, sender, watcher::watch_object(api, &key.name), secret)
                    .await;
            }
        }
    }

    async fn follow_stream<K>(
        &self,
        key: &Key,
        sender: &watch::Sender<Known>,
        stream: impl futures::Stream<Item = watcher::Result<Option<K>>>,
        data: fn(K) -> Data,
    ) {
        let mut stream = std::pin::pin!(stream);
        let mut pause = Duration::from_millis(200);
        while let Some(item) = stream.next().await {
            let known = match item {
                Ok(Some(object)) => Known::Present(Arc::new(data(object))),
                Ok(None) => Known::Missing,
                Err(error) => {
                    tracing::debug!(%error, name = key.name, "watch a pod's source");
                    self.fall_back(key, sender);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(30));
                    continue;
                }
            };
            pause = Duration::from_millis(200);
            self.store(key, &known);
            sender.send_if_modified(|old| {
                let changed = *old != known;
                *old = known;
                changed
            });
        }
    }

    /// Without the API the copy on disk must do.
    fn fall_back(&self, key: &Key, sender: &watch::Sender<Known>) {
        if *sender.borrow() != Known::Unknown {
            return;
        }
        let bytes = std::fs::read(self.path(key)).ok();
        if let Some(data) = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            sender.send_replace(Known::Present(Arc::new(data)));
        }
    }

    fn store(&self, key: &Key, known: &Known) {
        let path = self.path(key);
        let done = match known {
            Known::Unknown => Ok(()),
            Known::Missing => files::remove(&path),
            Known::Present(data) => serde_json::to_vec(&**data)
                .map_err(std::io::Error::other)
                .and_then(|bytes| files::replace(&path, &bytes, 0o600)),
        };
        if let Err(error) = done {
            tracing::warn!(path = %path.display(), %error, "keep a copy of a pod's source");
        }
    }

    fn path(&self, key: &Key) -> PathBuf {
        let dir: &Path = &self.dir;
        dir.join(key.kind.word())
            .join(&key.namespace)
            .join(format!("{}.json", key.name))
    }
}

fn config_map(object: ConfigMap) -> Data {
    let texts = object.data.unwrap_or_default().into_iter();
    let texts = texts.map(|(key, text)| (key, text.into_bytes()));
    let bytes = object.binary_data.unwrap_or_default().into_iter();
    Data(
        texts
            .chain(bytes.map(|(key, bytes)| (key, bytes.0)))
            .collect(),
    )
}

fn secret(object: Secret) -> Data {
    let data = object.data.unwrap_or_default().into_iter();
    Data(data.map(|(key, bytes)| (key, bytes.0)).collect())
}
