//! The registry: the verbs on stored objects. Upstream: `k8s.io/apiserver/pkg/registry/generic`.
//!
//! A write reads the object from the watch cache, changes it as a value, and commits it with the
//! precondition that the object is unchanged (optimistic concurrency). It is answered when it is
//! durable and visible to all readers.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod lease_renewal;
pub(crate) mod options;
pub(crate) mod patch;
pub(crate) mod read;
pub(crate) mod template_cache;
pub(crate) mod update;

use std::sync::Arc;

use jiff::Timestamp;
use pandaemon_machinery::{
    Kind, KindRef, Scheme, Status,
    scheme::{self, NameTaken},
    status::{Details, Result},
};
use pandaemon_store::{Durability, Error as StoreError, Expect, Op, Revision, Store, Write};
use pandaemon_types::time::rfc3339_seconds;
use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{
    auth::User,
    convert,
    object::{self, Object, Unparsed},
    watch_cache::{WatchCache, key},
};

pub(crate) use self::options::WriteOptions;

/// Reads and writes of stored objects.
#[derive(Debug)]
pub(crate) struct Registry {
    /// The store, to which all writes are committed.
    pub store: Arc<dyn Store>,
    /// The watch cache, from which all reads are served.
    pub cache: Arc<WatchCache>,
    /// The kinds that are served; replaced as a whole.
    scheme: RwLock<Scheme>,
    /// Held while an object gets values that no other may have, such as the address of a Service.
    creation_lock: Mutex<()>,
    /// The error of the last durable write, if the store refused it.
    store_fault: parking_lot::Mutex<Option<String>>,
    /// Templates of pods that differ in name and node only.
    templates: template_cache::TemplateCache,
}

/// The parameters of an operation: object, user, field manager, options and time.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The kind of the path.
    pub kind: KindRef,
    /// The kinds that were served when the request came.
    pub scheme: Scheme,
    /// The namespace of the path, empty for none.
    pub namespace: String,
    /// The name of the path, empty for none.
    pub name: String,
    /// The subresource of the path, empty for none.
    pub subresource: String,
    /// The user of the request.
    pub user: User,
    /// The field manager that owns the written fields.
    pub manager: String,
    /// The options of a write.
    pub options: WriteOptions,
    /// The time of the request.
    pub now: Timestamp,
}

impl Call {
    /// An operation of the server itself.
    #[must_use]
    pub(crate) fn internal(scheme: Scheme, kind: &KindRef, namespace: &str, name: &str) -> Self {
        Self {
            kind: Arc::clone(kind),
            scheme,
            namespace: namespace.into(),
            name: name.into(),
            subresource: String::new(),
            user: User::server(),
            manager: "pandaemon".into(),
            options: WriteOptions::default(),
            now: Timestamp::now(),
        }
    }

    /// The time of the request in the format of object timestamps.
    #[must_use]
    pub(crate) fn time(&self) -> String {
        rfc3339_seconds(self.now)
    }
}

/// The outcome of a write.
#[derive(Debug)]
pub(crate) struct Written {
    /// The object after the write.
    pub object: Arc<Object>,
    /// Whether the write created it.
    pub created: bool,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
}

/// Why a commit failed.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// The object has changed since it was read.
    Conflict,
    /// Any other error, as the status for the client.
    Failed(Box<Status>),
}

impl Registry {
    /// A registry of a store and of the watch cache that follows it.
    #[must_use]
    pub(crate) fn new(store: Arc<dyn Store>, cache: Arc<WatchCache>) -> Self {
        Self {
            store,
            cache,
            scheme: RwLock::new(scheme::built_in().clone()),
            creation_lock: Mutex::default(),
            store_fault: parking_lot::Mutex::default(),
            templates: template_cache::TemplateCache::default(),
        }
    }

