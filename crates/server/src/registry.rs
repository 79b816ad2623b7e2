//! The objects: what each verb does to the store.
//!
//! Every write is read from the cache, changed as a value, and committed on the condition that the
//! object is still as it was read; it is answered when it is durable and visible to all readers.

pub mod create;
pub mod delete;
pub mod options;
pub mod patch;
pub mod read;
pub(crate) mod stencil;
pub mod update;

use std::sync::Arc;

use jiff::Timestamp;
use pandaemon_machinery::{
    Kind, Status,
    status::{Details, Result},
};
use pandaemon_store::{Durability, Entry, Error as StoreError, Expect, Op, Revision, Store, Write};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{
    auth::User,
    cache::{Cache, key},
    convert,
    object::{self, Object},
};

pub use self::options::WriteOptions;

/// Everything that writes to and reads from the store.
#[derive(Debug)]
pub struct Registry {
    /// Where it is kept.
    pub store: Arc<dyn Store>,
    /// What can be seen.
    pub cache: Arc<Cache>,
    /// Held while a Service takes addresses and ports, so that no two take the same.
    pub service_lock: Mutex<()>,
    /// What the store said when it last refused to write; `None` while it writes.
    store_fault: parking_lot::Mutex<Option<String>>,
    /// Pods that are like others.
    stencils: stencil::Stencils,
}

/// One call: which object, on whose behalf, and how.
#[derive(Debug, Clone)]
pub struct Call {
    /// The kind of the path.
    pub kind: &'static Kind,
    /// The namespace of the path, empty for none.
    pub namespace: String,
    /// The name of the path, empty for none.
    pub name: String,
    /// The subresource of the path, empty for none.
    pub subresource: String,
    /// Who.
    pub user: User,
    /// The field manager.
    pub manager: String,
    /// How.
    pub options: WriteOptions,
    /// When.
    pub now: Timestamp,
}

impl Call {
    /// A call of the server itself.
    #[must_use]
    pub fn internal(kind: &'static Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
            subresource: String::new(),
            user: User::server(),
            manager: "pandaemon".into(),
            options: WriteOptions::default(),
            now: Timestamp::now(),
        }
    }

    /// The time as objects hold it.
    #[must_use]
    pub fn time(&self) -> String {
        format_time(self.now)
    }

    /// The key of the object of the path.
    #[must_use]
    pub fn key(&self) -> pandaemon_store::Key {
        key(self.kind, &self.namespace, &self.name)
    }
}

/// RFC 3339 with whole seconds.
#[must_use]
pub fn format_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What a write did.
#[derive(Debug)]
pub struct Written {
    /// The object after it.
    pub object: Arc<Object>,
    /// Whether it is new.
    pub created: bool,
    /// Texts for the client.
    pub warnings: Vec<String>,
}

/// Why a commit did not happen.
#[derive(Debug)]
pub enum CommitError {
    /// Somebody else was first.
    Conflict(Option<Entry>),
    /// Something that the client must be told.
    Failed(Box<Status>),
}

