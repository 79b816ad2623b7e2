//! The ConfigMaps and Secrets that pods of this node reference: watched while referenced, and saved
//! on disk, encrypted, so that pods start while the control plane cannot be reached. The kubelet's
//! watch-based manager.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use k8s_openapi::{
    Metadata,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Client;
use pandaemon_client::{
    list_watch::{self, Handler, ListWatch, ListWatchEvent},
    supervise::restart_on_panic,
};
use pandaemon_types::Uid;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::watch;

use crate::{files, sealed::SealedFiles};

/// How long the start of a pod waits for the first response of the API server.
const FIRST_RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);
/// After this long without a response the saved copy is used.
const SAVED_COPY_AFTER: Duration = Duration::from_secs(1);

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

impl ObjectKey {
    /// The name of its saved copy, as a path.
    fn path(&self) -> String {
        format!(
            "{}/{}/{}",
            self.kind.lower_name(),
            self.namespace,
            self.name
        )
    }
}

/// The data of an object by key; `binaryData` of a ConfigMap included.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectData(pub BTreeMap<String, Vec<u8>>);

/// The keys only: an object may be a Secret.
impl std::fmt::Debug for ObjectData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The cached state of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum CachedObject {
    /// The API server has not responded yet, and there is no saved copy.
    #[default]
    Unknown,
    /// It does not exist.
    Missing,
    Present(Arc<ObjectData>),
}

type Watches = Arc<Mutex<BTreeMap<ObjectKey, Arc<watch::Sender<CachedObject>>>>>;

/// The cache of all referenced objects. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ObjectCache {
    client: Client,
    dir: PathBuf,
    sealed: Arc<SealedFiles>,
    watches: Watches,
}

impl ObjectCache {
    /// ObjectCache from this API, with copies in `dir`.
    #[must_use]
    pub(crate) fn new(client: Client, dir: PathBuf, sealed: Arc<SealedFiles>) -> Self {
        Self {
            client,
            dir,
            sealed,
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
        pandaemon_runtime::spawn("object watch", async move {
            restart_on_panic("object watch", || {
                this.watch_while_referenced(&key, &sender)
            })
            .await;
        });
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

    async fn watch_while_referenced(&self, key: &ObjectKey, sender: &watch::Sender<CachedObject>) {
        let saved_copy = async {
            tokio::time::sleep(SAVED_COPY_AFTER).await;
            self.use_saved_copy(key, sender);
            std::future::pending::<()>().await;
        };
        let mut watches = std::pin::pin!(futures::future::join(
            self.watch_object(key, sender),
            saved_copy
        ));
        loop {
            tokio::select! {
                _ = &mut watches => (),
                () = sender.closed() => {
                    let mut watches = self.watches.lock();
                    if sender.receiver_count() == 0 {
                        watches.remove(key);
                        return;
                    }
                }
            }
        }
    }

    async fn watch_object(&self, key: &ObjectKey, sender: &watch::Sender<CachedObject>) {
        let (namespace, name) = (&key.namespace, &key.name);
        let collection = match key.kind {
            ObjectKind::ConfigMap => "configmaps",
            ObjectKind::Secret => "secrets",
        };
        let path = format!("/api/v1/namespaces/{namespace}/{collection}");
        let source = ListWatch::all(path).fields(format!("metadata.name={name}"));
        let target = Target {
            cache: self,
            key,
            sender,
        };
        match key.kind {
            ObjectKind::ConfigMap => {
                let handler = ObjectHandler::new(target, config_map);
                list_watch::run(&self.client, &source, handler).await;
            }
            ObjectKind::Secret => {
                let handler = ObjectHandler::new(target, secret);
                list_watch::run(&self.client, &source, handler).await;
            }
        }
    }

    fn set(&self, key: &ObjectKey, sender: &watch::Sender<CachedObject>, cached: CachedObject) {
        self.save(key, &cached);
        sender.send_if_modified(|old| {
            let changed = *old != cached;
            *old = cached;
            changed
        });
    }

    /// Uses the saved copy as long as the API server has not responded.
    fn use_saved_copy(&self, key: &ObjectKey, sender: &watch::Sender<CachedObject>) {
        if *sender.borrow() != CachedObject::Unknown {
            return;
        }
        let bytes = self.sealed.read(&self.path(key), &key.path());
        if let Some(data) = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            sender.send_replace(CachedObject::Present(Arc::new(data)));
        }
    }

    fn save(&self, key: &ObjectKey, cached: &CachedObject) {
        let path = self.path(key);
        let done = match cached {
            CachedObject::Unknown => Ok(()),
            CachedObject::Missing => files::remove(&path),
            CachedObject::Present(data) => serde_json::to_vec(&**data)
                .map_err(std::io::Error::other)
                .and_then(|bytes| self.sealed.replace(&path, &key.path(), &bytes)),
        };
        if let Err(error) = done {
            tracing::warn!(path = %path.display(), %error, "cannot save a copy of an object");
        }
    }

    /// Removes the saved copies of objects that no pod here references.
    pub(crate) fn remove_unreferenced(&self) {
        let watches = self.watches.lock();
        for kind in [ObjectKind::ConfigMap, ObjectKind::Secret] {
            let namespaces = files::entries(&self.dir.join(kind.lower_name()));
            let copies = namespaces.flat_map(|(namespace, dir)| {
                files::entries(&dir).map(move |(file, path)| (namespace.clone(), file, path))
            });
            for (namespace, file, path) in copies {
                let Some(name) = file.strip_suffix(".sealed").map(str::to_owned) else {
                    continue;
                };
                let key = ObjectKey {
                    kind,
                    namespace,
                    name,
                };
                if !watches.contains_key(&key)
                    && let Err(error) = files::remove(&path)
                {
                    tracing::warn!(path = %path.display(), %error, "cannot remove a saved copy");
                }
            }
        }
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.dir.join(format!("{}.sealed", key.path()))
    }
}

/// The cache entry that a list-watch keeps up to date.
struct Target<'a> {
    cache: &'a ObjectCache,
    key: &'a ObjectKey,
    sender: &'a watch::Sender<CachedObject>,
}

