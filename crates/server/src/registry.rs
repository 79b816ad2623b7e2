//! The registry: the verbs on stored objects. Upstream: `k8s.io/apiserver/pkg/registry/generic`.
//!
//! A write reads the object from the watch cache, changes it as a value, and commits it with the
//! precondition that the object is unchanged (optimistic concurrency). It is answered when it is
//! durable and visible to all readers.

mod admission;
mod bodies;
pub(crate) mod bootstrap;
pub(crate) mod bootstrap_tokens;
mod change;
mod commit;
pub(crate) mod convert;
pub(crate) mod create;
mod create_on_update;
pub(crate) mod delete;
mod delete_unreadable;
mod ensure;
mod escalation;
pub(crate) mod extension_authentication;
pub(crate) mod kinds;
pub(crate) mod kubernetes_service;
mod lease_renewal;
pub(crate) mod list_meta;
pub(crate) mod meta;
pub(crate) mod node_record;
pub(crate) mod options;
pub(crate) mod patch;
pub(crate) mod pod_references;
pub(crate) mod read;
pub(crate) mod selector;
pub(crate) mod suffix;
mod template_cache;
mod traces;
mod unique_values;
pub(crate) mod update;

use std::sync::Arc;

use jiff::Timestamp;
use pandaemon_machinery::{
    Kind, KindRef, Scheme, Status,
    scheme::{self, NameTaken},
    status::Result,
};
use pandaemon_store::{Error as StoreError, Key, Revision, Store};
use pandaemon_types::time::rfc3339_seconds;
use parking_lot::RwLock;
use serde_json::Value;

use crate::{
    admission::{Chain, Counted},
    audit::Annotations,
    auth::{Attributes, AuthorizerChain, User},
    cache::{
        object::{self, Encoded, Object, Unparsed},
        watch_cache::{WatchCache, key},
    },
};

pub(crate) use self::{
    change::Change,
    commit::{CommitError, ObjectWrite},
    options::WriteOptions,
    unique_values::Turn,
};

/// Reads and writes of stored objects.
#[derive(Debug)]
pub(crate) struct Registry {
    /// The store, to which all writes are committed.
    pub store: Arc<dyn Store>,
    /// The watch cache, from which all reads are served.
    pub cache: Arc<WatchCache>,
    /// The plugins that writes and connections pass.
    admission: Chain,
    /// The kinds that are served; replaced as a whole.
    scheme: RwLock<Scheme>,
    /// The turns of writes that get values which no other object may have.
    unique_values: unique_values::UniqueValues,
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
    /// What plugins say about the request in the audit log.
    pub annotations: Annotations,
    /// What plugins have counted for it.
    pub counted: Counted,
    /// Whom to ask whether the user may create what it updates or applies; `None` if the user is
    /// the server, which may.
    pub authorizers: Option<AuthorizerChain>,
    /// The field manager that owns the written fields.
    pub manager: String,
    /// The options of a write.
    pub options: WriteOptions,
    /// Whether plugins have admitted the call already, as another operation: an eviction is not
    /// admitted again as a deletion.
    pub is_admitted: bool,
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
            annotations: Annotations::default(),
            counted: Counted::default(),
            authorizers: None,
            manager: "pandaemon".into(),
            options: WriteOptions::default(),
            is_admitted: false,
            now: Timestamp::now(),
        }
    }

    /// What authorizers are asked about, with this verb.
    #[must_use]
    pub(crate) fn attributes<'a>(&'a self, verb: &'a str) -> Attributes<'a> {
        Attributes {
            namespace: &self.namespace,
            api_group: &self.kind.group,
            api_version: &self.kind.version,
            resource: &self.kind.plural,
            subresource: &self.subresource,
            name: &self.name,
            ..Attributes::new(&self.user, verb)
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

impl Registry {
    /// A registry of a store and of the watch cache that follows it.
    #[must_use]
    pub(crate) fn new(store: Arc<dyn Store>, cache: Arc<WatchCache>, admission: Chain) -> Self {
        Self {
            store,
            cache,
            admission,
            scheme: RwLock::new(scheme::built_in().clone()),
            unique_values: unique_values::UniqueValues::default(),
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
    /// [`ServeError`] if another kind has one of its names, or its objects cannot be read.
    pub(crate) async fn serve_kind(&self, kind: Kind) -> Result<(), ServeError> {
        let kind = Arc::new(kind);
        self.scheme().with(Arc::clone(&kind))?;
        // The cache first: a request that finds the kind finds its objects.
        self.cache.add_kind(&kind, &*self.store).await?;
        let mut scheme = self.scheme.write();
        *scheme = scheme.with(kind)?;
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

    /// Waits for the other writes of kinds whose objects have unique values. The turn lasts from
    /// the allocation until the object is stored.
    async fn turn(&self, call: &Call) -> Option<Turn> {
        let is_one_by_one =
            call.subresource.is_empty() && call.kind.strategy.is_written_one_by_one();
        match is_one_by_one {
            true => Some(self.unique_values.turn().await),
            false => None,
        }
    }

    /// The current object of the call's path.
    ///
    /// # Errors
    /// 404 if it does not exist, 500 if its stored value cannot be read.
    pub(crate) fn current(&self, call: &Call) -> Result<Arc<Object>> {
        let missing = || match self.unreadable(call) {
            Some((key, _)) => untransformable(&key),
            None => Status::not_found(&call.kind, &call.name),
        };
        self.find(&call.kind, &call.namespace, &call.name)
            .ok_or_else(missing)
    }

    /// The key and the revision of the call's object, if its stored value cannot be read.
    fn unreadable(&self, call: &Call) -> Option<(Key, Revision)> {
        let key = key(&call.kind, &call.namespace, &call.name);
        let revision = self.cache.of(&call.kind)?.unreadable(&key)?;
        Some((key, revision))
    }

    /// The current object with this name, if it exists.
    #[must_use]
    pub(crate) fn find(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.cache.of(kind)?.get(&key(kind, namespace, name))
    }

    /// Encodes an object of the call's kind for the store.
    fn encode(call: &Call, value: &Value) -> Result<Encoded> {
        Self::encode_with(call, value, Unparsed::default())
    }

    /// As [`Registry::encode`], with encoded parts.
    fn encode_with(call: &Call, value: &Value, unparsed: Unparsed<'_>) -> Result<Encoded> {
        let index = call.kind.strategy.indexed_field();
        let encoded = if convert::is_native(&call.kind) {
            object::encode_with(value, unparsed, index)
        } else {
            let mut stored = value.clone();
            convert::to_stored(&call.kind, &mut stored);
            object::encode(&stored, index)
        };
        encoded.map_err(Status::internal)
    }
}

/// Why a kind cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another kind has one of its names.
    #[error(transparent)]
    NameTaken(#[from] NameTaken),
    /// Its objects cannot be read.
    #[error("read the objects of the kind: {0}")]
    Store(#[from] StoreError),
}

/// The status of a stored value that is no object, for example because it cannot be decrypted
/// (500).
fn untransformable(key: &str) -> Box<Status> {
    Status::internal(format!(
        "unable to transform key {key:?}: the stored value cannot be read; the log of the server says why"
    ))
}

/// The status of a stored object that cannot be read (500).
pub(crate) fn unreadable(error: object::Error) -> Box<Status> {
    Status::internal(error)
}