    /// The kinds that are served now.
    #[must_use]
    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme.read().clone()
    }

    /// Serves one more kind from now on, with the objects of it that are stored.
    ///
    /// # Errors
    /// [`NameTaken`] if another kind has one of its names.
    pub(crate) fn serve_kind(&self, kind: Kind) -> Result<(), NameTaken> {
        let mut scheme = self.scheme.write();
        let kind = Arc::new(kind);
        let next = scheme.with(Arc::clone(&kind))?;
        // The cache first: a request that finds the kind finds its objects.
        self.cache.add_kind(&kind, || self.store.snapshot());
        *scheme = next;
        Ok(())
    }

    /// No longer serves a kind, and ends its watches. Its objects stay.
    pub(crate) fn stop_serving(&self, group: &str, version: &str, plural: &str) {
        let mut scheme = self.scheme.write();
        let Some(kind) = scheme.find_resource(group, version, plural).cloned() else {
            return;
        };
        let next = scheme.without(&kind);
        let is_shared = next
            .kinds()
            .iter()
            .any(|other| other.storage == kind.storage);
        *scheme = next;
        drop(scheme);
        if !is_shared {
            self.cache.remove_kind(&kind);
        }
    }

    /// An operation of the server itself.
    #[must_use]
    pub(crate) fn internal_call(&self, kind: &KindRef, namespace: &str, name: &str) -> Call {
        Call::internal(self.scheme(), kind, namespace, name)
    }

    /// The current object of the call's path.
    ///
    /// # Errors
    /// 404 if it does not exist.
    pub(crate) fn current(&self, call: &Call) -> Result<Arc<Object>> {
        self.find(&call.kind, &call.namespace, &call.name)
            .ok_or_else(|| Status::not_found(&call.kind, &call.name))
    }

    /// The current object with this name, if it exists.
    #[must_use]
    pub(crate) fn find(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.cache.of(kind)?.get(&key(kind, namespace, name))
    }

    /// The object after a write. Taken from the cache, where it is parsed already, unless it was a
    /// dry run or another writer has changed the object since.
    fn written(
        &self,
        call: &Call,
        key: pandaemon_store::Key,
        bytes: bytes::Bytes,
        revision: Revision,
    ) -> Result<Arc<Object>, CommitError> {
        let cached = self.cache.of(&call.kind).and_then(|kind| kind.get(&key));
        if let Some(object) = cached.filter(|object| object.revision == revision && revision > 0)
            && !call.options.dry_run
        {
            return Ok(object);
        }
        let index = call.kind.strategy.indexed_field();
        let object = Object::new(key, bytes, revision, index).map_err(unreadable);
        object.map(Arc::new).map_err(CommitError::Failed)
    }

    /// Commits a write and waits until the watch cache has applied it.
    async fn commit(
        &self,
        call: &Call,
        key: pandaemon_store::Key,
        expect: Expect,
        op: Op,
    ) -> Result<Revision, CommitError> {
        let durability = if call.kind.strategy.is_volatile(&call.namespace) {
            Durability::Volatile
        } else {
            Durability::Durable
        };
        let committed = self
            .store
            .commit(Write {
                key,
                expect,
                op,
                durability,
            })
            .await;
        // A successful volatile write does not show that the disk works.
        if durability == Durability::Durable || committed.is_err() {
            self.record_fault(&committed);
        }
        match committed {
            Ok(revision) => {
                self.cache.reached(revision).await;
                Ok(revision)
            }
            Err(StoreError::Conflict(entry)) => {
                if let Some(entry) = &entry {
                    self.cache.reached(entry.mod_revision).await;
                }
                Err(CommitError::Conflict)
            }
            Err(error) => Err(CommitError::Failed(store_unavailable(&error))),
        }
    }

    /// Records and logs whether the store accepts durable writes.
    fn record_fault(&self, committed: &Result<Revision, StoreError>) {
        let fault = match committed {
            Err(StoreError::Storage(why)) => Some(why.clone()),
            Ok(_) => None,
            // The write failed without use of the disk.
            Err(_) => return,
        };
        let mut known = self.store_fault.lock();
        if *known != fault {
            match &fault {
                Some(why) => tracing::error!(error = why, "the store refuses durable writes"),
                None => tracing::info!("the store accepts durable writes again"),
            }
            *known = fault;
        }
    }

    /// The error of the last durable write; `None` while the store accepts them.
    #[must_use]
    pub(crate) fn store_fault(&self) -> Option<String> {
        self.store_fault.lock().clone()
    }

    /// Tries a durable write if the last one was refused, to detect that the store works again.
    pub(crate) async fn probe_store(&self) {
        if self.store_fault.lock().is_none() {
            return;
        }
        let key: pandaemon_store::Key = "/pandaemon.dev/probes//store".into();
        let expect = match self.store.snapshot().entries.get(&key) {
            Some(entry) => Expect::At(entry.mod_revision),
            None => Expect::Absent,
        };
        // As large as an object, because a disk with a few free bytes is still full.
        let op = Op::Put(vec![b' '; PROBE_BYTES].into());
        let write = Write {
            key,
            expect,
            op,
            durability: Durability::Durable,
        };
        let committed = self.store.commit(write).await;
        self.record_fault(&committed);
    }

    /// Encodes an object of the call's kind for the store.
    fn encode(call: &Call, value: &Value) -> Result<bytes::Bytes> {
        Self::encode_with(call, value, Unparsed::default())
    }

    /// As [`Registry::encode`], with encoded parts.
    fn encode_with(call: &Call, value: &Value, unparsed: Unparsed<'_>) -> Result<bytes::Bytes> {
        let encoded = if convert::is_native(&call.kind) {
            object::encode_with(value, unparsed)
        } else {
            let mut stored = value.clone();
            convert::to_stored(&call.kind, &mut stored);
            object::encode(&stored)
        };
        let bytes = encoded.map_err(Status::internal)?;
        if bytes.len() > MAX_OBJECT {
            return Err(Status::too_large(format!(
                "Request entity too large: limit is {MAX_OBJECT}"
            )));
        }
        Ok(bytes)
    }
}

/// The fields of an encoded spec that writes to the status and deletions read.
fn spec_excerpt(kind: &Kind, spec: &[u8]) -> Result<Value> {
    let read = kind.strategy.spec_read_by_status_writes();
    object::pick(spec, read.unwrap_or_default()).map_err(Status::internal)
}

/// Size of the probe write, in bytes.
const PROBE_BYTES: usize = 64 << 10;

/// Maximum size of a stored object, in bytes; that of a request body.
const MAX_OBJECT: usize = 3 << 20;

/// The status of a write that the store refused: 503 with `retryAfterSeconds`.
#[must_use]
pub(crate) fn store_unavailable(error: &StoreError) -> Box<Status> {
    let message = match error {
        StoreError::Storage(why) => {
            format!("the store refused the write: {why}; nothing of this request was stored")
        }
        StoreError::Closed => "the server is shutting down".to_owned(),
        other => other.to_string(),
    };
    Status::failure(503, "ServiceUnavailable", message).with_details(Details {
        retry_after_seconds: 1,
        ..Details::default()
    })
}

/// The status of a stored object that cannot be read (500).
pub(crate) fn unreadable(error: object::Error) -> Box<Status> {
    Status::internal(error)
}