/// Takes the events of the list-watch of one object.
struct ObjectHandler<'a, K> {
    target: Target<'a>,
    data: fn(K) -> ObjectData,
    /// Whether the list that is being received has the object.
    listed: bool,
    /// The uid of the object as it came last.
    uid: Uid,
}

impl<'a, K: Metadata<Ty = ObjectMeta>> ObjectHandler<'a, K> {
    fn new(target: Target<'a>, data: fn(K) -> ObjectData) -> Self {
        Self {
            target,
            data,
            listed: false,
            uid: Uid::default(),
        }
    }

    fn set(&self, cached: CachedObject) {
        let Target { cache, key, sender } = self.target;
        cache.set(key, sender, cached);
    }

    fn present(&mut self, object: K) {
        self.uid = uid(&object);
        self.set(CachedObject::Present(Arc::new((self.data)(object))));
    }

    fn take(&mut self, event: ListWatchEvent<K>) {
        match event {
            ListWatchEvent::ListStarted { .. } => self.listed = false,
            ListWatchEvent::Page(objects) => {
                for object in objects {
                    self.listed = true;
                    self.present(object);
                }
            }
            ListWatchEvent::Listed { .. } if self.listed => (),
            ListWatchEvent::Listed { .. } => self.set(CachedObject::Missing),
            ListWatchEvent::Applied(object) => self.present(object),
            ListWatchEvent::Undecodable(object) => {
                self.listed = true;
                self.uid = object.uid;
            }
            ListWatchEvent::Deleted(object) => self.gone(&uid(&object)),
            ListWatchEvent::DeletedUndecodable(object) => self.gone(&object.uid),
        }
    }

    fn gone(&mut self, uid: &Uid) {
        // A later object of the name stays.
        if *uid == self.uid {
            self.listed = false;
            self.set(CachedObject::Missing);
        }
    }
}

impl<K> Handler for ObjectHandler<'_, K>
where
    K: Metadata<Ty = ObjectMeta> + DeserializeOwned + Send + 'static,
{
    type Object = K;

    fn uid(object: &K) -> Uid {
        uid(object)
    }

    fn version(object: &K) -> u64 {
        version(object)
    }

    async fn handle(&mut self, events: Vec<ListWatchEvent<K>>) -> bool {
        events.into_iter().for_each(|event| self.take(event));
        true
    }
}

/// The uid of an object, empty if it has none.
#[must_use]
pub(crate) fn uid(object: &impl Metadata<Ty = ObjectMeta>) -> Uid {
    object.metadata().uid.as_deref().unwrap_or_default().into()
}

/// The resource version of an object as a number, 0 if it has none.
#[must_use]
pub(crate) fn version(object: &impl Metadata<Ty = ObjectMeta>) -> u64 {
    let version = object.metadata().resource_version.as_deref();
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or(0)
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