impl Registry {
    /// A registry over a store and the cache that follows it.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, cache: Arc<Cache>) -> Self {
        Self {
            store,
            cache,
            service_lock: Mutex::default(),
            store_fault: parking_lot::Mutex::default(),
            stencils: stencil::Stencils::default(),
        }
    }

    /// The object of the call as it is now.
    ///
    /// # Errors
    /// 404.
    pub fn current(&self, call: &Call) -> Result<Arc<Object>> {
        self.find(call.kind, &call.namespace, &call.name)
            .ok_or_else(|| Status::not_found(call.kind, &call.name))
    }

    /// An object, if it is there.
    #[must_use]
    pub fn find(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.cache.of(kind)?.get(&key(kind, namespace, name))
    }

    /// The object that a write has made. The cache has read its header already, unless somebody else has
    /// changed it since, or it was a dry run.
    fn written(
        &self,
        call: &Call,
        key: pandaemon_store::Key,
        bytes: bytes::Bytes,
        revision: Revision,
    ) -> Result<Arc<Object>, CommitError> {
        let cached = self.cache.of(call.kind).and_then(|kind| kind.get(&key));
        if let Some(object) = cached.filter(|object| object.revision == revision && revision > 0)
            && !call.options.dry_run
        {
            return Ok(object);
        }
        let object = Object::new(key, bytes, revision).map_err(unreadable);
        object.map(Arc::new).map_err(CommitError::Failed)
    }

    /// Commits and waits until everybody can see it.
    async fn commit(
        &self,
        call: &Call,
        key: pandaemon_store::Key,
        expect: Expect,
        op: Op,
    ) -> Result<Revision, CommitError> {
        let is_heartbeat = call.kind.plural == "leases" && call.namespace == "kube-node-lease";
        let durability = if is_heartbeat {
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
        // That a heartbeat needs no disk says nothing about the disk.
        if durability == Durability::Durable || committed.is_err() {
            self.note(&committed);
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
                Err(CommitError::Conflict(entry))
            }
            Err(error) => Err(CommitError::Failed(refused(&error))),
        }
    }

    fn note(&self, committed: &Result<Revision, StoreError>) {
        let fault = match committed {
            Err(StoreError::Storage(why)) => Some(why.clone()),
            Ok(_) => None,
            // Refused before the disk was asked.
            Err(_) => return,
        };
        let mut known = self.store_fault.lock();
        if *known != fault {
            match &fault {
                Some(why) => tracing::error!(error = why, "the store refuses to write"),
                None => tracing::info!("the store writes again"),
            }
            *known = fault;
        }
    }

    /// What the store said when it last refused to write; `None` while it writes.
    #[must_use]
    pub fn store_fault(&self) -> Option<String> {
        self.store_fault.lock().clone()
    }

    /// Tries to write when the store has refused, so as to learn when it is well again.
    pub async fn probe_store(&self) {
        if self.store_fault.lock().is_none() {
            return;
        }
        let key: pandaemon_store::Key = "/pandaemon.dev/probes//store".into();
        let expect = match self.store.snapshot().entries.get(&key) {
            Some(entry) => Expect::At(entry.mod_revision),
            None => Expect::Absent,
        };
        // As much as an object: a few free bytes do not make a disk well.
        let op = Op::Put(vec![b' '; PROBE].into());
        let write = Write {
            key,
            expect,
            op,
            durability: Durability::Durable,
        };
        let committed = self.store.commit(write).await;
        self.note(&committed);
    }

    /// Encodes a value of the call's kind in its stored form.
    fn encode(call: &Call, value: &Value) -> Result<bytes::Bytes> {
        Self::encode_with(call, value, None)
    }

    /// As [`Registry::encode`], with a spec that is encoded already.
    fn encode_with(call: &Call, value: &Value, spec: Option<&[u8]>) -> Result<bytes::Bytes> {
        let encoded = if convert::is_native(call.kind) {
            object::encode_with(value, spec)
        } else {
            let mut stored = value.clone();
            convert::to_stored(call.kind, &mut stored);
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

/// As much of a pod's spec as a change of its status and its deletion look at.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct SpecInShort {
    #[serde(default, skip_serializing_if = "Value::is_null")]
    node_name: Value,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    restart_policy: Value,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    init_containers: Value,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    termination_grace_period_seconds: Value,
}

/// Reads [`SpecInShort`] out of an encoded spec.
fn spec_in_short(spec: &[u8]) -> Result<Value> {
    let short: SpecInShort = serde_json::from_slice(spec).map_err(Status::internal)?;
    serde_json::to_value(short).map_err(Status::internal)
}

/// Bytes that the disk must take before it counts as well again.
const PROBE: usize = 64 << 10;

/// The largest object that is stored. As large as a request may be.
const MAX_OBJECT: usize = 3 << 20;

/// What the client hears when the store refuses: something that it may try again.
#[must_use]
pub fn refused(error: &StoreError) -> Box<Status> {
    let message = match error {
        StoreError::Storage(why) => {
            format!("the server cannot write: {why}; nothing of this request has been stored")
        }
        StoreError::Closed => "the server is shutting down".to_owned(),
        other => other.to_string(),
    };
    Status::failure(503, "ServiceUnavailable", message).with_details(Details {
        retry_after_seconds: 1,
        ..Details::default()
    })
}

/// What the client hears when the server's own data cannot be read.
pub(crate) fn unreadable(error: object::Error) -> Box<Status> {
    Status::internal(error)
}
